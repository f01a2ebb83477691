"""The settings of a synthesis: presets, files of differences, and what follows from a cohort's numbers of patients."""

from __future__ import annotations

import numpy as np
import pytest

from tofgan_monai import InputError
from tofgan_monai.attacks import canary
from tofgan_monai.audit.verdict import MIN_PATIENTS, MIN_REFERENCES
from tofgan_monai.study.settings import preset_names
from tofgan_monai.study.synthesis.settings import (
    PRESETS,
    TIMES,
    canary_epochs,
    completed,
    is_audited,
    read_preset,
    require_usable,
)
from tofgan_monai.volumes.cohort import write_cohort


def splits(training=36, validation=10, test=36, scans=1, **more):
    """The splits of a cohort without files; each patient has the same number of scans."""
    counts = {"training": training, "validation": validation, "test": test}
    return {
        split: [
            {"subject": f"{split}{i}_{k}", "patient": f"{split}{i}", "image": "i.nii", "label": "l.nii", **more}
            for i in range(n)
            for k in range(scans)
        ]
        for split, n in counts.items()
    }


@pytest.mark.parametrize("preset", preset_names(PRESETS))
def test_presets_can_be_read_and_name_the_same_settings(preset):
    assert read_preset(preset).keys() == read_preset("paper").keys()


def test_there_are_three_presets():
    assert preset_names(PRESETS) == ["laptop", "paper", "quick"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preset: smoke", "NAME is one of laptop, paper, quick"),
        ("preset: quick\ntransfer: {1: 1}", "there is no setting transfer"),
        ("preset: quick\ngan_epoch: 3", "did you mean gan_epochs?"),
        ("preset: quick\ngan_epochs: 0", "gan_epochs 0: this setting needs a number, 1 or more"),
        ("preset: quick\ngan: tof_mra_wgan", "tof_mra_wgan: no such bundle"),
        ("preset: quick\ngan: tof_mra_dp_wgan_gp", "--validation_pairs: tof_mra_dp_wgan_gp has no such setting"),
        ("preset: quick\naudit_patients: [36, 36]", "audit_patients [36, 36]: this setting needs three numbers"),
        ("preset: quick\nskull_strip: bet", "skull_strip bet: this setting needs none, given or computed"),
        ("preset: quick\nunet_train: --max_epoch 1", "did you mean --max_epochs?"),
    ],
)
def test_wrong_setting_is_named_with_its_remedy(text, words, tmp_path):
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"mine\.yaml") as error:
        read_preset(tmp_path / "mine.yaml")
    assert words in str(error.value)


def test_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"fast: .*one of laptop, paper, quick"):
        read_preset("fast")


def test_scans_are_stripped_by_their_masks_only_if_all_have_one(tmp_path):
    own = read_preset("quick")
    masked = splits(mask="m.nii")
    assert completed(own, write_cohort(tmp_path / "all", masked))["skull_strip"] == "given"
    del masked["test"][0]["mask"]
    assert completed(own, write_cohort(tmp_path / "some", masked))["skull_strip"] == "computed"
    own["skull_strip"] = "none"
    assert completed(own, write_cohort(tmp_path / "own", masked))["skull_strip"] == "none"


def test_audit_is_made_from_the_numbers_of_patients_with_whom_it_can_pass(tmp_path):
    own = read_preset("quick")
    assert own["audit_patients"] == [MIN_PATIENTS, MIN_REFERENCES, MIN_PATIENTS]
    assert is_audited(completed(own, write_cohort(tmp_path / "enough", splits())))
    for fewer in ({"training": 35}, {"validation": 9}, {"test": 35}, {"test": 18, "scans": 2}):
        assert not is_audited(completed(own, write_cohort(tmp_path / f"{fewer}", splits(**fewer))))


@pytest.mark.parametrize("scans", [1, 2])
def test_canary_takes_no_more_steps_than_the_gan(scans, tmp_path):
    own = {**read_preset("laptop"), "gan": "tof_mra_wgan_gp"}
    settings = completed(own, write_cohort(tmp_path, splits(41, scans=scans)))
    epochs = canary_epochs(settings)
    assert epochs * (41 + TIMES - 1) <= settings["gan_epochs"] * 41 < (epochs + 1) * (41 + TIMES - 1)


def test_canary_of_a_generator_with_a_fixed_length_of_epochs_has_as_many(tmp_path):
    settings = completed(read_preset("quick"), write_cohort(tmp_path, splits()))
    assert settings["gans"] == {"synthetic": "tof_mra_refiner"} and canary_epochs(settings) == settings["gan_epochs"]


def test_gan_that_trains_too_shortly_for_a_canary_is_refused(tmp_path):
    own = {**read_preset("quick"), "gan": "tof_mra_wgan_gp", "gan_epochs": 2}
    settings = completed(own, write_cohort(tmp_path, splits()))
    with pytest.raises(InputError, match=r"gan_epochs 2: .* set gan_epochs to 3 or more"):
        canary_epochs(settings)


def test_seeds_of_the_canaries_choose_two_patients():
    assert canary.plant_canary.__kwdefaults__["times"] == TIMES
    for n in range(36, 2000):
        first, second = (np.random.default_rng(seed).choice(np.arange(n)) for seed in (0, 1))
        assert first != second


def test_cohort_without_labels_or_with_an_empty_split_is_refused():
    require_usable(splits(1, 1, 1), "mine")
    with pytest.raises(InputError, match="mine: there are no validation and no test patients; a synthesis needs 3"):
        require_usable(splits(2, 0, 0), "mine")
    with pytest.raises(InputError, match="no training and no validation and no test"):
        require_usable({"unsplit": splits()["test"]}, "mine")
    bare = splits(1, 1, 1)
    del bare["test"][0]["label"]
    with pytest.raises(InputError, match="mine: test0_0 has no label"):
        require_usable(bare, "mine")
