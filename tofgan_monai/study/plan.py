"""Computes from a study's settings its stacks, training sets, arms and draws, and the options of the verbs it runs.

A stack is a .npy file of image-label pairs. A training set is the data of a U-Net: one stack or two. A draw is a random
set of training patients of site B. An arm of the transfer to site B says where the U-Nets start: from scratch, or from
weights trained on synthetic pairs. Procedural pairs come from public simulated heads (site C), so they need no patient.
"""

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
    """Returns the number of patients in a split of a site's cohort ("A" or "B")."""
    cohort = settings[f"cohort_{site.lower()}"]
    if cohort:
        return len({item["patient"] for item in read_cohort(cohort, split, labelled=True)})
    return settings[f"patients_{site.lower()}"][SPLITS.index(split)]


def n_real(settings: Settings) -> int:
    """Returns the number of pairs in the real stack: the same number from each training scan of cohort A."""
    cohort = settings["cohort_a"]
    n_scans = len(read_cohort(cohort, "training")) if cohort else settings["patients_a"][0]
    return n_scans * (settings["n_vessel"] + settings["n_random"])


def n_synthetic(settings: Settings) -> int:
    """Returns the number of pairs that each GAN makes: the setting n_synthetic, or as many as there are real pairs."""
    return settings["n_synthetic"] or n_real(settings)


def n_frechet(settings: Settings) -> int:
    """Returns the number of pairs that each of two stacks contributes to a Frechet distance of the study."""
    return settings["n_frechet"] or min(n_real(settings), n_synthetic(settings))


def frechet_options(settings: Settings) -> str:
    """Returns the options of `tofgan frechet` for Table 1 as one text."""
    weights = settings["inception_weights"]
    over_patients = " --over-patients" if n_patients(settings, "A", "training") > 1 else ""
    weights = f" --inception-weights {shlex.quote(weights)}" if weights else ""
    return f"-n {n_frechet(settings)}{over_patients}{weights}"


def simulation(settings: Settings, site: str, folder: str) -> str:
    """Returns the words of the commands `phantom` and `check` that make the simulated cohort of a site.

    Args:
        settings: the settings of the study.
        site: "A", "B" or "C".
        folder: folder for the simulated heads and their cohort.json.
    """
    counts = [settings["procedural"], 0, 0] if site == "C" else settings[f"patients_{site.lower()}"]
    small = "--small" if settings["small_heads"] else ""
    return (
        f"phantom {folder} --site {site} -n {sum(counts)} --seeds study {small} "
        f"+ check {folder} --counts {','.join(map(str, counts))} --n-vessel {settings['n_vessel']}"
    )


def sampled_stacks(settings: Settings) -> dict[str, tuple[str, str]]:
    """Dict from the name of a stack to (site, options of `tofgan extract`), for the stacks sampled from volumes.

    "real" and "B_..." come from training patients, "validation_A", "validation_B" and "others" from validation
    patients, "test_A" from test patients (for an audit alone), and "procedural" from the public simulated heads of
    site C.
    """
    own = f"--n-vessel {settings['n_vessel']} --n-random {settings['n_random']}"
    others = math.ceil(n_frechet(settings) / n_patients(settings, "A", "validation") / 2)
    stacks = {
        "real": ("A", f"--split training {own}"),
        "validation_A": ("A", f"--split validation {own}"),
        "others": ("A", f"--split validation --n-vessel {others} --n-random {others} --seed 1"),
        "validation_B": ("B", f"--split validation {own}"),
        "test_A": ("A", f"--split test {own}"),
    }
    if settings["procedural"]:
        half = math.ceil(n_synthetic(settings) / settings["procedural"] / 2)
        stacks[PROCEDURAL] = ("C", f"--n-vessel {half} --n-random {half}")
    for name in draws(settings):
        k, draw = map(int, name.split("_"))
        stacks[f"B_{name}"] = ("B", f"--split training {own} --patients {k} --skip {k * draw}")
    return stacks


def files_of(cohort: str) -> list[str]:
    """List of the paths of all images, labels and masks that a cohort.json names."""
    return [item[key] for item in read_cohort(cohort, "all") for key in ("image", "label", "mask") if item.get(key)]


def shareable(settings: Settings) -> Settings:
    """Returns a copy of the settings without any path, for results that may be shared; file names remain."""
    shown = {key: value for key, value in settings.items() if key not in ("cohort_a", "cohort_b", "inception_weights")}
    shown["gans"] = {name: os.path.basename(bundle) for name, bundle in settings["gans"].items()}
    for name in ("prepare", "gan_train", "unet_train"):
        shown[name] = " ".join(os.path.basename(word) for word in settings[name].split())
    return shown


def synthetic_sets(settings: Settings) -> list[str]:
    """List of the names of the synthetic stacks: one for each GAN and, if the study has it, "procedural"."""
    return [*settings["gans"], *([PROCEDURAL] if settings["procedural"] else [])]


def training_sets(settings: Settings) -> list[str]:
    """List of the names of the training sets of Table 2; a name such as `real+DCGAN` means two stacks together."""
    alone = synthetic_sets(settings)
    return ["real", *(f"real+{name}" for name in alone), *alone]


def arms(settings: Settings) -> list[str]:
    """List of the names of the arms in Fig. 3: "scratch", "pretrained" and, if the study has it, "procedural"."""
    return ["scratch", "pretrained", *([PROCEDURAL] if settings["procedural"] else [])]


def draws(settings: Settings) -> list[str]:
    """List of the names of the draws from cohort B's training patients; `5_0` is the first draw of five patients."""
    return [f"{k}_{draw}" for k, n in settings["transfer"].items() for draw in range(n)]


def grid_points(settings: Settings) -> dict[str, str]:
    """Dict from name to options of `tofgan train`, one entry for each combination of values in the setting `grid`."""
    points = [dict(zip(settings["grid"], point, strict=True)) for point in product(*settings["grid"].values())]
    return {
        "_".join(f"{name}{value}" for name, value in point.items()): " ".join(
            f"--{name} {value}" for name, value in point.items()
        )
        for point in points
    }
