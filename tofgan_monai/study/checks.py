"""What cannot be in a study's settings, found before any work begins."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import mistyped, parse_overrides
from tofgan_monai.errors import InputError
from tofgan_monai.phantom import SEEDS
from tofgan_monai.study import plan as study
from tofgan_monai.study.plan import PROCEDURAL, UNET, Settings
from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.splits import SPLITS


def problems_of(settings: Settings) -> list[str]:
    """Everything that is wrong, in words; the forms of the settings first, then what they mean."""
    wrong = [f"{name} {settings[name]}: needs {form}" for name, is_right, form in _forms(settings) if not is_right]
    if wrong:
        return wrong
    try:
        return [*_gan_problems(settings)] or [*_option_problems(settings), *_cohort_problems(settings)]
    except InputError as error:
        return error.problems


def _forms(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    yield "patients_a", _is_counts(settings["patients_a"], 3), "three numbers of patients, 1 or more"
    yield "patients_b", _is_counts(settings["patients_b"], 3), "three numbers of patients, 1 or more"
    yield "seeds", _is_counts(settings["seeds"], least=0), "a list of different seeds, 0 or more"
    yield "transfer", _is_draws(settings["transfer"]), "patients: draws, both 1 or more"
    yield "grid", _is_grid(settings["grid"]), "option: [numbers]"
    yield "gans", isinstance(settings["gans"], dict) and bool(settings["gans"]), "name: bundle"
    yield "augmentations", _is_texts(settings["augmentations"]), "a list of the segmentation bundle's overlays"
    yield "tune", settings["tune"] in ("each", "real"), "each or real"
    yield "skull_strip", settings["skull_strip"] in ("none", "given", "computed"), "none, given or computed"
    for name in ("retrain", "small_heads"):
        yield name, isinstance(settings[name], bool), "true or false"
    for name in ("n_vessel", "unet_width", "threads"):
        yield name, _is_counts([settings[name]]), "a number, 1 or more"
    for name in ("n_random", "procedural", "gpus"):
        yield name, _is_counts([settings[name]], least=0), "a number, 0 or more"
    for name in ("n_synthetic", "n_frechet", "gan_width"):
        yield name, settings[name] is None or _is_counts([settings[name]]), "a number, 1 or more, or null"
    for name in ("prepare", "gan_train", "unet_train", "title"):
        yield name, isinstance(settings[name], str), "text"
    weights = settings["inception_weights"]
    yield "inception_weights", weights is None or os.path.isfile(weights), "the path of a file, or null"


def _gan_problems(settings: Settings) -> Iterator[str]:
    for name, bundle in settings["gans"].items():
        if not (isinstance(name, str) and name.replace("-", "").isalnum()):
            yield f"gans: {name}: a name needs letters, digits and - alone"
        elif name in ("real", "others", PROCEDURAL):
            yield f"gans: {name} is another stack's name; choose another"
        try:
            bundle_path(bundle)
        except InputError as error:
            yield from (f"gans: {name}: {problem}" for problem in error.problems)
    if settings["retrain"] and not settings["gan_width"]:
        yield "gan_width: give the generators' width, as they are trained here"
    if settings["cohort_a"] and not settings["retrain"]:
        yield (
            "cohort_a is your own, but retrain is false: the shipped generators have seen simulated heads alone; "
            "set retrain: true"
        )


def _option_problems(settings: Settings) -> Iterator[str]:
    """Mistyped overlays and overrides, which would only be found when a training begins."""
    unet = bundle_path(UNET)
    for overlay in settings["augmentations"]:
        if not (unet / "configs" / f"{overlay}.yaml").is_file():
            yield f"augmentations: {overlay}: {UNET} has no configs/{overlay}.yaml"
    grid = " ".join(next(iter(study.grid_points(settings).values())).split())
    yield from _training_problems(f"{settings['unet_train']} {grid}", unet, "unet_train, grid")
    if settings["retrain"]:
        for bundle in settings["gans"].values():
            yield from _training_problems(settings["gan_train"], bundle_path(bundle), "gan_train")


def _training_problems(options: str, bundle: Path, setting: str) -> list[str]:
    words = shlex.split(options)
    configs = ["train.yaml"]
    for flag in ("--paper", "--overlay"):
        while flag in words:
            at = words.index(flag)
            overlay = "paper" if flag == "--paper" else "".join(words[at + 1 : at + 2])
            del words[at : at + (1 if flag == "--paper" else 2)]
            configs.append(f"{overlay}.yaml")
    missing = [f"{setting}: {bundle.name} has no configs/{name}" for name in configs if not _has(bundle, name)]
    try:
        return missing or [f"{setting}: {problem}" for problem in mistyped(parse_overrides(words), bundle, configs)]
    except InputError as error:
        return [f"{setting}: {problem}" for problem in error.problems]


def _has(bundle: Path, config: str) -> bool:
    return (bundle / "configs" / config).is_file()


def _cohort_problems(settings: Settings) -> Iterator[str]:
    for site in "AB":
        name = f"cohort_{site.lower()}"
        empty = [split for split in SPLITS if not study.n_patients(settings, site, split)]
        yield from (f"{name}: no {split} patients; all three splits are needed" for split in empty)
        if empty:
            return
        if not settings[name] and sum(settings[f"patients_{site.lower()}"]) > len(SEEDS["study"]):
            yield f"patients_{site.lower()}: at most {len(SEEDS['study'])} simulated heads can be told apart"
    yield from _shared_patients(settings)
    n_training = study.n_patients(settings, "B", "training")
    for k, draws in settings["transfer"].items():
        if k * draws > n_training:
            needed = f"{k * draws} different patients are needed"
            yield f"transfer {k}: {draws}: {needed}, cohort B has {n_training} for training"
    n_real, n_synthetic = study.n_real(settings), study.n_synthetic(settings)
    if study.n_frechet(settings) > min(n_real, n_synthetic):
        held = f"the stacks hold {n_real} real and {n_synthetic} synthetic pairs"
        yield f"n_frechet {settings['n_frechet']}: {held}; null takes all"


def _shared_patients(settings: Settings) -> Iterator[str]:
    """Volumes that are in both cohorts: the GANs would have learnt from them before they test."""
    if settings["cohort_a"] and settings["cohort_b"]:
        first, second = (
            {os.path.realpath(item["image"]) for item in read_cohort(settings[name], "all")}
            for name in ("cohort_a", "cohort_b")
        )
        yield from (
            f"cohort_a and cohort_b both hold {path}; a patient has one place" for path in sorted(first & second)
        )


def _is_counts(value: Any, n: int | None = None, *, least: int = 1) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(x, int) and not isinstance(x, bool) and x >= least for x in value)
        and (len(value) == n if n else len(set(value)) == len(value))
    )


def _is_draws(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and _is_counts([*value])
        and all(_is_counts([n]) for n in value.values())
    )


def _is_grid(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(v, list) and v and all(isinstance(x, int | float) for x in v) for v in value.values())
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)
