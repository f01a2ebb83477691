"""What may tell of patients leaves with an audit that passed or a person's reason, and says with which."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.helpers.audits import audit, changed
from tests.helpers.refusals import refused
from tofgan_monai import Generator, InputError, install, open_stack, pack, verify, weights_file_digest
from tofgan_monai.audit.record import read_audit
from tofgan_monai.audit.verdict import MIN_PAIRS, MIN_PATIENTS, RULE
from tofgan_monai.cli import app
from tofgan_monai.exchange.data_card import as_text, card, check_card, patients_behind, write_card
from tofgan_monai.exchange.installing import unpack
from tofgan_monai.exchange.layout import AUDIT, CARD, WEIGHTS
from tofgan_monai.exchange.release import in_words
from tofgan_monai.training.weights import save_weights

GAN, UNET, UNET_3D = "tof_mra_wgan_gp_sn", "tof_mra_vessel_segmentation", "tof_mra_vessel_segmentation_3d"
REAL, SIMULATED = [{"kind": "real", "patients": MIN_PATIENTS}], [{"kind": "simulated", "patients": 2}]
REASON = "the ethics board has asked for it, vote 12"


@pytest.fixture
def clinic(tmp_path, bundle_files):
    """Callable (seen, bundle) -> the folder of a clinic's own bundle, whose weights have seen this."""

    def made(seen=REAL, bundle=GAN, name="clinic_gan"):
        folder = tmp_path / "a" / name
        unpack(bundle_files(bundle), folder)
        (folder / CARD).write_bytes(as_text(card(weights_sha256(folder), seen, "a test")))
        return folder

    return made


def weights_sha256(folder):
    return weights_file_digest(folder / WEIGHTS)


@pytest.fixture
def audited(tmp_path):
    """Callable (folder, kind, *path, to) -> the folder of an audit of a bundle's weights, with a change."""

    def made(folder, kind="generator", *path, to=None):
        content = audit(kind, weights_sha256(folder))
        (tmp_path / "audit").mkdir(exist_ok=True)
        (tmp_path / "audit" / "audit.json").write_text(json.dumps(changed(content, *path, to=to) if path else content))
        return tmp_path / "audit"

    return made


def said_of(verified):
    return verified.card["weights"][WEIGHTS]["audit"]


# ---- pack


@pytest.mark.parametrize(
    ("bundle", "kind", "release"),
    [(GAN, "generator", "generator"), (UNET, "segmentation", "network"), (UNET_3D, "segmentation", "network")],
)
def test_passed_audit_lets_weights_of_patients_go(clinic, audited, tmp_path, bundle, kind, release):
    folder = clinic(bundle=bundle)
    with pytest.raises(InputError, match=r"no audit of them; give one that passed .*--despite REASON") as caught:
        pack(folder, tmp_path / "a.zip")
    assert len(caught.value.problems) == 1 and not (tmp_path / "a.zip").exists()
    path = audited(folder, kind)
    verified = verify(pack(folder, tmp_path / "a.zip", audit=path))
    assert said_of(verified) == read_audit(path).summary(release)
    assert json.loads(verified.content.files[AUDIT]) == read_audit(path).figures
    assert f"audit: passed for the {release} by rule {RULE}; {MIN_PATIENTS} members" in verified.lines[1]
    assert "canary patient found; epsilon 7.4 at delta 1e-05 for each patient of 200" in verified.lines[1]
    assert not (folder / AUDIT).exists()  # the bundle's own folder is as it was


def test_largest_audit_fits_the_file_that_travels(clinic, audited, tmp_path):
    folder = clinic()
    content = audit(sha256=weights_sha256(folder))
    attacks = [content["attacks"][i % 3] | {"name": f"attack with a name of its own {i}"} for i in range(20)]
    precise = json.loads(json.dumps(attacks).replace("0.1,", f"{1 / 9},"))
    verified = verify(
        pack(folder, tmp_path / "a.zip", audit=audited(folder, "generator", "attacks", to=precise), despite=REASON)
    )
    assert len(verified.content.files[AUDIT]) < 2**16


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (
            ("cohorts", "members", "patients"),
            24,
            f"inconclusive for a release of the generator: the audit has 24 members, where {MIN_PATIENTS}",
        ),
        (("copies", "p"), 0.01, "failed for a release of the generator: .*2 near-copies"),
        (("canary",), None, "inconclusive for a release of the generator: .*no training with a repeated patient"),
        (("target", "weights_sha256"), "cd" * 32, "an audit of weights 'cdcd.*audit the bundle itself"),
        (("target", "kind"), "stack", "an audit of a stack"),
        (("attacks",), audit("stack")["attacks"], "has no attack on the generator"),
        (("format",), 2, "is not an audit of this version"),
    ],
)
def test_audit_that_does_not_do_is_told(clinic, audited, tmp_path, path, value, told):
    folder = clinic()
    refused(told, pack, folder, tmp_path / "a.zip", audit=audited(folder, "generator", *path, to=value))
    assert not (tmp_path / "a.zip").exists()


def real(*patients):
    return [{"kind": "real", "patients": n} for n in patients]


UNASKED = {
    "fine-tuned": ([*REAL, *real(41)], "real", "also trained on 41 patients who are not members"),
    "fine-tuned, as many": ([*REAL, *REAL], "real", f"also trained on {MIN_PATIENTS} patients who are not members"),
    "some of them": (real(1000), "real", f"also trained on {1000 - MIN_PATIENTS} patients who are not members"),
    "others": (real(20), "real", f"has {MIN_PATIENTS - 20} members on whom the weights were not trained"),
    "nobody knows": ([*REAL, *real(None)], "real", "also trained on an unknown number of patients"),
    "simulated": (REAL, "simulated", "trained on real patients, and the members of this audit are simulated"),
    "simulated, nobody knows": (real(None), "simulated", "the members of this audit are simulated"),
}


@pytest.mark.parametrize("name", UNASKED)
def test_audit_of_others_than_the_weights_saw_is_refused_on_either_side(clinic, audited, tmp_path, name):
    seen, kind, told = UNASKED[name]
    folder = clinic(seen)
    path = audited(folder, "generator", "cohorts", "members", "kind", to=kind)
    refused(told, pack, folder, tmp_path / "a.zip", audit=path)
    found, said = read_audit(path), json.loads((folder / CARD).read_text())
    said["weights"][WEIGHTS]["audit"] = found.summary("generator")
    (problem,) = check_card(as_text(said), weights_sha256(folder), as_text(found.figures))
    assert re.match(r"docs/data_card\.json:\d+: ", str(problem)) and told in str(problem)
    ran = released(folder, tmp_path, "--for-release", path)
    assert isinstance(ran.exception, InputError) and told in str(ran.exception)
    verified = verify(pack(folder, tmp_path / "a.zip", audit=path, despite=REASON))
    assert said_of(verified)["summary"]["outcome"] == "passed"


@pytest.mark.parametrize("seen", [[*SIMULATED, *REAL], real(MIN_PATIENTS - 1, 1), real(None)])
def test_audit_of_all_whom_the_weights_saw_does(clinic, audited, tmp_path, seen):
    folder = clinic(seen)
    assert said_of(verify(pack(folder, tmp_path / "a.zip", audit=audited(folder))))["outcome"] == "passed"


def test_audit_asks_about_the_patients_of_the_generator_whose_pairs_were_seen(clinic, audited, tmp_path):
    behind = clinic([*REAL, *REAL])
    digest = weights_sha256(behind)
    unet = clinic([{"kind": "synthetic", "weights_sha256": digest}], UNET, "clinic_unet")
    card = json.loads((unet / CARD).read_text())
    assert patients_behind(card["weights"][WEIGHTS]["seen"], behind) == [*REAL, *REAL]
    assert said_of(verify(pack(unet, tmp_path / "a.zip", audit=audited(unet, "segmentation"))))  # unknown here


def test_reason_of_a_person_is_written_down(clinic, audited, tmp_path):
    folder = clinic()
    verified = verify(pack(folder, tmp_path / "a.zip", despite=REASON))
    assert said_of(verified) == {"overridden": True, "reason": REASON, "summary": None}
    assert f"audit: overridden by a person ('{REASON}'); audit: none" in verified.lines[1]
    failed = audited(folder, "generator", "copies", "p", to=0.01)
    verified = verify(pack(folder, tmp_path / "b.zip", audit=failed, despite=REASON))
    assert said_of(verified)["summary"] == read_audit(failed).summary("generator")
    assert "audit: failed for the generator" in verified.lines[1] and AUDIT in verified.content.files
    refused(
        "an audit of weights",
        pack,
        folder,
        tmp_path / "c.zip",
        audit=audited(folder, "generator", "target", "weights_sha256", to="0" * 64),
        despite="x",
    )  # no reason makes it one of these


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", "give a reason"),
        ("  ", "give a reason"),
        ("REASON", "give a reason"),
        ("x" * 501, "at most 500"),
        ("two\nlines", "on one line"),
        ("asked by jane@clinic.org", "tells the person"),
        ("sub-012 agreed", "tells the subject"),
        ("see /data/charite/vote", "tells the path"),
    ],
)
def test_reason_may_not_be_empty_or_tell_names(clinic, tmp_path, reason, told):
    refused(told, pack, clinic(), tmp_path / "a.zip", despite=reason)


def test_simulated_weights_need_none_and_may_have_one(clinic, audited, tmp_path):
    folder = clinic(SIMULATED)
    assert said_of(verify(pack(folder, tmp_path / "a.zip"))) is None
    assert said_of(verify(pack(folder, tmp_path / "a.zip", audit=audited(folder))))["outcome"] == "passed"
    failed = audited(folder, "generator", "canary", to=None)
    assert said_of(verify(pack(folder, tmp_path / "b.zip", audit=failed)))["outcome"] == "inconclusive"


def test_generators_of_patients_are_seen_through_their_pairs(clinic, tmp_path, installed):
    def synthetic(sha256):
        return [{"kind": "synthetic", "weights_sha256": sha256}]

    here = clinic(SIMULATED)
    other = tmp_path / "none"
    assert patients_behind(REAL, other) and not patients_behind(SIMULATED, other)
    assert patients_behind([*SIMULATED, *synthetic("ab")], other)  # known to nobody
    assert patients_behind(synthetic(None), other) and patients_behind([{"kind": "synthetic"}], other)
    assert not patients_behind(synthetic(weights_sha256(here)), here)
    assert patients_behind(synthetic(weights_sha256(here)), other)
    install(verify(pack(here, tmp_path / "a.zip")))
    assert not patients_behind(synthetic(weights_sha256(here)), other)  # now it is known here
    for seen in (synthetic(weights_sha256(here)), ["real"], [{"kind": "anonymous"}], REAL):  # of itself, too
        (here / CARD).write_text(json.dumps({"weights": {WEIGHTS: {"sha256": weights_sha256(here), "seen": seen}}}))
        assert patients_behind(synthetic(weights_sha256(here)), here)


def test_received_bundle_is_packed_again_as_it_came(clinic, audited, tmp_path, installed):
    folder = clinic()
    first = pack(folder, tmp_path / "a.zip", audit=audited(folder))
    received = install(verify(first))
    assert pack(received, tmp_path / "b.zip").read_bytes() == first.read_bytes()
    verified = verify(pack(received, tmp_path / "c.zip", despite=REASON))
    assert AUDIT not in verified.content.files and said_of(verified)["summary"] is None
    folder = verify(first).content.files[CARD]
    (received / CARD).write_bytes(folder.replace(b'"outcome": "passed"', b'"outcome": "failed"'))
    refused("another summary", pack, received, tmp_path / "d.zip")
    write_card(received, REAL)  # other weights were adopted: the audit of those before them goes
    assert not (received / AUDIT).exists()


IN_CARD, IN_AUDIT = r"docs/data_card\.json:\d+: ", r"docs/audit\.json:\d+: "
OTHER = IN_CARD + "has another summary than the figures"
FORGED = {
    "summary alone": (lambda card, figures: None, IN_CARD + "has the summary of an audit alone"),
    "other summary": (lambda card, figures: (card["patients"].update(members=4000), figures), OTHER),
    "other figures": (lambda card, figures: (card, figures["copies"].update(p=0.01)), OTHER),
    "hidden failure": (lambda card, figures: (card, figures.update(canary=None)), OTHER),
    "other weights": (
        lambda card, figures: (card, figures["target"].update(weights_sha256="0" * 64)),
        IN_AUDIT + "is of weights '0000",
    ),
    "other release": (
        lambda card, figures: (card.update(release="network"), figures),
        IN_AUDIT + "has no verdict on the net",
    ),
    "of the pairs alone": (
        lambda card, figures: (card.update(release="data"), figures["target"].update(kind="stack")),
        IN_CARD + "has a verdict on the data, and none on the weights",
    ),
    "free text": (lambda card, figures: (card.update(note="anonymous"), figures), IN_CARD + "has an audit with .*note"),
    "free text in the figures": (lambda card, figures: (card, figures["copies"].update(note="x")), IN_AUDIT + ".*note"),
    "no number": (lambda card, figures: (card, figures["copies"].update(p=float("nan"))), IN_AUDIT + ".*NaN"),
    "another rule": (lambda card, figures: (card.update(rule=RULE - 1), figures), IN_CARD + "has an audit with"),
    "line end in a sum": (
        lambda card, figures: (card.update(sha256="0" * 63 + "\n"), figures),
        IN_CARD + "has an audit with",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_audit_is_refused_by_the_other_side(clinic, audited, name):
    change, told = FORGED[name]
    folder = clinic()
    found = read_audit(audited(folder))
    said, figures = json.loads((folder / CARD).read_text()), found.figures
    said["weights"][WEIGHTS]["audit"] = found.summary("generator")
    weights = weights_sha256(folder)
    assert check_card(as_text(said), weights, as_text(figures)) == []
    kept = change(said["weights"][WEIGHTS]["audit"], figures)
    (problem,) = check_card(as_text(said), weights, None if kept is None else as_text(figures))
    assert re.match(told, str(problem)) and str(problem).isprintable()


@pytest.mark.parametrize(
    "said",
    [
        {"\n": "\x1b"},
        [],
        {"overridden": False, "reason": "x", "summary": None},
        {"overridden": True, "reason": "", "summary": None},
        {"overridden": True, "reason": "x", "summary": None, "by": "me"},
    ],
)
def test_card_says_of_an_audit_what_it_must(clinic, tmp_path, said):
    folder = clinic()
    content = json.loads((folder / CARD).read_text())
    content["weights"][WEIGHTS]["audit"] = said
    (folder / CARD).write_text(json.dumps(content, indent=2))
    with pytest.raises(InputError) as caught:
        pack(folder, tmp_path / "a.zip")
    assert all("an audit with" in problem and problem.isprintable() for problem in caught.value.problems)


def test_figures_without_a_summary_are_refused(clinic, audited, tmp_path):
    folder = clinic()
    (folder / AUDIT).write_bytes(as_text(read_audit(audited(folder)).figures))
    refused("figures of an audit alone", pack, folder, tmp_path / "a.zip")


# ---- generate --for-release


def tofgan(*words):
    return CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200", "NO_COLOR": "1"})


def released(folder, tmp_path, *words, n=10, seed=3, threshold="0.0"):
    words = [*words, "-n", n, "--seed", seed, "--label_threshold", threshold]
    return tofgan("generate", folder, tmp_path / "out" / "released.npy", "--force", *words)


def test_released_stack_is_the_first_of_the_audited_with_the_audit_in_its_manifest(clinic, audited, tmp_path):
    folder, words = clinic(), ["-n", 64, "--seed", 3, "--label_threshold", "0.0"]
    assert tofgan("generate", folder, tmp_path / "whole.npy", *words).exit_code == 0
    path = audited(folder)
    ran = released(folder, tmp_path, "--for-release", path)
    assert ran.exit_code == 0 and "10 synthetic pairs\n" in ran.output, ran.exception
    whole, (pairs, manifest) = open_stack(tmp_path / "whole.npy")[0], open_stack(tmp_path / "out" / "released.npy")
    np.testing.assert_array_equal(pairs, whole[:10])
    assert manifest["audit"] == read_audit(path).summary("data") and "near_copies_dropped" not in manifest
    ran = released(folder, tmp_path, "--for-release", path, "--drop-copies", n=62)
    assert "60 synthetic pairs, 2 near-copies of training pairs left out" in ran.output
    pairs, manifest = open_stack(tmp_path / "out" / "released.npy")
    np.testing.assert_array_equal(pairs, np.delete(whole[:62], [4, 60], axis=0))
    assert manifest["near_copies_dropped"] == 2 and manifest["n"] == 60 and "near_copies" not in manifest["audit"]
    assert '"seed"' not in json.dumps(manifest)  # or the stack could be made again, and compared
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["released.json", "released.npy"]
    assert str(tmp_path) not in json.dumps(manifest)


@pytest.mark.parametrize(
    ("path", "value", "words", "told"),
    [
        (("copies", "p"), 0.01, {}, "2 near-copies"),
        (("canary",), None, {}, "inconclusive for a release of the data"),
        (("target", "stack", "weights_sha256"), "0" * 64, {}, "is about pairs of other weights"),
        (("target", "stack"), None, {}, "not an audit of a stack"),
        (("target", "stack", "label_threshold"), None, {}, "audited pairs were made with --label_threshold None"),
        (("attacks",), audit("segmentation")["attacks"], {}, "no attack on the data"),
        (("format",), 1, {"seed": 4}, "seed 4: the audited pairs were made with --seed 3"),
        (("target", "stack", "seed"), None, {}, "is about pairs without a seed"),
        (("format",), 1, {"n": MIN_PAIRS + 1}, f"n {MIN_PAIRS + 1}: only {MIN_PAIRS} pairs were audited"),
        (
            ("format",),
            1,
            {"threshold": "-0.5"},
            "threshold -0.5: the audited pairs were made with --label_threshold 0.0",
        ),
        (("format",), 1, {"threshold": "$0.0"}, "label_threshold"),
    ],
)
def test_stack_that_no_audit_covers_is_not_made(clinic, audited, tmp_path, path, value, words, told):
    folder = clinic()
    ran = released(folder, tmp_path, "--for-release", audited(folder, "generator", *path, to=value), **words)
    assert isinstance(ran.exception, InputError) and told in str(ran.exception)
    assert not (tmp_path / "out").exists()


def test_settings_that_could_make_other_pairs_are_refused(clinic, audited, tmp_path, write_pairs):
    folder = clinic()
    path = audited(folder)
    for words in (["--dataset#seed", 5], ["--validation-pairs", write_pairs(tmp_path / "real.npy", 8)], ["--width", 2]):
        ran = released(folder, tmp_path, "--for-release", path, *words)
        assert isinstance(ran.exception, InputError) and "could make other pairs" in str(ran.exception)
    ran = tofgan("generate", folder, tmp_path / "a.npy", "--drop-copies")
    assert isinstance(ran.exception, InputError) and "need --for-release AUDIT" in str(ran.exception)
    every = audited(folder, "generator", "copies", "near_copies", to=list(range(10)))
    ran = released(folder, tmp_path, "--for-release", every, "--drop-copies")
    assert "nothing would be left" in str(ran.exception)
    ran = released(folder, tmp_path, "--for-release", audited(folder), "--weights", tmp_path / "none.pt")
    assert isinstance(ran.exception, InputError) and "none.pt: no such weights" in str(ran.exception)
    assert not (tmp_path / "out").exists()


def test_reason_or_simulated_weights_let_pairs_go_that_have_not_passed(clinic, audited, tmp_path):
    folder = clinic()
    failed = audited(folder, "generator", "canary", to=None)
    ran = released(folder, tmp_path, "--for-release", failed, "--despite", REASON)
    assert ran.exit_code == 0, ran.exception
    said = open_stack(tmp_path / "out" / "released.npy")[1]["audit"]
    assert said["overridden"] and said["reason"] == REASON and said["summary"]["outcome"] == "inconclusive"
    assert "inconclusive for the data" in in_words(said) and "canary patient not tried" in in_words(said)
    clinic(SIMULATED)
    assert released(folder, tmp_path, "--for-release", failed).exit_code == 0
    assert open_stack(tmp_path / "out" / "released.npy")[1]["audit"]["outcome"] == "inconclusive"
    save_weights(Generator(width=2).state_dict(), tmp_path / "other.pt")  # no card knows them: they count as real
    content = audit(sha256=weights_file_digest(tmp_path / "other.pt"))
    (tmp_path / "b.json").write_text(json.dumps(changed(content, "canary", to=None)))
    ran = released(folder, tmp_path, "--for-release", tmp_path / "b.json", "--weights", tmp_path / "other.pt")
    assert isinstance(ran.exception, InputError) and "inconclusive for a release of the data" in str(ran.exception)
