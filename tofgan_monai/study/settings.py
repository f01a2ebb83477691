"""The settings of a study: a preset, or a file of differences to one, checked before any work begins."""

from __future__ import annotations

import difflib
import math
import os
import shlex
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from tofgan_monai.errors import InputError

UNET = "tof_mra_vessel_segmentation"
PRESETS = Path(__file__).parent / "presets"
PROCEDURAL = "procedural"
_PATHS = ("cohort_a", "cohort_b", "inception_weights")

Settings = dict[str, Any]


def preset_names() -> list[str]:
    """The presets that came with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_settings(config: str | os.PathLike) -> Settings:
    """All settings of a study, from a preset's name or a YAML file that names a `preset` and what differs from it.

    Paths in the file count from the file's folder.

    Raises:
        InputError: no such file, unknown settings, values that cannot be, all of them named.
    """
    settings = _merged(config)
    problems = [*_problems(settings)]
    if problems:
        raise InputError([f"{config}: {problem}" for problem in problems])
    return settings


def _merged(config: str | os.PathLike) -> Settings:
    path = PRESETS / f"{config}.yaml" if os.fspath(config) in preset_names() else Path(config)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        known = ", ".join(preset_names())
        raise InputError(f"{config}: not a readable study ({error}); give a YAML file or one of {known}") from error
    if not isinstance(content, dict):
        raise InputError(f"{config}: settings come as NAME: VALUE, a line each")
    if path == PRESETS / "paper.yaml":
        return content
    if content.get("preset") not in preset_names():
        raise InputError(f"{config}: begin with `preset: NAME`, one of {', '.join(preset_names())}")
    base = _merged(content.pop("preset"))
    unknown = [name for name in content if name not in base]
    if unknown:
        raise InputError([f"{config}: no setting {name}{_hint(str(name), base)}" for name in unknown])
    for name in _PATHS:
        if content.get(name):
            content[name] = os.path.abspath(path.parent / Path(content[name]).expanduser())
    return {**base, **content}


def _hint(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, [*known], n=1)
    return f"; did you mean {near[0]}?" if near else f"; it knows {', '.join(known)}"


def _problems(settings: Settings) -> list[str]:
    """What cannot be, in words."""
    found = []
    for name, is_right, form in (
        ("patients_a", _is_counts(settings["patients_a"], 3), "three numbers of patients, 1 or more"),
        ("patients_b", _is_counts(settings["patients_b"], 3), "three numbers of patients, 1 or more"),
        ("seeds", _is_counts(settings["seeds"], least=0), "a list of different seeds, 0 or more"),
        ("transfer", _is_draws(settings["transfer"]), "patients: draws, both 1 or more"),
        ("grid", _is_grid(settings["grid"]), "option: [values]"),
        ("gans", isinstance(settings["gans"], dict) and bool(settings["gans"]), "name: bundle"),
        ("augmentations", _is_texts(settings["augmentations"]), "a list of the segmentation bundle's overlays"),
        ("tune", settings["tune"] in ("each", "real"), "each or real"),
        ("skull_strip", settings["skull_strip"] in ("none", "given", "computed"), "none, given or computed"),
        *(
            (name, _is_counts([settings[name]]), "a number, 1 or more")
            for name in ("unet_width", "threads")
        ),
        *(
            (name, settings[name] is None or _is_counts([settings[name]]), "a number, 1 or more, or null")
            for name in ("n_synthetic", "n_frechet", "gan_width")
        ),
        *(
            (name, _is_counts([settings[name]], least=0), "a number, 0 or more")
            for name in ("n_vessel", "n_random", "procedural", "gpus")
        ),
        *((name, isinstance(settings[name], str), "text") for name in ("prepare", "gan_train", "unet_train", "title")),
    ):
        if not is_right:
            found.append(f"{name} {settings[name]}: needs {form}")
    if found:
        return found
    found += [
        f"gans: {name}: a name needs letters, digits and - alone" for name in settings["gans"] if not _is_name(name)
    ]
    if PROCEDURAL in settings["gans"] or "real" in settings["gans"]:
        found.append("gans: real and procedural are other stacks' names; choose another")
    if settings["cohort_a"] and not settings["retrain"]:
        found.append(
            "cohort_a is your own, but retrain is false: the shipped generators have seen simulated heads alone; "
            "set retrain: true"
        )
    return found + _cohort_problems(settings)


def _cohort_problems(settings: Settings) -> list[str]:
    try:
        n_training = n_patients(settings, "B", "training")
        for site in "AB":
            for split in ("training", "validation", "test"):
                if not n_patients(settings, site, split):
                    return [f"cohort_{site.lower()}: no {split} patients; all three splits are needed"]
    except InputError as error:
        return error.problems
    return [
        f"transfer {k}: {draws}: {k * draws} different patients are needed, cohort B has {n_training} for training"
        for k, draws in settings["transfer"].items()
        if k * draws > n_training
    ]


def n_patients(settings: Settings, site: str, split: str) -> int:
    """How many patients a cohort has in a split."""
    from tofgan_monai.cohort import read_cohort

    cohort = settings[f"cohort_{site.lower()}"]
    if cohort:
        return len({item["patient"] for item in read_cohort(cohort, split, labelled=True)})
    return settings[f"patients_{site.lower()}"][("training", "validation", "test").index(split)]


def n_real(settings: Settings) -> int:
    """Pairs of the real stack: of cohort A's training patients, one scan each."""
    return n_patients(settings, "A", "training") * (settings["n_vessel"] + settings["n_random"])


def n_synthetic(settings: Settings) -> int:
    """Pairs of each synthetic stack."""
    return settings["n_synthetic"] or n_real(settings)


def n_frechet(settings: Settings) -> int:
    """Pairs on each side of a Frechet distance."""
    return settings["n_frechet"] or min(n_real(settings), n_synthetic(settings))


def frechet_options(settings: Settings) -> str:
    """Options of `tofgan frechet`."""
    weights = settings["inception_weights"]
    return f"-n {n_frechet(settings)}" + (f" --inception-weights {shlex.quote(weights)}" if weights else "")


def simulation(settings: Settings, site: str, folder: str) -> str:
    """Words of the verbs that make a simulated cohort."""
    counts = [settings["procedural"], 0, 0] if site == "C" else settings[f"patients_{site.lower()}"]
    small = "--small" if settings["small_heads"] else ""
    return (
        f"phantom {folder} --site {site} -n {sum(counts)} --seeds study {small} "
        f"+ check {folder} --counts {','.join(map(str, counts))} --n-vessel {settings['n_vessel']}"
    )


def sampled_stacks(settings: Settings) -> dict[str, tuple[str, str]]:
    """Site and options of `tofgan extract` of the stacks that are sampled from volumes, by name."""
    own = f"--n-vessel {settings['n_vessel']} --n-random {settings['n_random']}"
    others = math.ceil(n_frechet(settings) / n_patients(settings, "A", "validation") / 2)
    stacks = {
        "real": ("A", f"--split training {own}"),
        "validation_A": ("A", f"--split validation {own}"),
        "others": ("A", f"--split validation --n-vessel {others} --n-random {others} --seed 1"),
        "validation_B": ("B", f"--split validation {own}"),
    }
    if settings["procedural"]:
        half = math.ceil(n_synthetic(settings) / settings["procedural"] / 2)
        stacks[PROCEDURAL] = ("C", f"--n-vessel {half} --n-random {half}")
    for name in draws(settings):
        k, draw = map(int, name.split("_"))
        stacks[f"B_{name}"] = ("B", f"--split training {own} --patients {k} --skip {k * draw}")
    return stacks


def files_of(cohort: str) -> list[str]:
    """Every volume that a cohort lists."""
    from tofgan_monai.cohort import read_cohort

    return [item[key] for item in read_cohort(cohort, "all") for key in ("image", "label", "mask") if item.get(key)]


def synthetic_sets(settings: Settings) -> list[str]:
    """The stacks that hold no patient's pairs: each GAN's, and the procedural one."""
    return [*settings["gans"], *([PROCEDURAL] if settings["procedural"] else [])]


def training_sets(settings: Settings) -> list[str]:
    """What the U-Nets of Table 2 are trained on; a + pools two stacks."""
    alone = synthetic_sets(settings)
    return ["real", *(f"real+{name}" for name in alone), *alone]


def arms(settings: Settings) -> list[str]:
    """How the U-Nets of Fig. 3 begin."""
    return ["scratch", "pretrained", *([PROCEDURAL] if settings["procedural"] else [])]


def draws(settings: Settings) -> list[str]:
    """The sets of patients of cohort B, `5_0` for the first draw of five."""
    return [f"{k}_{draw}" for k, n in settings["transfer"].items() for draw in range(n)]


def grid_points(settings: Settings) -> dict[str, str]:
    """Options of `tofgan train` by the point's name."""
    names = list(settings["grid"])
    points = product(*settings["grid"].values())
    return {
        "_".join(f"{name}{value}" for name, value in zip(names, point, strict=True)): shlex.join(
            word for name, value in zip(names, point, strict=True) for word in (f"--{name}", str(value))
        )
        for point in points
    }


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
    return isinstance(value, dict) and bool(value) and all(isinstance(v, list) and v for v in value.values())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.replace("-", "").isalnum()
