"""The audit from inputs to a page, of a tiny generator and a tiny U-Net, on pairs of patients made here."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tofgan_monai.attacks.canary import plant_canary
from tofgan_monai.attacks.on_pairs import data_attacks
from tofgan_monai.audit import audit, target
from tofgan_monai.audit import run as stages
from tofgan_monai.audit.cohorts import read_cohorts
from tofgan_monai.audit.record import read_audit
from tofgan_monai.audit.training import Training
from tofgan_monai.audit.verdict import MIN_PATIENTS
from tofgan_monai.cli import app
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.installing import unpack
from tofgan_monai.gan.networks import Critic, Generator
from tofgan_monai.pairs.stack import PairDataset, open_stack
from tofgan_monai.segmentation.networks import HalfUNet
from tofgan_monai.training.weights import save_weights, weights_file_digest
from tofgan_monai.training.checkpoint import FORMAT
from tofgan_monai.training.recipe import described
from tofgan_monai.training.weights import save_weights

DATA_ATTACKS = list(data_attacks())
GAN, SEGMENTATION = "tof_mra_wgan_gp", "tof_mra_vessel_segmentation"


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


@pytest.fixture
def clinic(tmp_path, write_pairs, bundle_files):
    """A folder with a GAN's and a segmentation's bundle and the pairs of members, non-members and references."""
    for name in (GAN, SEGMENTATION):
        unpack(bundle_files(name), tmp_path / name)
    for seed, (name, n) in enumerate({"members": 3, "non_members": 3, "references": 6}.items()):
        volumes = [{"patient": i, "n_vessel": 5, "n_random": 5, "voxels": f"{name} {i}"} for i in range(n)]
        write_pairs(tmp_path / f"{name}.npy", 10 * n, seed, kind="real", volumes=volumes)
    return tmp_path


def stacks(clinic):
    return {name: clinic / f"{name}.npy" for name in ("members", "non_members", "references")}


def trained(clinic, folder, pairs, weights=None, seed=0, n_steps=100):
    """The output folder of a training, as `tofgan train` leaves it."""
    torch.manual_seed(seed)
    critic, generator = Critic(2, "instance"), Generator(width=2)
    average = torch.load(weights, weights_only=True) if weights else generator.state_dict()
    recipe = {"generator": described(generator), "critic": described(critic), "trainer": {"batch_size": 16}}
    recipe |= {"seed": seed, "pairs": described(PairDataset(pairs))}
    state = {"generator": generator.state_dict(), "average": average, "critic": critic.state_dict()}
    state["history"] = {"epochs": [{"epoch": 1, "iteration": n_steps}]}
    folder.mkdir()
    save_weights({"format": FORMAT, "epoch": 1, "recipe": recipe, "state": state}, folder / "checkpoint.pt")
    save_weights(average, folder / "best.pt")
    return folder


@pytest.fixture
def run(clinic):
    return trained(clinic, clinic / "run", clinic / "members.npy", clinic / GAN / "models/model.pt")


def made(clinic, target=GAN, output="audit", **more):
    return audit(clinic / target, clinic / output, **stacks(clinic), **{"n": 26, **more})


def test_generator_with_its_training_and_a_canary(clinic, run):
    plant_canary(clinic / "members.npy", clinic / "canary.npy", times=2, seed=1)
    repeated = trained(clinic, clinic / "canary_run", clinic / "canary.npy", seed=1)
    promise = {"epsilon": 7.4, "delta": 1e-5, "unit": "patch", "n_units": 30, "accountant": "PRV"}
    (run / "guarantee.json").write_text(json.dumps(promise))
    found = made(clinic, run=run, canaries=[(clinic / "canary.npy", repeated)])
    assert [line["name"] for line in found["attacks"]] == [*DATA_ATTACKS, "latent recovery", "LOGAN"]
    assert {name: verdict["outcome"] for name, verdict in found["verdicts"].items()} == dict.fromkeys(
        ("data", "generator", "critic"), "inconclusive"
    )
    assert found["guarantee"]["epsilon"] == 7.4 and found["canary"]["repeats"][0]["of"] == 4
    assert found["cohorts"]["references"]["patients"] == 6 and found["quality"]["n"] == 26
    assert set(found["planted"]["attacks"]) == set(DATA_ATTACKS)
    assert found["planted"]["attacks"]["nearest image"]["caught"]
    strict = read_audit(clinic / "audit")  # the gate takes it
    assert strict.summary("generator")["outcome"] == "inconclusive"
    text = (clinic / "audit/audit.json").read_text("utf-8")
    assert str(clinic) not in text and "NaN" not in text
    pictures = {page: (clinic / "audit" / page).read_text("utf-8").count("data:image/png") for page in PAGES}
    assert pictures["audit.html"] and not pictures["audit_for_sharing.html"]


PAGES = ("audit.html", "audit_for_sharing.html")


def test_stopped_audit_goes_on(clinic, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(stages, "search_copies", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made(clinic)
    assert not (clinic / "audit/audit.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr("tofgan_monai.audit.assessment.data_scores", None)  # done before it was stopped
        stopped = made(clinic)
        for name in ("quality", "search_copies", "planted"):
            patch.setattr(stages, name, None)
        assert made(clinic) == stopped  # nothing is computed twice
        patch.setattr(MeanFeatures, "sha256", "1" * 64)
        patch.setattr(stages, "quality", lambda *_: {"n": 1, "mifid": {}})
        assert made(clinic) == {**stopped, "quality": {"n": 1}, "copies": {**stopped["copies"], "mifid": {}}}


def test_pairs_are_made_again_for_another_label_threshold(clinic):
    def threshold():
        made = target.with_pairs(target.read_target(clinic / GAN), clinic, n=26, seed=0)
        return made.described["stack"]["label_threshold"]

    config = clinic / GAN / "configs/inference.yaml"
    assert threshold() != 0.25
    config.write_text(re.sub(r"(?m)^label_threshold: \S+", "label_threshold: 0.25", config.read_text("utf-8")), "utf-8")
    assert threshold() == 0.25


def test_stack_of_copies_is_caught(clinic, write_pairs):
    pairs, _ = open_stack(clinic / "members.npy")
    write_pairs(clinic / "copies.npy", 30, kind="synthetic")
    np.save(clinic / "copies.npy", pairs)
    found = made(clinic, "copies.npy")
    assert found["target"]["kind"] == "stack" and set(found["verdicts"]) == {"data"}
    nearest = found["attacks"][0]
    assert nearest["name"] == "nearest image" and nearest["patch"]["auc"]["value"] == 1
    assert found["copies"]["closest"][0]["similarity"] == pytest.approx(1, abs=1e-3)


def test_segmentation_with_shadows(clinic):
    for index in range(2):
        torch.manual_seed(index)
        save_weights(HalfUNet(2).state_dict(), clinic / f"shadow_{index}.pt")
    found = made(clinic, SEGMENTATION, shadows=[clinic / f"shadow_{index}.pt" for index in range(2)])
    assert [line["name"] for line in found["attacks"]] == ["loss", "confidence", "LiRA"]
    assert found["attacks"][0]["strangers"] and not found["attacks"][2]["strangers"]
    assert set(found["verdicts"]) == {"network"} and (clinic / "audit/audit.html").exists()


def test_pairs_in_two_stacks_are_refused(clinic):
    given = {**stacks(clinic), "non_members": clinic / "members.npy"}
    with pytest.raises(InputError, match="3 volumes in both; members and non-members must be different patients"):
        audit(clinic / GAN, clinic / "audit", **given)
    assert not (clinic / "audit").exists()


def of_patients(path, write_pairs, sizes, seed=9, **more):
    """A real stack of patients with so many pairs each."""
    volumes = [{"patient": i, "n_vessel": n, "n_random": 0, **more} for i, n in enumerate(sizes)]
    return write_pairs(path, sum(sizes), seed, kind="real", volumes=volumes)


@pytest.mark.parametrize("other", ["non_members", "references"])
def test_other_patches_of_the_members_are_refused(clinic, write_pairs, other):
    path = of_patients(clinic / "again.npy", write_pairs, [30] * 2, voxels="members 1")
    told = r"members.npy and .*again.npy: 1 volume in both; .*--split test"
    with pytest.raises(InputError, match=told):
        read_cohorts(**{**stacks(clinic), other: path}, pairs_per_patient=50)


def test_what_was_not_checked_is_not_said(clinic, write_pairs):
    assert read_cohorts(**stacks(clinic), pairs_per_patient=50).volumes_compared
    of_patients(clinic / "references.npy", write_pairs, [30] * 2)  # made before manifests told volumes
    found = made(clinic, SEGMENTATION)
    assert found["volumes_compared"] is False
    pages = [(clinic / "audit" / page).read_text("utf-8") for page in PAGES]
    assert all("no pair is in two groups" in page and "no scan is in two" not in page for page in pages)


@pytest.mark.parametrize(
    ("group", "sizes", "told"),
    [
        ("references", [15, 15], "30 pairs, 15 of them in one half of the patients; give 52 or more"),
        ("references", [50, 50, 2], "102 pairs, .* of them in one half"),
        ("members", [3, 3], "6 pairs .members.; give 7 or more"),
        ("non_members", [3, 3], "6 pairs .non-members.; give 7 or more"),
    ],
)
def test_too_few_pairs_are_refused_before_any_work(clinic, write_pairs, group, sizes, told):
    given = {**stacks(clinic), group: of_patients(clinic / "few.npy", write_pairs, sizes)}
    with pytest.raises(InputError, match=told):
        read_cohorts(**given, pairs_per_patient=50)


def test_synthetic_pairs_in_the_members_place_are_refused(clinic, write_pairs):
    write_pairs(clinic / "members.npy", 30, kind="synthetic")
    with pytest.raises(InputError, match="holds synthetic pairs"):
        made(clinic)


def test_collapsed_stack_has_a_verdict(clinic, write_pairs):
    write_pairs(clinic / "collapsed.npy", 30, 7, kind="synthetic")
    pairs = np.load(clinic / "collapsed.npy")
    np.save(clinic / "collapsed.npy", pairs[[0] * 30])
    found = made(clinic, "collapsed.npy")
    assert found["verdicts"]["data"]["outcome"] != "passed"
    assert read_audit(clinic / "audit").content["target"]["stack"]["seed"] is None  # its manifest does not tell
    assert "NaN" not in (clinic / "audit/audit.json").read_text("utf-8")


def test_few_synthetic_pairs_are_refused_before_any_work(clinic, write_pairs):
    write_pairs(clinic / "few.npy", 25, kind="synthetic")
    with pytest.raises(InputError, match=r"few\.npy: 25 pairs; make 26 or more"):
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
    aim, cohorts = target.read_target(clinic / "stack.npy"), read_cohorts(**stacks(clinic), pairs_per_patient=50)
    if of in ("the bundle", "best.pt"):
        assert Training(run, aim, cohorts).critic
    else:
        with pytest.raises(InputError, match="not the training that the stack's manifest tells of"):
            Training(run, aim, cohorts)


def test_segmentation_in_a_folder_of_pairs_shows_none_of_them(clinic):
    (clinic / "audit").mkdir()
    np.savez(clinic / "audit/pictures.npz", synthetic=np.zeros((1, 2, 96, 96)))
    made(clinic, SEGMENTATION)
    assert not (clinic / "audit/pictures.npz").exists() and (clinic / "audit/audit.html").exists()


def test_segmentation_needs_nothing_that_measures_pairs(clinic, monkeypatch):
    for name in ("load_prdc", "load_extractor"):
        monkeypatch.setattr(stages, name, None)
    assert set(made(clinic, SEGMENTATION)["verdicts"]) == {"network"}


def shadow(folder, seed=0, pairs=None):
    """Weights of a segmentation, with its training's checkpoint if it was trained on some pairs."""
    folder.mkdir()
    torch.manual_seed(seed)
    state = HalfUNet(2).state_dict()
    if pairs:
        recipe = {"pairs": described(PairDataset(pairs))}
        content = {"format": FORMAT, "epoch": 1, "recipe": recipe, "state": {"network": state}}
        save_weights(content, folder / "checkpoint.pt")
    save_weights(state, folder / "best.pt")
    return folder / "best.pt"


def test_shadows_must_be_other_networks_of_other_patients(clinic):
    given = [
        shadow(clinic / "a", 1, clinic / "references.npy"),
        shadow(clinic / "b", 1),
        shadow(clinic / "c", 2, clinic / "members.npy"),
        shadow(clinic / "d", 3, clinic / "non_members.npy"),
        clinic / SEGMENTATION,
    ]
    with pytest.raises(InputError) as refused:
        made(clinic, SEGMENTATION, shadows=given)
    b, own, c, d = refused.value.problems
    assert "b/best.pt: has the weights of" in b and "a/best.pt" in b and "the audited network" in own
    assert "c/best.pt: was trained on the members' pairs" in c and "the non-members' pairs" in d


def test_shadows_of_a_generator_are_refused(clinic):
    with pytest.raises(InputError, match="shadows are of segmentations only"):
        made(clinic, shadows=[shadow(clinic / "a")])


def test_one_shadow_is_warned_of(clinic, caplog):
    found = made(clinic, SEGMENTATION, shadows=[shadow(clinic / "a")])
    assert [line["name"] for line in found["attacks"]] == ["loss", "confidence"]
    assert "LiRA is left out; give two or more" in caplog.text


def test_a_wrong_training_is_told_before_pairs_are_made(clinic, monkeypatch):
    other = trained(clinic, clinic / "other", clinic / "references.npy")
    monkeypatch.setattr(stages, "with_pairs", None)
    with pytest.raises(InputError, match="on other pairs than the members'"):
        made(clinic, run=other)


def test_another_version_uses_no_part_again(clinic, monkeypatch):
    made(clinic, SEGMENTATION)
    before = set((clinic / "audit/parts").iterdir())
    monkeypatch.setattr(stages, "version", lambda _: "9.9")
    made(clinic, SEGMENTATION)
    assert len(set((clinic / "audit/parts").iterdir())) == 2 * len(before)


@pytest.mark.parametrize("option", ["--pairs-per-patient=0", "--seed=-1", "--n=0"])
def test_numbers_out_of_range_are_refused(clinic, option):
    words = ["audit", str(clinic / GAN), str(clinic / "audit"), option]
    for name, path in stacks(clinic).items():
        words += [f"--{name.replace('_', '-')}", str(path)]
    assert CliRunner().invoke(app, words).exit_code == 2


def test_another_training_is_refused(clinic):
    other = trained(clinic, clinic / "other", clinic / "references.npy")
    with pytest.raises(InputError) as refused:
        made(clinic, run=other)
    assert len(refused.value.problems) == 2
    assert "on other pairs than the members'" in str(refused.value) and "not the training of the weights" in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trainer": {"batch_size": 8}}, "not as the audited training (trainer.batch_size)"),
        ({"pairs": {"digest": "0"}}, "its training was on other pairs than"),
    ],
)
def test_canary_of_another_training_is_refused(clinic, run, change, told):
    plant_canary(clinic / "members.npy", clinic / "canary.npy", times=2)
    repeated = trained(clinic, clinic / "canary_run", clinic / "canary.npy")
    content = torch.load(repeated / "checkpoint.pt", weights_only=True)
    content["recipe"] |= change
    save_weights(content, repeated / "checkpoint.pt")
    with pytest.raises(InputError) as refused:
        made(clinic, run=run, canaries=[(clinic / "canary.npy", repeated)])
    assert told in str(refused.value)


def test_canary_of_another_stack_is_refused(clinic, run):
    plant_canary(clinic / "references.npy", clinic / "canary.npy", times=2)
    with pytest.raises(InputError, match="no canary of the members' stack"):
        made(clinic, run=run, canaries=[(clinic / "canary.npy", run)])


def test_verb_tells_the_verdicts_and_refuses_a_canary_without_its_training(clinic):
    words = ["audit", str(clinic / GAN), str(clinic / "audit"), "-n", "26"]
    for name, path in stacks(clinic).items():
        words += [f"--{name.replace('_', '-')}", str(path)]
    told = CliRunner().invoke(app, words).output
    assert "data: inconclusive" in told and f"3 members, where {MIN_PATIENTS} patients are needed" in told
    refused = CliRunner().invoke(app, [*words, "--canary", str(clinic / "members.npy")])
    assert isinstance(refused.exception, InputError)
