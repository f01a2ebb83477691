"""What follows from a study's settings: its stacks, training sets, arms and draws, and the options of its verbs."""

from __future__ import annotations

import math
import os
import shlex
from itertools import product
from typing import Any

from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.splits import SPLITS

UNET = "tof_mra_vessel_segmentation"
PROCEDURAL = "procedural"

Settings = dict[str, Any]


def n_patients(settings: Settings, site: str, split: str) -> int:
    """Number of patients in a split of a site's cohort."""
    cohort = settings[f"cohort_{site.lower()}"]
    if cohort:
        return len({item["patient"] for item in read_cohort(cohort, split, labelled=True)})
    return settings[f"patients_{site.lower()}"][SPLITS.index(split)]


def n_real(settings: Settings) -> int:
    """Number of pairs in the real stack: equally many from each training scan of cohort A."""
    cohort = settings["cohort_a"]
    n_scans = len(read_cohort(cohort, "training")) if cohort else settings["patients_a"][0]
    return n_scans * (settings["n_vessel"] + settings["n_random"])


def n_synthetic(settings: Settings) -> int:
    """Number of pairs in each synthetic stack."""
    return settings["n_synthetic"] or n_real(settings)


def n_frechet(settings: Settings) -> int:
    """Number of pairs in each of the two stacks that a Frechet distance of the study compares."""
    return settings["n_frechet"] or min(n_real(settings), n_synthetic(settings))


def frechet_options(settings: Settings) -> str:
    """The options of `tofgan frechet` for Table 1."""
    weights = settings["inception_weights"]
    over_patients = " --over-patients" if n_patients(settings, "A", "training") > 1 else ""
    weights = f" --inception-weights {shlex.quote(weights)}" if weights else ""
    return f"-n {n_frechet(settings)}{over_patients}{weights}"


def simulation(settings: Settings, site: str, folder: str) -> str:
    """The words of the commands `phantom` and `check` that make the simulated cohort of a site."""
    counts = [settings["procedural"], 0, 0] if site == "C" else settings[f"patients_{site.lower()}"]
    small = "--small" if settings["small_heads"] else ""
    return (
        f"phantom {folder} --site {site} -n {sum(counts)} --seeds study {small} "
        f"+ check {folder} --counts {','.join(map(str, counts))} --n-vessel {settings['n_vessel']}"
    )


def sampled_stacks(settings: Settings) -> dict[str, tuple[str, str]]:
    """Name -> (site, options of `tofgan extract`) of each stack that is sampled from volumes."""
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
    """The paths of all images, labels and masks that a cohort lists."""
    return [item[key] for item in read_cohort(cohort, "all") for key in ("image", "label", "mask") if item.get(key)]


def shareable(settings: Settings) -> Settings:
    """The settings without any path, for results that may be shared."""
    shown = {key: value for key, value in settings.items() if key not in ("cohort_a", "cohort_b", "inception_weights")}
    shown["gans"] = {name: os.path.basename(bundle) for name, bundle in settings["gans"].items()}
    for name in ("prepare", "gan_train", "unet_train"):
        shown[name] = " ".join(os.path.basename(word) for word in settings[name].split())
    return shown


def synthetic_sets(settings: Settings) -> list[str]:
    """The names of the stacks that hold no patient's pairs: one for each GAN, and the procedural one."""
    return [*settings["gans"], *([PROCEDURAL] if settings["procedural"] else [])]


def training_sets(settings: Settings) -> list[str]:
    """The names of the training sets of Table 2; a + stands for two stacks that are pooled."""
    alone = synthetic_sets(settings)
    return ["real", *(f"real+{name}" for name in alone), *alone]


def arms(settings: Settings) -> list[str]:
    """The names of the arms of Fig. 3, the transfer to site B: the weights from which its U-Nets start."""
    return ["scratch", "pretrained", *([PROCEDURAL] if settings["procedural"] else [])]


def draws(settings: Settings) -> list[str]:
    """The names of the sets of patients drawn from cohort B; `5_0` is the first draw of five patients."""
    return [f"{k}_{draw}" for k, n in settings["transfer"].items() for draw in range(n)]


def grid_points(settings: Settings) -> dict[str, str]:
    """Name -> options of `tofgan train` of each point of the grid."""
    points = [dict(zip(settings["grid"], point, strict=True)) for point in product(*settings["grid"].values())]
    return {
        "_".join(f"{name}{value}" for name, value in point.items()): " ".join(
            f"--{name} {value}" for name, value in point.items()
        )
        for point in points
    }
