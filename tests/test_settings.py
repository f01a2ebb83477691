"""What a study's settings may be, and how errors say what they may not."""

from __future__ import annotations

import pytest
import yaml

from tofgan_monai.cohort import write_cohort
from tofgan_monai.errors import InputError
from tofgan_monai.study.settings import (
    arms,
    draws,
    grid_points,
    n_patients,
    preset_names,
    read_settings,
    synthetic_sets,
    training_sets,
)


@pytest.fixture
def config(tmp_path):
    """Callable (**differences to smoke) -> a file of them."""

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
    assert paper["n_synthetic"] == 41 * (paper["n_vessel"] + paper["n_random"]) == 41000
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
    assert arms(settings) == ["scratch", "pretrained"]
    assert draws(settings) == ["1_0", "2_0"]
    assert grid_points(settings)["lr0.001_dropout0.1"] == "--lr 0.001 --dropout 0.1"


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ({"unet_widht": 4}, "no setting unet_widht; did you mean unet_width?"),
        ({"unet_width": 0}, "unet_width 0: needs a number, 1 or more"),
        ({"seeds": [0, 0]}, "seeds [0, 0]: needs a list of different seeds"),
        ({"patients_a": [4, 0, 2]}, "patients_a [4, 0, 2]: needs three numbers"),
        ({"transfer": {1: 3}}, "transfer 1: 3: 3 different patients are needed, cohort B has 2"),
        ({"tune": "some"}, "tune some: needs each or real"),
        ({"grid": {"lr": 0.1}}, "grid {'lr': 0.1}: needs option: [values]"),
        ({"gans": {"a_b": "tof_mra_dcgan"}}, "gans: a_b: a name needs letters"),
        ({"gans": {"real": "tof_mra_dcgan"}}, "real and procedural are other stacks' names"),
        ({"cohort_b": "nowhere.json"}, "nowhere.json: not a readable cohort"),
    ],
)
def test_what_cannot_be_is_named_with_its_remedy(config, differences, words):
    with pytest.raises(InputError, match=r"mine\.yaml") as error:
        read_settings(config(**differences))
    assert words in str(error.value)


def test_shipped_generators_are_refused_for_a_cohort_of_ones_own(config, tmp_path):
    cohort(tmp_path / "a")
    with pytest.raises(InputError, match="set retrain: true"):
        read_settings(config(cohort_a="a/cohort.json", retrain=False))


@pytest.mark.parametrize("text", ["- a list", "unet_width: 4", "preset: big", "preset: [", None])
def test_what_is_no_study_is_refused(tmp_path, text):
    path = tmp_path / "none.yaml"
    if text:
        path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_settings(path)
