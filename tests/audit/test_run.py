"""The audit from its inputs to audit.json, of a tiny generator and a tiny U-Net."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.helpers.clinic import GAN, SEGMENTATION, stacks, trained_gan, trained_unet
from tofgan_monai import InputError, PairDataset, open_stack, weights_file_digest
from tofgan_monai.attacks.canary import plant_canary
from tofgan_monai.attacks.on_pairs import ATTACKS
from tofgan_monai.audit import run as stages
from tofgan_monai.audit.cohorts import read_cohorts
from tofgan_monai.audit.record import read_audit
from tofgan_monai.audit.run import audit
from tofgan_monai.audit.target import read_target, released_pairs
from tofgan_monai.audit.training import read_training
from tofgan_monai.audit.verdict import MIN_PATIENTS
from tofgan_monai.cli import app


class MeanFeatures:
    """An extractor that costs nothing: means over 24 x 24 pixels."""

    name, dim, sha256 = "FD(means)", 16, "0" * 64

    def __call__(self, images):
        return torch.nn.functional.avg_pool2d(images, 24).flatten(1)


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr(stages, "load_extractor", lambda weights: MeanFeatures())
    monkeypatch.setattr("tofgan_monai.attacks.on_gan.N_CANDIDATES", 64)
    monkeypatch.setattr("tofgan_monai.audit.assessment.N_RECOVERED", 6)
    monkeypatch.setattr("tofgan_monai.metrics.stacks.quality.N_COMPARISONS", 10)


def made(clinic, target=GAN, output="audit", **more):
    return audit(clinic / target, clinic / output, **stacks(clinic), **{"n": 26, **more})


def verb(clinic, *more):
    words = ["audit", str(clinic / GAN), str(clinic / "audit"), "-n", "26", *more]
    for name, path in stacks(clinic).items():
        words += [f"--{name.replace('_', '-')}", str(path)]
    return CliRunner().invoke(app, words)


def names(found):
    return [attack["name"] for attack in found["attacks"]]


@pytest.mark.slow
def test_generator_with_its_training_and_a_canary(clinic, run):
    plant_canary(clinic / "members.npy", clinic / "canary.npy", times=2, seed=1)
    repeated = trained_gan(clinic / "canary_run", clinic / "canary.npy", seed=1)
    promise = {"epsilon": 7.4, "delta": 1e-5, "unit": "patch", "n_units": 30, "accountant": "PRV"}
    (run / "guarantee.json").write_text(json.dumps(promise))
    found = made(clinic, run=run, canaries=[(clinic / "canary.npy", repeated)])
    assert names(found) == [*ATTACKS, "latent recovery", "LOGAN"]
    assert {name: verdict["outcome"] for name, verdict in found["verdicts"].items()} == dict.fromkeys(
        ("data", "generator", "critic"), "inconclusive"
    )
    assert found["guarantee"]["epsilon"] == 7.4 and found["canary"]["repeats"][0]["of"] == 4
    assert found["cohorts"]["references"]["patients"] == 6 and found["quality"]["n"] == 26
    assert set(found["planted"]["attacks"]) == set(ATTACKS)
    assert found["planted"]["attacks"]["nearest image"]["caught"]
    strict = read_audit(clinic / "audit")  # the gate takes it
    assert strict.summary("generator")["outcome"] == "inconclusive"
    assert strict.content["target"]["stack"]["digest"] == PairDataset(clinic / "audit" / "synthetic.npy").digest
    told = [(one["name"], one["value"], one["floor"]) for one in strict.quality["distances"]]  # for a dataset card
    assert told == [(one["name"], one["value"], one["floor"]) for one in found["quality"]["distances"]]
    text = (clinic / "audit/audit.json").read_text("utf-8")
    assert str(clinic) not in text and "NaN" not in text


@pytest.mark.slow
def test_stopped_audit_goes_on(clinic, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "planted", stop)
        with pytest.raises(KeyboardInterrupt):
            made(clinic)
    assert not (clinic / "audit/audit.json").exists()
    monkeypatch.setattr("tofgan_monai.audit.neighbours.nearest", stop)  # searched before it was stopped
    stopped = made(clinic)
    for name in ("run.quality", "run.planted", "assessment.latent_recovery"):
        monkeypatch.setattr(f"tofgan_monai.audit.{name}", stop)
    assert made(clinic) == stopped  # nothing is computed twice
    monkeypatch.setattr(MeanFeatures, "sha256", "1" * 64)
    monkeypatch.setattr(stages, "quality", lambda *_: {"n": 1, "mifid": {}})
    assert made(clinic) == {**stopped, "quality": {"n": 1}, "copies": {**stopped["copies"], "mifid": {}}}


def test_pairs_are_made_again_for_another_label_threshold(clinic):
    def threshold():
        return released_pairs(read_target(clinic / GAN), clinic, n=26, seed=0).facts["label_threshold"]

    config = clinic / GAN / "configs/inference.yaml"
    assert threshold() != 0.25
    config.write_text(re.sub(r"(?m)^label_threshold: \S+", "label_threshold: 0.25", config.read_text("utf-8")), "utf-8")
    assert threshold() == 0.25


@pytest.mark.slow
def test_stack_of_copies_is_caught(clinic, write_pairs):
    pairs, _ = open_stack(clinic / "members.npy")
    write_pairs(clinic / "copies.npy", 30, kind="synthetic")
    np.save(clinic / "copies.npy", pairs)
    found = made(clinic, "copies.npy")
    assert found["target"]["kind"] == "stack" and set(found["verdicts"]) == {"data"}
    nearest = found["attacks"][0]
    assert nearest["name"] == "nearest image" and nearest["patch"]["auc"]["value"] == 1
    assert found["copies"]["closest"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    stack = read_audit(clinic / "audit").content["target"]["stack"]
    assert stack["seed"] is None  # the manifest does not name one


def test_segmentation_with_shadow_models_leaves_no_pictures_and_needs_nothing_that_measures_pairs(clinic, monkeypatch):
    for name in ("load_prdc", "load_extractor"):
        monkeypatch.setattr(stages, name, None)
    (clinic / "audit").mkdir()
    np.savez(clinic / "audit/pictures.npz", synthetic=np.zeros((1, 2, 96, 96)))  # of an audit of pairs
    found = made(clinic, SEGMENTATION, shadows=[trained_unet(clinic / str(seed), seed=seed) for seed in range(2)])
    assert names(found) == ["loss", "confidence", "LiRA"]
    assert found["attacks"][0]["strangers"] and not found["attacks"][2]["strangers"]
    assert set(found["verdicts"]) == {"network"} and (clinic / "audit/audit.json").exists()
    assert not (clinic / "audit/pictures.npz").exists()


def of_patients(path, write_pairs, sizes, kind="real", **more):
    """A stack of patients with so many pairs each."""
    volumes = [{"patient": i, "n_vessel": n, "n_random": 0, **more} for i, n in enumerate(sizes)]
    return write_pairs(path, sum(sizes), 9, kind=kind, volumes=volumes)


SHARED = {"voxels": "members 1"}  # other patches of a member's scan
IN_BOTH = r"members.npy and .*given.npy share 1 volume, but members and {} must be different patients.*--split test"


@pytest.mark.parametrize(
    ("group", "sizes", "more", "told"),
    [
        ("non_members", [30, 30], SHARED, IN_BOTH.format("non-members")),
        ("references", [30, 30], SHARED, IN_BOTH.format("references")),
        ("references", [15, 15], {}, "30 pairs, of which one half of the patients has 15, .*; give 52 pairs or more"),
        ("references", [50, 50, 2], {}, "102 pairs, .* one half of the patients"),
        ("members", [3, 3], {}, "members has 6 pairs; give 7 pairs or more"),
        ("non_members", [3, 3], {}, "non-members has 6 pairs; give 7 pairs or more"),
        ("members", [15, 15], {"kind": "synthetic"}, "holds synthetic pairs"),
    ],
)
def test_cohorts_that_cannot_be_compared_are_refused(clinic, write_pairs, group, sizes, more, told):
    given = {**stacks(clinic), group: of_patients(clinic / "given.npy", write_pairs, sizes, **more)}
    with pytest.raises(InputError, match=told):
        audit(clinic / GAN, clinic / "audit", **given)
    assert not (clinic / "audit").exists()


def test_whether_volumes_were_compared_is_told(clinic, write_pairs):
    assert read_cohorts(**stacks(clinic), pairs_per_patient=50).volumes_compared
    of_patients(clinic / "references.npy", write_pairs, [30] * 2)  # made before manifests named volumes
    assert made(clinic, SEGMENTATION)["volumes_compared"] is False


@pytest.mark.slow
def test_collapsed_stack_has_a_verdict(clinic, write_pairs):
    write_pairs(clinic / "collapsed.npy", 30, 7, kind="synthetic")
    pairs = np.load(clinic / "collapsed.npy")
    np.save(clinic / "collapsed.npy", pairs[[0] * 30])
    found = made(clinic, "collapsed.npy")
    assert found["verdicts"]["data"]["outcome"] != "passed"
    assert "NaN" not in (clinic / "audit/audit.json").read_text("utf-8")


def test_few_synthetic_pairs_are_refused_before_any_work(clinic, write_pairs):
    write_pairs(clinic / "few.npy", 25, kind="synthetic")
    with pytest.raises(InputError, match=r"few\.npy: .* 25 pairs, .*; make 26 or more"):
        made(clinic, "few.npy")


@pytest.mark.parametrize("of", ["the bundle", "best.pt", "another generator", "nobody knows"])
def test_stack_alone_with_a_training_must_be_of_its_weights(clinic, run, write_pairs, of):
    told = {
        "the bundle": {"weights_sha256": weights_file_digest(clinic / GAN / "models/model.pt")},  # as adopted
        "best.pt": {"weights_sha256": weights_file_digest(run / "best.pt")},
        "another generator": {"weights_sha256": "0" * 64},
        "nobody knows": {},
    }
    write_pairs(clinic / "stack.npy", 30, kind="synthetic", **told[of])
    aim, cohorts = read_target(clinic / "stack.npy"), read_cohorts(**stacks(clinic), pairs_per_patient=50)
    if of in ("the bundle", "best.pt"):
        assert read_training(run, aim, cohorts).critic
    else:
        with pytest.raises(InputError, match="did not make the weights that the stack's manifest names"):
            read_training(run, aim, cohorts)


def test_shadow_models_must_be_other_networks_of_other_patients(clinic):
    given = [
        trained_unet(clinic / "a", clinic / "references.npy", seed=1),
        trained_unet(clinic / "b", seed=1),
        trained_unet(clinic / "c", clinic / "members.npy", seed=2),
        trained_unet(clinic / "d", clinic / "non_members.npy", seed=3),
        clinic / SEGMENTATION,
    ]
    with pytest.raises(InputError) as refused:
        made(clinic, SEGMENTATION, shadows=given)
    b, own, c, d = refused.value.problems
    assert "b/best.pt: the file has the same weights as" in b and "a/best.pt" in b and "the audited network" in own
    assert "c/best.pt" in c and "trained on the members' pairs" in c and "the non-members' pairs" in d


def test_one_shadow_model_is_warned_of_and_one_of_a_generator_refused(clinic, caplog):
    shadows = [trained_unet(clinic / "a")]
    assert names(made(clinic, SEGMENTATION, shadows=shadows)) == ["loss", "confidence"]
    assert "LiRA is left out; give two or more" in caplog.text
    with pytest.raises(InputError, match="not a segmentation network"):
        made(clinic, shadows=shadows)


def test_another_training_is_refused_before_pairs_are_made(clinic, monkeypatch):
    other = trained_gan(clinic / "other", clinic / "references.npy")
    monkeypatch.setattr(stages, "released_pairs", None)
    with pytest.raises(InputError) as refused:
        made(clinic, run=other)
    pairs, weights = refused.value.problems
    assert "other pairs than the members'" in pairs and "did not make the weights in" in weights


def test_another_version_uses_no_part_again(clinic, monkeypatch):
    made(clinic, SEGMENTATION)
    before = set((clinic / "audit/parts").iterdir())
    monkeypatch.setattr(stages, "version", lambda _: "9.9")
    made(clinic, SEGMENTATION)
    assert len(set((clinic / "audit/parts").iterdir())) == 2 * len(before)


@pytest.mark.parametrize("option", ["--pairs-per-patient=0", "--seed=-1", "--n=0"])
def test_numbers_out_of_range_are_refused(clinic, option):
    assert verb(clinic, option).exit_code == 2


@pytest.mark.slow
def test_verb_tells_the_verdicts_and_writes_the_pages_each_time(clinic):
    for _ in range(2):  # the second time every part is there
        told = verb(clinic).output
        assert "data: inconclusive" in told and f"3 members, where {MIN_PATIENTS} patients are needed" in told
        pages = [clinic / "audit" / page for page in ("audit.html", "audit_for_sharing.html")]
        with_patches, without = (page.read_text("utf-8").count("data:image/png") for page in pages)
        assert with_patches and not without
        for page in pages:
            page.unlink()
    refused = verb(clinic, "--canary", str(clinic / "members.npy"))
    assert isinstance(refused.exception, InputError)  # without its training
