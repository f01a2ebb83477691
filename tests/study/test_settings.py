"""The settings of a study: presets, files of differences, and an error with a remedy for each wrong value."""

from __future__ import annotations

import pytest
import yaml

from tofgan_monai import InputError
from tofgan_monai.study.plan import (
    arms,
    draws,
    grid_points,
    n_frechet,
    n_patients,
    n_synthetic,
    sampled_stacks,
    shareable,
    synthetic_sets,
    training_sets,
)
from tofgan_monai.study.settings import preset_names, read_settings
from tofgan_monai.volumes.cohort import write_cohort


@pytest.fixture
def config(tmp_path):
    """Callable (**differences) -> a file of settings that differ from the preset smoke."""

    def write(**differences):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"preset": "smoke", **differences}), "utf-8")
        return path

    return write


def cohort(folder, training=2, validation=1, test=1):
    counts = {"training": training, "validation": validation, "test": test}
    items = {
        split: [
            {"subject": f"{split}{i}", "patient": f"{split}{i}", "image": "i.nii.gz", "label": "l.nii.gz"}
            for i in range(n)
        ]
        for split, n in counts.items()
    }
    return write_cohort(folder, items)


@pytest.mark.parametrize("preset", preset_names())
def test_presets_can_be_read(preset):
    settings = read_settings(preset)
    assert "preset" not in settings and settings.keys() == read_settings("paper").keys()


def test_paper_preset_has_the_papers_numbers():
    paper = read_settings("paper")
    assert (paper["patients_a"], paper["patients_b"]) == ([41, 11, 14], [15, 10, 40])
    assert n_synthetic(paper) == n_frechet(paper) == 41 * (paper["n_vessel"] + paper["n_random"]) == 41000
    assert [*paper["transfer"]] == [1, 3, 5, 7, 9, 11, 13, 15]
    assert (paper["gan_width"], paper["unet_width"]) == (96, 32)
    assert paper["grid"] == {"lr": [1e-4, 1e-5], "dropout": [0.0, 0.1, 0.2], "batch_size": [8, 16, 32, 64]}


def test_file_lists_differences(config, tmp_path):
    path = cohort(tmp_path / "mine")
    settings = read_settings(config(unet_width=4, cohort_b="mine/cohort.json"))
    assert settings["unet_width"] == 4
    assert settings["cohort_b"] == str(path)
    assert settings["n_synthetic"] == read_settings("smoke")["n_synthetic"]
    assert n_patients(settings, "B", "training") == 2


def test_names_of_the_sets(config):
    settings = read_settings(config(gans={"DCGAN": "tof_mra_dcgan"}, procedural=0))
    assert training_sets(settings) == ["real", "real+DCGAN", "DCGAN"]
    assert synthetic_sets(settings) == ["DCGAN"]
    settings = read_settings(config(gans={"DCGAN": "tof_mra_dcgan", "Refiner": "tof_mra_refiner"}, procedural=0))
    assert synthetic_sets(settings) == ["DCGAN", "Refiner"], "a generator beside the paper's"
    assert arms(settings) == ["scratch", "pretrained"]
    assert draws(settings) == ["1_0", "2_0"]
    assert grid_points(settings)["lr0.001_dropout0.1"] == "--lr 0.001 --dropout 0.1"


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ({"unet_widht": 4}, "no setting unet_widht; did you mean unet_width?"),
        ({"unet_width": 0}, "unet_width 0: this setting needs a number, 1 or more"),
        ({"seeds": [0, 0]}, "seeds [0, 0]: this setting needs a list of different seeds"),
        ({"patients_a": [4, 0, 2]}, "patients_a [4, 0, 2]: this setting needs three numbers"),
        ({"transfer": {1: 3}}, "3 draws of 1 patients need 3 different patients, but cohort B has 2"),
        ({"tune": "some"}, "tune some: this setting needs each or real"),
        ({"grid": {"lr": 0.1}}, "grid {'lr': 0.1}: this setting needs OPTION: [NUMBERS]"),
        (
            {"gans": {"a_b": "tof_mra_dcgan"}},
            "gans {'a_b': 'tof_mra_dcgan'}: this setting needs NAME: BUNDLE for each GAN; a name has letters",
        ),
        ({"gans": {"real": "tof_mra_dcgan"}}, "a name has letters, digits and - only, and is not real"),
        ({"cohort_b": "nowhere.json"}, "nowhere.json cannot be read as a cohort"),
        ({"retrain": "no"}, "retrain no: this setting needs true or false"),
        ({"n_vessel": 2.0}, "n_vessel 2.0: this setting needs a number, 1 or more"),
        ({"transfer": {0: 1}}, "transfer {0: 1}: this setting needs PATIENTS: DRAWS"),
        ({"cohort_a": 3}, "cohort_a 3: this setting needs the path of a cohort.json, or null"),
        ({"gans": {"X": "tof_mra_dcgam"}}, "gans: X: tof_mra_dcgam: no such bundle"),
        ({"augmentations": ["plain", "classic"]}, "has no configs/classic.yaml"),
        ({"grid": {"rate": [0.1]}}, "--rate: tof_mra_vessel_segmentation has no such setting"),
        ({"unet_train": "--max_epoch 1"}, "did you mean --max_epochs?"),
        ({"unet_train": "--overlay big"}, "has no configs/big.yaml"),
        ({"gan_train": "--batch_size"}, "overrides come as --ID VALUE"),
        ({"gan_width": None}, "gan_width: the width is missing"),
        ({"inception_weights": "none.pth"}, "needs the path of a file"),
        ({"n_frechet": 1000}, "the stacks hold only 80 real and 80 synthetic pairs"),
        ({"patients_b": [9000, 999, 2]}, "only 10000 heads"),
    ],
)
def test_wrong_value_is_named_with_its_remedy(config, differences, words):
    with pytest.raises(InputError, match=r"mine\.yaml") as error:
        read_settings(config(**differences))
    assert words in str(error.value)


def test_all_wrong_values_are_named_at_once(config):
    with pytest.raises(InputError) as error:
        read_settings(config(tune="some", seeds=[0, 0]))
    assert len(error.value.problems) == 2


def test_shipped_generators_are_refused_for_a_cohort_of_ones_own(config, tmp_path):
    cohort(tmp_path / "a")
    with pytest.raises(InputError, match="set retrain: true"):
        read_settings(config(cohort_a="a/cohort.json", retrain=False))


@pytest.mark.parametrize("text", ["- a list", "unet_width: 4", "preset: big", "preset: [", None])
def test_unreadable_study_is_refused(tmp_path, text):
    path = tmp_path / "none.yaml"
    if text:
        path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_settings(path)


def test_one_patient_in_both_cohorts_is_refused(config, tmp_path):
    cohort(tmp_path / "a")
    with pytest.raises(InputError, match="remove it from one of them"):
        read_settings(config(cohort_a="a/cohort.json", cohort_b="a/cohort.json"))


def test_bundle_of_ones_own_counts_from_the_files_folder(config, tmp_path):
    (tmp_path / "mine" / "configs").mkdir(parents=True)
    for name in ("metadata.json", "train.yaml"):
        (tmp_path / "mine" / "configs" / name).write_text(
            "batch_size: 1\nmax_epochs: 1\nwidth: 1\nvalidation_pairs: null\n", "utf-8"
        )
    assert read_settings(config(gans={"Mine": "./mine"}))["gans"] == {"Mine": str(tmp_path / "mine")}


def test_draws_of_patients_are_disjoint(config):
    stacks = sampled_stacks(read_settings(config(patients_b=[6, 1, 1], transfer={1: 2, 3: 2})))
    assert stacks["B_1_1"] == ("B", "--split training --n-vessel 20 --n-random 20 --patients 1 --skip 1")
    assert stacks["B_3_1"][1].endswith("--patients 3 --skip 3")


def test_no_path_is_in_what_may_be_shared(config):
    own = {
        "gans": {"X": "/data/dr.house/tof_mra_dcgan"},
        "unet_train": "--pretrained /data/mueller/w.pt --max_epochs 1",
    }
    settings = {**read_settings("smoke"), **own, "cohort_a": "/data/a/cohort.json"}
    assert "/" not in str(shareable(settings))
    assert shareable(settings)["unet_train"] == "--pretrained w.pt --max_epochs 1"
