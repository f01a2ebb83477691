"""Checks the settings of a study before any work begins.

A JSON schema checks the type and range of each value. Code checks the rest, such as whether the bundles exist and
whether the cohorts have enough patients.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from jsonschema import Draft4Validator

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import mistyped, parse_overrides
from tofgan_monai.errors import InputError
from tofgan_monai.phantom import SEEDS
from tofgan_monai.study import plan
from tofgan_monai.study.plan import UNET, Settings
from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.splits import SPLITS

_SCHEMA = json.loads(Path(__file__).with_name("settings.schema.json").read_text("utf-8"))


def problems_of(settings: Settings) -> list[str]:
    """List of all problems in the settings of a study; empty if there is none.

    If values have a wrong type or range, the list holds only these problems.
    """
    if wrong := list(_form_problems(settings)):
        return wrong
    try:
        return [*_gan_problems(settings)] or [*_option_problems(settings), *_cohort_problems(settings)]
    except InputError as error:
        return error.problems


def _form_problems(settings: Settings) -> Iterator[str]:
    """Yields a problem for each setting whose value does not fit the JSON schema, or whose file does not exist."""
    as_json = json.loads(json.dumps(settings, default=str))  # YAML has numbers and dates as keys, JSON has not
    wrong = {error.absolute_path[0] for error in Draft4Validator(_SCHEMA).iter_errors(as_json)}
    weights = settings["inception_weights"]
    if weights and not os.path.isfile(weights):
        wrong.add("inception_weights")
    for name, described in _SCHEMA["properties"].items():
        if name in wrong:
            yield f"{name} {settings[name]}: this setting needs {described['description']}"


def _gan_problems(settings: Settings) -> Iterator[str]:
    """Yields the problems of the GANs: missing bundles, no width, or shipped generators for the user's own cohort."""
    for name, bundle in settings["gans"].items():
        try:
            bundle_path(bundle)
        except InputError as error:
            yield from (f"gans: {name}: {problem}" for problem in error.problems)
    if settings["retrain"] and not settings["gan_width"]:
        yield "gan_width: the width is missing, but retrain is true; set gan_width to the width of the generators"
    if settings["cohort_a"] and not settings["retrain"]:
        yield (
            "cohort_a is your own cohort, but retrain is false, and the shipped generators were trained on simulated "
            "heads only; set retrain: true"
        )


def _option_problems(settings: Settings) -> Iterator[str]:
    """Yields the problems of the overlays and the training options in the settings.

    Without this check a training would report them only when it begins, perhaps hours later.
    """
    unet = bundle_path(UNET)
    for overlay in settings["augmentations"]:
        if not _has(unet, f"{overlay}.yaml"):
            yield f"augmentations: {overlay}: the bundle {UNET} has no configs/{overlay}.yaml; name another overlay"
    point = next(iter(plan.grid_points(settings).values()))
    yield from _training_problems(f"{settings['unet_train']} {point}", unet, "unet_train, grid")
    if settings["retrain"]:
        given = f"--width {settings['gan_width']} --validation_pairs STACK"  # by the rules
        for bundle in settings["gans"].values():
            yield from _training_problems(f"{settings['gan_train']} {given}", bundle_path(bundle), "gan_train")


def _training_problems(options: str, bundle: Path, setting: str) -> list[str]:
    """List of the problems for which `tofgan train` would refuse these options.

    Args:
        options: options of `tofgan train` in one text.
        bundle: folder of the bundle that is trained.
        setting: name of the setting that holds the options; each problem begins with it.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--paper", dest="overlay", action="append_const", const="paper", default=[])
    parser.add_argument("--overlay", action="append")
    try:
        given, overrides = parser.parse_known_args(shlex.split(options))
        configs = ["train.yaml", *(f"{overlay}.yaml" for overlay in given.overlay)]
        problems = [f"the bundle {bundle.name} has no configs/{name}" for name in configs if not _has(bundle, name)]
        problems = problems or mistyped(parse_overrides(overrides), bundle, configs)
    except (ValueError, argparse.ArgumentError) as error:
        problems = getattr(error, "problems", [str(error)])
    return [f"{setting}: {problem}" for problem in problems]


def _has(bundle: Path, config: str) -> bool:
    """Whether a bundle has this file in its folder `configs`."""
    return (bundle / "configs" / config).is_file()


def _cohort_problems(settings: Settings) -> Iterator[str]:
    """Yields the problems of the cohorts: splits without patients, shared volumes, too few patients or pairs."""
    for site in "AB":
        name = f"cohort_{site.lower()}"
        empty = [split for split in SPLITS if not plan.n_patients(settings, site, split)]
        yield from (f"{name}: the cohort has no {split} patients; all three splits need patients" for split in empty)
        if empty:
            return
        if not settings[name] and sum(settings[f"patients_{site.lower()}"]) > len(SEEDS["study"]):
            yield f"patients_{site.lower()}: the simulation has only {len(SEEDS['study'])} heads; give fewer patients"
    yield from _shared_volumes(settings)
    n_training = plan.n_patients(settings, "B", "training")
    for k, draws in settings["transfer"].items():
        if k * draws > n_training:
            needed = f"{draws} draws of {k} patients need {k * draws} different patients"
            yield f"transfer {k}: {draws}: {needed}, but cohort B has {n_training} for training; set fewer draws"
    n_real, n_synthetic = plan.n_real(settings), plan.n_synthetic(settings)
    if plan.n_frechet(settings) > min(n_real, n_synthetic):
        held = f"the stacks hold only {n_real} real and {n_synthetic} synthetic pairs"
        yield f"n_frechet {settings['n_frechet']}: {held}; set a smaller number, or null for as many as possible"


def _shared_volumes(settings: Settings) -> Iterator[str]:
    """Yields a problem for each volume that is in both of the user's own cohorts.

    The GANs learn from cohort A, and their pairs are tested on cohort B, so no patient may be in both.
    """
    if settings["cohort_a"] and settings["cohort_b"]:
        first, second = (
            {os.path.realpath(item["image"]) for item in read_cohort(settings[name], "all")}
            for name in ("cohort_a", "cohort_b")
        )
        for path in sorted(first & second):
            yield f"cohort_a and cohort_b both hold {path}; remove it from one of them"
