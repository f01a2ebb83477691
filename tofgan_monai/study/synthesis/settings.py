"""Reads the settings of a synthesis and completes them to the settings of a study, whose rules it shares."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import read_configs
from tofgan_monai.errors import InputError
from tofgan_monai.study.checks import problems_of
from tofgan_monai.study.plan import Settings, n_patients
from tofgan_monai.study.settings import PRESETS as STUDY_PRESETS
from tofgan_monai.study.settings import merged
from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.splits import SPLITS

PRESETS = Path(__file__).with_name("presets")
SYNTHETIC = "synthetic"  # name of the GAN in the rules of the study, and so of its stack, pairs/synthetic.npy
TIMES = 50  # `tofgan canary` repeats one patient so often


def read_preset(preset: str | os.PathLike) -> Settings:
    """Reads and checks the settings of a synthesis; returns a dict from name to value.

    Args:
        preset: name of a preset, or path of a YAML file with `preset: NAME` and the settings that differ from this
            preset.

    Raises:
        InputError: the file cannot be read, or it has unknown settings or wrong values (the error names them all).
    """
    own = merged(preset, PRESETS)
    if problems := problems_of(completed(own, None)):
        raise InputError([f"{preset}: {problem}" for problem in problems])
    return own


def completed(own: Settings, cohort: str | os.PathLike | None) -> Settings:
    """Returns the settings of a study with the user's cohort as cohort A and one GAN, for the rules of the study.

    Args:
        own: the settings of a synthesis.
        cohort: path of the cohort.json; None before there is one.
    """
    has_masks = cohort is not None and all(item.get("mask") for item in read_cohort(cohort, "all"))
    return {
        **merged("paper", STUDY_PRESETS),
        **own,
        "cohort_a": cohort and os.fspath(cohort),
        "gans": {SYNTHETIC: own["gan"]},
        "gan_train": f"{own['gan_train']} --max_epochs {own['gan_epochs']}",
        "skull_strip": own["skull_strip"] or ("given" if has_masks else "computed"),
        "procedural": 0,
        "tune": "real",  # the Snakefile writes chosen.txt, and all U-Nets read it
        "seeds": [0],
    }


def require_usable(splits: Mapping[str, Sequence[Mapping[str, Any]]], source: str | os.PathLike) -> None:
    """Checks that each split of a cohort has patients and each scan has a label.

    Args:
        splits: dict from split to items of a cohort.json.
        source: where the cohort is from, for the message.

    Raises:
        InputError: a split has no patients, or scans have no label.
    """
    if empty := [split for split in SPLITS if not splits.get(split)]:
        raise InputError(
            f"{source}: there are no {' and no '.join(empty)} patients; a synthesis needs 3 patients or more, split by "
            "`tofgan check`"
        )
    bare = [item["subject"] for split in SPLITS for item in splits[split] if not item.get("label")]
    if bare:
        raise InputError([f"{source}: {subject} has no label; add it, or leave this subject out" for subject in bare])


def is_audited(settings: Settings) -> bool:
    """Whether the cohort has enough patients in each split for an audit that can pass (setting `audit_patients`)."""
    numbers = zip(SPLITS, settings["audit_patients"], strict=True)
    return all(n_patients(settings, "A", split) >= least for split, least in numbers)


def canary_epochs(settings: Settings) -> int:
    """Returns the number of epochs in which a canary's training takes at most as many steps as the GAN's training.

    The canary's stack is longer, because the pairs of one patient occur `TIMES` times in it. An epoch takes more steps
    then, unless the bundle sets `pairs_per_epoch`.

    Raises:
        InputError: a single epoch would take more steps than the GAN's training.
    """
    if "pairs_per_epoch" in read_configs(bundle_path(settings["gans"][SYNTHETIC]), ["train.yaml"]):
        return settings["gan_epochs"]
    patients = [item["patient"] for item in read_cohort(settings["cohort_a"], "training")]
    longest = len(patients) + (TIMES - 1) * max(map(patients.count, patients))
    epochs = settings["gan_epochs"] * len(patients) // longest
    if not epochs:
        raise InputError(
            f"gan_epochs {settings['gan_epochs']}: an audit repeats one patient {TIMES} times, and one epoch on this "
            f"longer stack would be longer than the training; set gan_epochs to {-(-longest // len(patients))} or more"
        )
    return epochs
