"""The 3D segmentation bundle as a user runs it: trained, resumed, adopted, run, scored, exported, packed."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, onnx_export, run
from typer.testing import CliRunner

from tests.helpers.bundles import BUNDLES, ROOT, command, configs, inference_files, parsed, run_bundle
from tests.helpers.checkpoints import same
from tests.helpers.heads import write_small_head, write_small_heads
from tofgan_monai import ChangedTrainingError, PooledDice, VesselUNet3D, pack, verify
from tofgan_monai.bundle_runs import runs
from tofgan_monai.cli import app
from tofgan_monai.exchange.adoption import adopt
from tofgan_monai.exchange.data_card import seen_by
from tofgan_monai.phantom.sources import VERSION
from tofgan_monai.segmentation import heads
from tofgan_monai.training.weights import load_weights, save_weights, weights_file_digest
from tofgan_monai.volumes.cohort import write_cohort

NAME = "tof_mra_vessel_segmentation_3d"
SIZES = {"width": 2, "levels": 3, "window": [16, 16, 8]}
TINY = {**SIZES, "steps_per_epoch": 2, "max_epochs": 1, "n_validation": 3}
LINE = ["--width", "2", "--levels", "3", "--window", "[16,16,8]"]


@pytest.fixture(autouse=True)
def quick_phantom(monkeypatch):
    monkeypatch.setattr(heads, "write_heads", write_small_heads)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    items = [write_small_head(folder / f"sub-{i:02d}", i, mask=i != 1) for i in range(5)]
    for key in ("image", "label"):  # one test patient is stored in another order of axes
        nib.save(nib.load(items[4][key]).as_reoriented([[2, 1], [0, -1], [1, -1]]), items[4][key])
    write_cohort(folder, {"training": items[:2], "validation": items[2:3], "test": items[3:]})
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    save_weights(VesselUNet3D(2, 3).state_dict(), path)
    return str(path)


def train(output_dir, *files, **overrides):
    run_bundle(NAME, "train.yaml", *files, **{"output_dir": str(output_dir), **TINY, **overrides})
    VesselUNet3D(2, 3).load_state_dict(load_weights(output_dir / "best.pt"))
    return [json.loads(line) for line in (output_dir / "losses.jsonl").read_text("utf-8").splitlines()]


def segment(output_dir, weights, *files, **overrides):
    given = {"output_dir": str(output_dir), "weights": weights, **SIZES, **overrides}
    run_bundle(NAME, "inference.yaml", *files, **given)


# ---- training

SIMULATED = {"simulated": 2, "simulated_validation": 1}
SEEN = {"kind": "simulated", "patients": 2, "simulation": [VERSION]}
NONE = {"simulated": 0, "simulated_validation": 0}


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (SIMULATED, [SEEN]),
        (NONE, [{"kind": "real", "patients": 2}]),
        (SIMULATED | {"own": True}, [SEEN, {"kind": "real", "patients": 2}]),
    ],
    ids=["simulated", "cohort", "both"],
)
def test_trains_on_simulated_heads_a_cohort_or_both(data, seen, cohort, tmp_path):
    own = {"dataset_dir": str(cohort)} if data != SIMULATED else {}
    data = {key: value for key, value in data.items() if key != "own"}
    (epoch,) = train(tmp_path / "out", **data, **own)
    assert epoch["iteration"] == 2 and np.isfinite(epoch["loss"]) and 0 <= epoch["val_dice"] <= 1
    assert seen_by(tmp_path / "out", BUNDLES / NAME) == seen


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_interrupted_training_ends_with_the_same_weights_bit_for_bit(weight, tmp_path, monkeypatch):
    given = {"max_epochs": 3, "cldice_weight": weight, **SIMULATED, "cache_dir": str(tmp_path / "cache")}
    train(tmp_path / "whole", **given)
    measure = PooledDice.__call__
    calls = iter(range(9))

    def interrupted(dice):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return measure(dice)

    monkeypatch.setattr(PooledDice, "__call__", interrupted)
    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        train(tmp_path / "parts", **given)
    monkeypatch.setattr(PooledDice, "__call__", measure)
    epochs = train(tmp_path / "parts", **given)
    assert len(epochs) == 3
    states = [load_weights(tmp_path / folder / "checkpoint.pt")["state"] for folder in ("whole", "parts")]
    assert same(*(state["network"] for state in states)) and same(*(state["optimizer"] for state in states))


@pytest.mark.parametrize(
    "changed",
    [{"strip_share": 0.1}, {"cldice_weight": 0.2}, {"simulated": 3}, {"simulated_share": 0.1}, {"n_validation": 4}],
    ids=lambda changed: next(iter(changed)),
)
def test_training_with_other_settings_does_not_continue(changed, tmp_path):
    given = {"output_dir": str(tmp_path), **TINY, **SIMULATED}
    runs.run_bundle(BUNDLES / NAME, ["train.yaml"], given)
    with pytest.raises(ChangedTrainingError, match="belongs to another configuration"):
        runs.run_bundle(BUNDLES / NAME, ["train.yaml"], given | changed)


def test_fine_tuning_starts_from_the_given_weights(weights, tmp_path):
    train(tmp_path / "out", **SIMULATED, pretrained=weights, lr=1e-9, weight_decay=0.0)
    found, start = load_weights(tmp_path / "out" / "best.pt"), load_weights(weights)
    assert all(torch.allclose(found[name], start[name], atol=1e-6) for name in start)


@pytest.mark.slow
def test_full_scale_overlay_trains(tmp_path):
    """Its own sizes but the largest: a window of 128x128x48 takes seconds for a step."""
    parser = parsed(NAME, "train.yaml", "paper.yaml")
    assert all(edge % (2 ** (parser["levels"] - 1)) == 0 for edge in parser["window"])
    small = {"amp": False, "simulated_workers": 1, "batch_size": 2, "train#dataloader#num_workers": 0, **SIMULATED}
    train(tmp_path / "out", "paper.yaml", **small, in_plane_fold=2)


@pytest.mark.slow
def test_two_processes_share_a_training(cohort, tmp_path):
    files = str(configs(NAME, "train.yaml", "multi_gpu_train.yaml"))
    words = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "monai.bundle", "run"]
    sizes = ["--steps_per_epoch", "2", "--max_epochs", "1", "--n_validation", "3", "--simulated", "0"]
    data = ["--dataset_dir", str(cohort), "--simulated_validation", "0", "--output_dir", str(tmp_path / "two")]
    line = [sys.executable, *words, "--config_file", files, "--bundle_root", str(BUNDLES / NAME), *LINE, *sizes, *data]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    train(tmp_path / "one", **NONE, dataset_dir=str(cohort))
    both, one = (load_weights(tmp_path / folder / "checkpoint.pt") for folder in ("two", "one"))
    assert both["recipe"] == one["recipe"], "one may go on where the other stopped"
    assert both["state"]["network"].keys() == one["state"]["network"].keys()


# ---- inference


@pytest.mark.slow
def test_segments_by_command_from_elsewhere(cohort, weights, tmp_path):
    words = ["run", "--config_file", *configs(NAME, "inference.yaml"), "--bundle_root", BUNDLES / NAME, *LINE]
    command(*words, "--dataset_dir", cohort, "--output_dir", tmp_path / "out", "--weights", weights, cwd=tmp_path)
    assert len(list((tmp_path / "out").glob("*_vessels.nii.gz"))) == 5


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_segments_in_the_precision_that_is_asked_for(precision, cohort, weights, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with caplog.at_level(logging.INFO):
        segment(tmp_path / "out", weights, dataset_dir=str(cohort), precision=precision, split="test")
    assert f"the network computes in {precision}" in caplog.text
    assert len(list((tmp_path / "out").glob("*_vessels.nii.gz"))) == 2
    assert len(list((tmp_path / "cache").rglob("*.json"))) == (precision == "int8")


def test_segmentation_lies_where_the_vessels_are(cohort, weights, tmp_path):
    """A network that finds what is bright: whatever a volume's orientation, its voxels are the bright ones."""
    segment(tmp_path, weights, dataset_dir=str(cohort), network="$lambda windows: windows - 250", split="test")
    for subject in ("sub-03", "sub-04"):
        found, label = nib.load(tmp_path / f"{subject}_vessels.nii.gz"), nib.load(cohort / subject / "label.nii.gz")
        np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(label.dataobj))
        np.testing.assert_allclose(found.affine, label.affine, atol=1e-4)
        assert found.get_data_dtype() == np.uint8


def test_small_pieces_are_dropped(cohort, weights, tmp_path):
    """Each vessel has 80 voxels of 0.175 mm^3."""
    bright = {"dataset_dir": str(cohort), "network": "$lambda windows: windows - 250", "split": "validation"}
    for size, is_there in ((13.9, True), (60, False)):
        segment(tmp_path, weights, **bright, min_piece_mm3=size)
        assert np.asarray(nib.load(tmp_path / "sub-02_vessels.nii.gz").dataobj).any() == is_there


def test_evaluates_the_test_patients(cohort, weights, tmp_path):
    bright = "$lambda windows: windows - 250"
    segment(tmp_path, weights, "evaluate.yaml", dataset_dir=str(cohort), cohort="A", network=bright)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text("utf-8").splitlines()]
    assert [(line["model"], line["dsc"], line["hd95_mm"]) for line in lines] == [("3D U-Net", 1.0, 0.0)] * 2
    assert len(list((tmp_path / "error_maps").glob("*.png"))) == 2


# ---- what the zoo checks, with fresh weights


@pytest.mark.parametrize("kind", ["train", "infer", "evaluate"])
def test_has_the_ids_that_monai_asks_for(kind, cohort, weights, tmp_path):
    files = {"train": ["train.yaml"], "infer": ["inference.yaml"]}.get(kind, ["inference.yaml", "evaluate.yaml"])
    given = {**SIZES, "output_dir": str(tmp_path), "dataset_dir": str(cohort)}
    given |= NONE if kind == "train" else {"weights": weights}
    given |= {"config_file": configs(NAME, *files), "logging_file": False}
    workflow = ConfigWorkflow(workflow_type="train" if kind == "train" else "infer", **given)
    workflow.initialize()
    assert workflow.check_properties() == []


def probabilities(weights, image):
    network = VesselUNet3D(2, 3, activation=torch.nn.Sigmoid()).eval()
    network.load_state_dict(load_weights(weights))
    with torch.no_grad():
        return network(image)


IMAGE = torch.rand(2, 1, 96, 96, 24, generator=torch.Generator().manual_seed(0)) * 300


def test_torchscript_gives_what_pytorch_gives(weights, tmp_path):
    options = {"net_id": "probability_def", "ckpt_file": weights, "width": 2, "levels": 3}
    ckpt_export(filepath=str(tmp_path / "unet3d.ts"), **options, **inference_files(NAME))
    with torch.no_grad():
        found = torch.jit.load(tmp_path / "unet3d.ts")(IMAGE)
    torch.testing.assert_close(found, probabilities(weights, IMAGE))


@pytest.mark.slow
def test_onnx_gives_what_pytorch_gives(weights, tmp_path):
    """The options are those of the README's command."""
    line = next(line for line in readme().splitlines() if line.startswith("python -m monai.bundle onnx_export "))
    kwargs = re.search(r'--converter_kwargs "(.*)"', line)[1]
    options = {"net_id": "probability_def", "ckpt_file": weights, "width": 2, "levels": 3, "use_trace": True}
    path = str(tmp_path / "unet3d.onnx")
    onnx_export(
        filepath=path, converter_kwargs=runs.parse_overrides(["--k", kwargs])["k"], **options, **inference_files(NAME)
    )
    session = onnxruntime.InferenceSession(path)
    for image in (IMAGE, IMAGE[:1]):
        (found,) = session.run(None, {"image": image.numpy()})
        np.testing.assert_allclose(found, probabilities(weights, image), atol=1e-3, rtol=0)


def readme():
    return (BUNDLES / NAME / "docs" / "README.md").read_text("utf-8")


# ---- from a training to another clinic


@pytest.fixture
def clinic(weights, tmp_path):
    """A copy of the bundle with a tiny network and its weights."""
    bundle = shutil.copytree(BUNDLES / NAME, tmp_path / "clinic_3d")
    for config in (bundle / "configs" / "inference.yaml", bundle / "configs" / "train.yaml"):
        tiny = re.sub(r"(?m)^(width|levels): \d+", lambda found: f"{found[1]}: {SIZES[found[1]]}", config.read_text())
        config.write_text(tiny.replace("window: [96, 96, 24]", "window: [16, 16, 8]"))
    shutil.copy(weights, bundle / "models" / "model.pt")
    return bundle


def test_one_patient_fine_tunes_the_shipped_weights(clinic, weights, tmp_path):
    item = write_small_head(tmp_path / "scans" / "sub-01")
    write_cohort(tmp_path / "scans", {"training": [item], "validation": [], "test": []})
    words = ["train", clinic, "--dataset-dir", tmp_path / "scans", "--output-dir", tmp_path / "out"]
    more = ["--pretrained", "shipped", "--max_epochs", "1", "--steps_per_epoch", "2", "--n_validation", "4"]
    done = CliRunner().invoke(app, [str(word) for word in (*words, *more)])
    assert done.exit_code == 0, done.output
    recipe = load_weights(tmp_path / "out" / "checkpoint.pt")["recipe"]
    assert recipe["pretrained"]["sha256"] == weights_file_digest(weights)
    assert recipe["pairs"]["provenance"] == [SEEN | {"patients": 4}, {"kind": "real", "patients": 1}]
    assert recipe["validation_pairs"]["heads"]["provenance"] == [{"kind": "real", "patients": 1}]


def test_trained_weights_are_adopted_packed_and_verified(clinic, tmp_path):
    train(tmp_path / "out", **SIMULATED)
    adopt(tmp_path / "out", clinic)
    assert same(load_weights(clinic / "models" / "model.pt"), load_weights(tmp_path / "out" / "best.pt"))
    found = verify(pack(clinic, tmp_path / "clinic_3d.zip"))
    assert found.card["weights"]["models/model.pt"]["seen"] == [SEEN]
    assert any("has seen simulated (2" in line for line in found.lines), found.lines


def test_app_of_monai_label_fine_tunes_on_corrected_labels(clinic, tmp_path):
    """With the overrides that MONAI Label's BundleTrainTask gives."""
    training = ConfigParser()
    training.read_config([str(clinic / "configs" / file) for file in ("train.yaml", "monailabel.yaml")])
    config = str(clinic / "configs" / "train.json")
    ConfigParser.export_config_file(training.get(), config)
    items = [write_small_head(tmp_path / name, seed, mask=False) for seed, name in enumerate(("sub-01", "sub-02"))]
    data = [{key: item[key] for key in ("image", "label", "subject", "patient")} for item in items]
    start = (clinic / "models" / "model.pt").read_bytes()
    given = {"train#dataset#data": data[:1], "validate#dataset#data": data[1:], "train#trainer#max_epochs": 2}
    given |= {"train#handlers": training.get()["train"]["handlers"], "device": torch.device("cpu")}
    given |= {"steps_per_epoch": 2, "n_validation": 3, "bundle_root": str(clinic), "pretrained": ""}
    run(config_file=config, logging_file=False, **given)
    (folder,) = (clinic / "trainings").iterdir()
    assert len((folder / "losses.jsonl").read_text().splitlines()) == 2
    recipe = load_weights(folder / "checkpoint.pt")["recipe"]
    assert recipe["pairs"]["provenance"] == [SEEN | {"patients": 4}, {"kind": "real", "patients": 1}]
    assert recipe["validation_pairs"]["heads"]["provenance"] == [{"kind": "real", "patients": 1}]
    used = [(clinic / "models" / "model.pt").read_bytes()]
    used += [path.read_bytes() for path in (clinic / "models").glob("until_*.pt")]
    assert start in used, "the weights before the training are kept, or still in use"
