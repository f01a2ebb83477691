"""The folder of the MONAI Label app: what is copied there, who is held out, which weights come into use."""

import json
import os

import pytest
import torch
from monai.bundle import ConfigParser, run

from tests.helpers.patients import write_patient
from tofgan_monai import HalfUNet, InputError, VesselUNet3D, take_into_use
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.label_app.working_copy import BUNDLE, WEIGHTS, place_app, split_by_patient, with_patients
from tofgan_monai.training.weights import save_weights


@pytest.fixture
def bundle(tmp_path):
    return place_app(tmp_path / "app")


def items(*patients):
    return [{"image": f"{patient}_{i}.nii.gz", "patient": patient} for i, patient in enumerate(patients)]


def test_app_has_a_main_and_a_copy_of_the_bundle(bundle):
    shipped = bundle_path(BUNDLE)
    assert "import VesselApp" in (bundle.parents[1] / "main.py").read_text()
    assert (bundle / WEIGHTS).read_bytes() == (shipped / WEIGHTS).read_bytes()
    parser = ConfigParser()
    parser.read_config(os.fspath(bundle / "configs/inference.json"))
    assert parser["skull_strip"] == "none"


def test_half_unet_gets_a_computed_mask(tmp_path):
    bundle = place_app(tmp_path / "app", "tof_mra_vessel_segmentation")
    parser = ConfigParser()
    parser.read_config(os.fspath(bundle / "configs/inference.json"))
    assert parser["skull_strip"] == "computed"
    steps = [step["_target_"].split(".")[-1] for step in parser["postprocessing#transforms"]]
    assert steps == ["Activationsd", "Invertd", "AsDiscreted"]  # MONAI Label writes the label, and nobody a second one


def test_app_that_is_there_stays_as_it_is(bundle):
    app, network = bundle.parents[1], VesselUNet3D()
    (app / "main.py").write_text("another")
    save_weights(network.state_dict(), bundle / WEIGHTS)
    learnt = (bundle / WEIGHTS).read_bytes()
    assert place_app(app) == bundle
    assert (app / "main.py").read_text() == "another"
    assert (bundle / WEIGHTS).read_bytes() == learnt


def test_weights_of_another_width_are_refused(bundle):
    save_weights(VesselUNet3D(width=4).state_dict(), bundle / WEIGHTS)
    with pytest.raises(InputError, match="weights that do not fit"):
        place_app(bundle.parents[1])


def test_folder_with_a_hash_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="lab #3: MONAI Label cannot use a path with '#'; rename the folder"):
        place_app(tmp_path / "lab #3")
    assert not (tmp_path / "lab #3").exists()


def test_patient_id_tells_the_patient_of_a_series_and_the_name_that_of_a_file():
    known = {"1.2.8": {"PatientID": "anna"}, "1.2.9": {"PatientID": "anna"}}
    names = ("1.2.8.nii.gz", "1.2.9.nii.gz", "sub-01_ses-01.nii.gz", "Dr. X.nrrd")
    found = with_patients([{"image": f"/studies/{name}"} for name in names], lambda name: known.get(name, {}))
    assert [item["subject"] for item in found] == ["1.2.8", "1.2.9", "sub-01_ses-01", "Dr. X"]
    assert [item["patient"] for item in found] == ["anna", "anna", "sub-01", "Dr. X"]


def test_no_patient_is_both_trained_on_and_held_out():
    training, held_out = split_by_patient(items("a", "b", "a", "c", "b", "d", "e"), 0.4)
    assert len(training) + len(held_out) == 7
    sides = [{item["patient"] for item in side} for side in (training, held_out)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 2


@pytest.mark.parametrize(("fraction", "n_held_out"), [(0.01, 1), (0.99, 2)])
def test_both_sides_have_a_patient_at_least(fraction, n_held_out):
    assert len(split_by_patient(items("a", "b", "c"), fraction)[1]) == n_held_out


@pytest.mark.parametrize(("patients", "fraction"), [("aa", 0.2), ("", 0.2), ("ab", 0.0), ("ab", 1.0)])
def test_split_without_sense_is_refused(patients, fraction):
    with pytest.raises(InputError):
        split_by_patient(items(*patients), fraction)


@pytest.mark.parametrize(("before", "after"), [(0.8, 0.9), (0.8, 0.8), (0.9, 0.8)])
def test_only_weights_that_are_no_worse_come_into_use(tmp_path, before, after):
    networks = [torch.nn.Linear(1, 1) for _ in range(2)]
    used, best = tmp_path / WEIGHTS, tmp_path / "trainings" / "one" / "best.pt"
    for network, path in zip(networks, (used, best), strict=True):
        save_weights(network.state_dict(), path)
    old, new = used.read_bytes(), best.read_bytes()
    figures = iter((before, after))
    taken = take_into_use(used, best.parent, torch.nn.Linear(1, 1), lambda: next(figures))
    assert taken == (after >= before)
    assert used.read_bytes() == (new if after >= before else old)
    kept = list(used.parent.glob("until_*.pt"))
    assert [path.read_bytes() for path in kept] == ([old] if after >= before else [])


def test_training_runs_as_monai_label_runs_it(tmp_path):
    """With the overrides that its BundleTrainTask gives; a small half U-Net; the 3D one is in test_bundle_3d.py."""
    bundle = place_app(tmp_path / "app", "tof_mra_vessel_segmentation")
    torch.manual_seed(0)
    save_weights(HalfUNet(width=2).state_dict(), bundle / WEIGHTS)
    start = (bundle / WEIGHTS).read_bytes()
    data = [write_patient(tmp_path / name, "RAS", 0, ("image", "label")) for name in ("sub-01", "sub-02")]
    config = bundle / "configs/train.json"
    given = {"train#dataset#data": data[:1], "validate#dataset#data": data[1:], "train#trainer#max_epochs": 2}
    given |= {"train#handlers": json.loads(config.read_text())["train"]["handlers"], "device": torch.device("cpu")}
    given |= {"width": 2, "n_vessel": 4, "n_random": 4, "batch_size": 4, "sampling#transforms#2#method": "none"}
    run(config_file=os.fspath(config), logging_file=False, bundle_root=os.fspath(bundle), **given)
    (folder,) = (bundle / "trainings").iterdir()
    assert len((folder / "losses.jsonl").read_text().splitlines()) == 2
    assert (bundle / WEIGHTS).read_bytes() == (folder / "best.pt").read_bytes() != start
    assert [path.read_bytes() for path in (bundle / "models").glob("until_*.pt")] == [start]
