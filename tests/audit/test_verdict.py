"""The rule, branch by branch, on an audit by hand; the parts of an audit that are read and that leave the clinic."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.audits import attack, audit, changed, interval, risk
from tofgan_monai import InputError
from tofgan_monai.attacks.on_pairs import ATTACKS
from tofgan_monai.attacks.power import detectable_auc
from tofgan_monai.audit.questions import MAPPING
from tofgan_monai.audit.record import FIGURES, SUMMARY, departures, read_audit, summary
from tofgan_monai.audit.verdict import MIN_PATIENTS, N_ATTACKS, RULE, WORST_AUC, corrected, verdicts, worst

ROOT = Path(__file__).parents[2]
FOUND = risk(0.7, 0.1)  # its interval lies above 0.5, for six intervals corrected too
FIRST = ("attacks", 0)
ONE_CANARY = [{"above_all": True, "rank": 1, "of": 20, "attack": "nearest image"}]  # of two attacks on the data


def told(verdict):
    return " ".join(verdict["reasons"])


@pytest.mark.parametrize(
    ("kind", "releases"),
    [("generator", {"data", "generator"}), ("stack", {"data"}), ("segmentation", {"network"})],
)
def test_quiet_audit_of_enough_patients_passes_for_what_it_tried(kind, releases):
    found = verdicts(audit(kind))
    assert set(found) == releases
    for verdict in found.values():
        assert verdict["outcome"] == "passed" and verdict["rule"] == RULE
        words = told(verdict)
        assert "AUC 0.52 (0.42 to 0.62)" in words and "no proof" in words and f"{MIN_PATIENTS} members" in words
        assert "anonym" not in words and ("near-copies" in words) == (kind != "segmentation")


@pytest.mark.parametrize(
    ("path", "value", "outcome", "told"),
    [
        (("cohorts", "members", "patients"), MIN_PATIENTS - 1, "inconclusive", f"{MIN_PATIENTS - 1} members, where"),
        (("cohorts", "non_members", "patients"), 14, "inconclusive", "14 non-members, where"),
        (("cohorts", "references", "patients"), 9, "inconclusive", "9 references, where 10 patients"),
        ((*FIRST, "member_only", "patch"), risk(0.7, 0.1), "inconclusive", "two halves of the members"),
        ((*FIRST, "member_only", "patch"), risk(0.3, 0.1), "inconclusive", "AUC 0.30 (0.20 to 0.40)"),
        ((*FIRST, "strangers", "patch"), risk(0.7, 0.1), "inconclusive", "other patients' pairs"),
        ((*FIRST, "member_only", "patient"), risk(0.9, 0.1), "passed", "no attack"),  # of patches alone
        (("planted",), None, "inconclusive", "no attack recognised the copies"),
        (("planted", "attacks"), {}, "inconclusive", "no attack recognised the copies"),
        (("planted", "attacks", "nearest image", "caught"), False, "passed", "no attack"),  # the other one has
        (("canary",), None, "inconclusive", "it is not known"),
        (("canary", "repeats"), [], "inconclusive", "it is not known"),
        (("canary", "repeats", 1, "above_all"), False, "inconclusive", "50 times was not recognised in 1 of 3"),
        (("canary", "repeats"), ONE_CANARY, "inconclusive", "by chance with probability 0.1"),
        (("canary", "times"), 51, "inconclusive", "repeated 51 times, where at most 50"),
        (("canary", "times"), 2, "passed", "repeated 2 times was recognised"),
        (("training_checked",), False, "inconclusive", "did not check that the training used"),
        (("target", "stack", "n"), 999, "inconclusive", "999 synthetic pairs were audited, where 1000"),
        (("target", "stack"), None, "inconclusive", "0 synthetic pairs were audited"),
        ((*FIRST, "patient"), risk(0.6, 0.16), "inconclusive", "an AUC of 0.75 over patients cannot be excluded"),
        ((*FIRST, "patient"), risk(0.4, 0.16), "inconclusive", "an AUC of 0.25 over patients cannot be excluded"),
        ((*FIRST, "patient"), risk(0.4, 0.15), "passed", "the strongest attack is nearest image with AUC 0.40"),
        ((*FIRST, "patch"), risk(0.6, 0.16), "passed", "no attack"),
        ((*FIRST, "patch"), FOUND, "passed", "no attack"),  # no more than strangers explain
        ((*FIRST, "strangers"), None, "passed", "no attack"),
        (("copies", "p"), 0.049, "failed", "2 near-copies of training pairs, where chance explains 1.5 (p = 0.049)"),
        (("copies", "p"), 0.05, "passed", "2 near-copies"),
        (("copies", "n_copies"), 1, "failed", "1 synthetic pair copies a training pair in both image and label"),
        (("copies",), None, "passed", "no attack"),
    ],
)
def test_each_branch_of_the_rule(path, value, outcome, told):
    found = verdicts(changed(audit(), *path, to=value))
    for release in ("data", "generator"):
        assert found[release]["outcome"] == outcome, found
        assert any(told in reason for reason in found[release]["reasons"]), found


@pytest.mark.parametrize("unit", ["patch", "patient"])
def test_attack_beyond_its_control_fails(unit):
    content = changed(audit(), *FIRST, unit, to=FOUND)
    assert verdicts(changed(content, *FIRST, "excess", unit, to=interval(0.2, 0.2)))["data"]["outcome"] != "failed"
    content = changed(content, *FIRST, "excess", unit, to=interval(0.2))
    verdict = verdicts(content)["data"]
    assert verdict["outcome"] == "failed"
    assert f"the {unit} as the unit, the AUC is 0.70 (0.60 to 0.80)" in verdict["reasons"][
        0
    ] and "0.20 (0.10 to 0.30)" in told(verdict)
    uncontrolled = changed(content, *FIRST, "excess", to=None)
    assert verdicts(uncontrolled)["data"]["outcome"] == "failed"  # nothing explains it away


@pytest.mark.parametrize("unit", ["patch", "patient"])
def test_attack_with_its_sign_reversed_tells_as_much(unit):
    content = changed(audit(), *FIRST, unit, to=risk(0.05, 0.04))
    assert verdicts(content)["data"]["outcome"] != "failed"  # strangers explain it
    assert verdicts(changed(content, *FIRST, "excess", unit, to=interval(0.3)))["data"]["outcome"] != "failed"
    verdict = verdicts(changed(content, *FIRST, "excess", unit, to=interval(-0.4)))["data"]
    assert (
        verdict["outcome"] == "failed"
        and "non-members score higher" in told(verdict)
        and "-0.40 (-0.50 to -0.30)" in told(verdict)
    )
    assert verdicts(changed(content, *FIRST, "excess", to=None))["data"]["outcome"] == "failed"


@pytest.mark.parametrize("missing", ["LiRA", "strangers", "shadows"])
def test_network_needs_lira_and_a_control(missing):
    content = audit("segmentation")
    if missing != "strangers":
        content["attacks"] = [line for line in content["attacks"] if line["name"] != "LiRA"]
    for line in content["attacks"] if missing != "LiRA" else ():
        line["strangers"] = line["excess"] = None
    verdict = verdicts(content)["network"]
    assert verdict["outcome"] == "inconclusive" and "two or more shadow models" in told(verdict)


def test_one_of_many_attacks_must_find_more():
    """By hand: two-sided 5% is 1.96 standard errors, 5% / 3 is 2.39, 5% / 6 is 2.64: 0.1 grows to 0.122 and 0.135."""
    assert corrected(interval(0.7), 1) == pytest.approx((0.6, 0.8))
    assert corrected({"value": 0.7, "low": 0.6, "high": 0.9}, 3) == pytest.approx((0.578, 0.944), abs=5e-4)
    content = changed(audit(), *FIRST, "excess", to=None)
    for auc, outcome in ((0.64, "failed"), (0.63, "passed"), (0.37, "passed"), (0.36, "failed")):  # 95% leave out 0.5
        assert verdicts(changed(content, *FIRST, "patch", to=risk(auc)))["generator"]["outcome"] == outcome


def test_failed_wins_and_still_tells_the_doubts():
    content = changed(audit(), "copies", "p", to=0.01)
    content = changed(content, "cohorts", "non_members", "patients", to=14)
    verdict = verdicts(content)["data"]
    assert verdict["outcome"] == "failed" and "2 near-copies" in verdict["reasons"][0] and "14 non-" in told(verdict)


def test_pairs_count_against_their_generator_and_not_the_other_way_round():
    content = changed(changed(audit(), "attacks", 2, "patient", to=FOUND), "attacks", 2, "excess", to=None)
    assert [verdict["outcome"] for verdict in verdicts(content).values()] == ["passed", "failed"]
    assert [worst(content, name)["name"] == "latent recovery" for name in ("generator", "data")] == [True, False]
    with_critic = changed(audit(), "attacks", to=[*audit()["attacks"], attack("LOGAN", "critic", strangers=False)])
    with_critic = changed(with_critic, "attacks", 3, "patch", to=risk(0.9, 0.05))
    outcomes = {name: verdict["outcome"] for name, verdict in verdicts(with_critic).items()}
    assert outcomes == {"data": "passed", "generator": "passed", "critic": "failed"}


def test_least_patients_are_those_that_show_the_worst_auc_and_the_page_says_so():
    assert len(ATTACKS) + 1 == N_ATTACKS  # and latent recovery
    assert detectable_auc(MIN_PATIENTS, MIN_PATIENTS, n_intervals=2 * N_ATTACKS) <= WORST_AUC
    assert detectable_auc(MIN_PATIENTS - 1, MIN_PATIENTS - 1, n_intervals=2 * N_ATTACKS) > WORST_AUC
    page = (ROOT / "docs/decisions/0003-release-gate.md").read_text("utf-8")
    assert f"**{MIN_PATIENTS} members" in page
    clinics = " ".join((ROOT / "docs/how-to/clinic-to-clinic.md").read_text("utf-8").split())
    assert f"of {MIN_PATIENTS} training and {MIN_PATIENTS} held-out patients" in clinics
    assert f"{detectable_auc(41, 14, n_intervals=2 * N_ATTACKS):.2f}" in page


# ---- what is read, what leaves


def written(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_figures_leave_without_what_points_at_patients(tmp_path):
    content = audit() | {"verdicts": {"data": {"outcome": "passed"}}, "more": "sub-01"}
    written(tmp_path / "audit.json", content)
    found = read_audit(tmp_path)
    assert found == read_audit(tmp_path / "audit.json") and found.content["copies"]["near_copies"] == [4, 60]
    text = json.dumps(found.figures)
    stays = ["roc", "closest", "digest", '"near_copies"', "quality", "verdicts", "sub-01", "label_threshold", "seed"]
    assert not any(word in text for word in stays)
    assert found.figures["target"]["stack"] == {"n": 1000} and found.figures["training_checked"] is True
    assert not list(departures(found.figures, FIGURES))
    assert verdicts(found.figures) == verdicts(content)
    for release in ("data", "generator"):
        said = found.summary(release)
        assert said == summary(found.figures, found.sha256, release) and not list(departures(said, SUMMARY))
    assert said["guarantee"] == {"epsilon": 7.4, "delta": 1e-5, "unit": "patient", "n_units": 200}
    assert said["worst"] == {"attack": "nearest image", "auc": interval(0.52)} and said["canary_caught"] is True


def test_written_verdict_is_not_believed(tmp_path):
    content = changed(audit(), "copies", "p", to=0.01) | {"verdicts": {"data": {"outcome": "passed"}}}
    assert read_audit(written(tmp_path / "a.json", content)).summary("data")["outcome"] == "failed"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ((*FIRST, "patient", "auc", "low"), float("nan"), "NaN"),
        ((*FIRST, "patient", "auc", "low"), 1e10, "attacks.0.patient.auc.low"),
        ((*FIRST, "patient", "auc", "low"), True, "attacks.0.patient.auc.low"),
        ((*FIRST, "patient"), {}, "attacks.0.patient: 'auc' is a required property"),
        ((*FIRST, "name"), "of sub-01\n", "attacks.0.name"),
        ((*FIRST, "release"), "everything", "attacks.0.release"),
        (("attacks",), [], "attacks"),
        (("target", "weights_sha256"), "ab" * 31 + "a\n", "target.weights_sha256"),
        (("target", "kind"), "critic", "target.kind"),
        (("training_checked",), None, "training_checked"),
        (("canary", "times"), 1, "canary.times"),
        (("copies", "near_copies"), [-1], "copies.near_copies.0"),
        (("planted", "attacks"), {"/data": {"auc": interval(1.0), "caught": True}}, "planted.attacks"),
        (("format",), 2, "format"),
    ],
)
def test_audit_of_another_form_is_refused_with_its_place(tmp_path, path, value, told):
    with pytest.raises(InputError) as caught:
        read_audit(written(tmp_path / "a.json", changed(audit(), *path, to=value)))
    assert told in caught.value.problems[0] and "make it again" in caught.value.problems[-1]


@pytest.mark.parametrize("text", ["", "[", "[1]", "1", "[" * 100_000])
def test_what_is_no_audit_is_told(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json: .*tofgan audit"):
        read_audit(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"audit\.json: the audit cannot be read"):
        read_audit(tmp_path)


# ---- what the officer must write


def test_mapping_answers_the_three_questions_and_promises_nothing():
    questions = [entry["question"] for entry in MAPPING]
    assert questions[:3] == ["Singling out", "Linkability", "Inference"]
    assert all(set(entry) == {"question", "source", "attacks", "says", "cannot_say"} for entry in MAPPING)
    assert all(entry["source"] and entry["says"] and entry["cannot_say"] for entry in MAPPING)
    (threshold,) = (entry for entry in MAPPING if "0.09" in entry["question"])
    assert "analogue" in threshold["says"] and not threshold["attacks"]


def test_only_what_is_drawn_at_random_decides_the_audits_by_which_the_gate_is_measured():
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "measure_gate.py"))
    for seed in range(4):
        judged = verdicts(script["audit"](MIN_PATIENTS, np.random.default_rng(seed)))["generator"]
        told = [any(words in reason for words in script["CAUSES"].values()) for reason in judged["reasons"]]
        assert judged["outcome"] in ("passed", "failed") or all(told), judged
