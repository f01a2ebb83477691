"""From prepared volumes to a stack of real pairs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from tofgan_monai.errors import InputError
from tofgan_monai.pairs.patches import VesselPatchesd
from tofgan_monai.pairs.sampling import sample_pairs
from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.transforms.skull_strip import SkullStripd

_KEYS = ("image", "label", "mask")


def extract(
    dataset_dir: str | os.PathLike,
    output: str | os.PathLike,
    *,
    split: str = "training",
    n_vessel: int = 500,
    n_random: int = 500,
    seed: int = 0,
    patients: int | None = None,
    skip: int = 0,
) -> dict[str, Any]:
    """The manifest of the stack at `output`: pairs from a prepared folder's volumes, half round vessels, half anywhere.

    Args:
        dataset_dir: the prepared folder, or its cohort.json.
        output: the stack's `.npy`.
        split: whose volumes: `training`, `validation`, `test`, `unsplit` or `all`.
        n_vessel: patches a volume with a vessel voxel at their centre.
        n_random: patches a volume with any voxel of the brain there.
        seed: of the draw, and of the order of the patients.
        patients: only the first so many in an order drawn by the seed; k patients are always among k + 1.
        skip: with `patients`: pass over so many of that order first.

    Raises:
        InputError: fewer patients than asked for; see `tofgan_monai.pairs.sampling.sample_pairs`.
    """
    items: list[Mapping[str, Any]] = [*read_cohort(dataset_dir, split)]
    if patients is not None:
        items = first_patients(items, patients, seed=seed, skip=skip)
    unlabelled = [
        f"{item['subject']}: has no label, so no pairs come from it" for item in items if not item.get("label")
    ]
    if unlabelled:
        raise InputError(unlabelled)
    transform = Compose(
        [
            LoadImaged(_KEYS, allow_missing_keys=True),
            EnsureChannelFirstd(_KEYS, allow_missing_keys=True),
            SkullStripd(method="given", allow_missing_keys=True),
            VesselPatchesd(n_vessel=n_vessel, n_random=n_random, seed=seed),
        ]
    )
    return sample_pairs(items, transform, output, manifest={"split": split, "seed": seed})


def first_patients(items: Sequence[Mapping[str, Any]], n: int, *, seed: int, skip: int = 0) -> list[Mapping[str, Any]]:
    """The items of `n` patients in an order drawn by the seed, from the one after the first `skip` on."""
    names = sorted({item["patient"] for item in items})
    if not 1 <= n <= len(names) - skip:
        after = f" after the first {skip}" if skip else ""
        raise InputError(f"{n} patients{after} asked for; the cohort's split has {len(names)}")
    chosen = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[skip : skip + n]}
    return [item for item in items if item["patient"] in chosen]
