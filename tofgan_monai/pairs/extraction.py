"""From a prepared folder to a stack of real pairs, by the sampling pipeline of a bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.bundle import ConfigParser

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.errors import InputError
from tofgan_monai.pairs.sampling import sample_pairs
from tofgan_monai.volumes.cohort import read_cohort


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
    bundle: str | os.PathLike = "tof_mra_wgan_gp_sn",
) -> dict[str, Any]:
    """Writes a stack of pairs from a prepared folder, half vessel-centred, half random, and returns its manifest.

    Args:
        dataset_dir: the prepared folder, or its cohort.json.
        output: the stack's `.npy`.
        split: the split whose volumes are sampled: `training`, `validation`, `test`, `unsplit` or `all`.
        n_vessel: patches per volume with a vessel voxel at their centre.
        n_random: patches per volume with any voxel of the brain at their centre.
        seed: of the draw, and of the order of the patients.
        patients: only this many patients, the first in an order drawn by the seed, so that the choice of k patients is
            part of the choice of k + 1.
        skip: with `patients`: leave out this many patients at the beginning of that order.
        bundle: name or folder of the bundle whose `sampling` block in configs/train.yaml makes the patches; the blocks
            of the shipped bundles are equal.

    Raises:
        InputError: fewer patients than asked for; see `tofgan_monai.pairs.sampling.sample_pairs`.
    """
    items: list[Mapping[str, Any]] = [*read_cohort(dataset_dir, split)]
    if patients is not None:
        items = first_patients(items, patients, seed=seed, skip=skip)
    unlabelled = [item["subject"] for item in items if not item.get("label")]
    if unlabelled:
        raise InputError([f"{subject}: has no label; add one, or leave the subject out" for subject in unlabelled])
    parser = ConfigParser()
    parser.read_config(os.fspath(bundle_path(bundle) / "configs" / "train.yaml"))
    parser.update({"n_vessel": n_vessel, "n_random": n_random, "seed": seed})
    sampling = parser.get_parsed_content("sampling")
    return sample_pairs(items, sampling, output, manifest={"split": split, "seed": seed})


def first_patients(items: Sequence[Mapping[str, Any]], n: int, *, seed: int, skip: int = 0) -> list[Mapping[str, Any]]:
    """The items of `n` patients, taken after the first `skip` patients of an order that the seed draws.

    Raises:
        InputError: fewer patients than asked for.
    """
    names = sorted({item["patient"] for item in items})
    if not 1 <= n <= len(names) - skip:
        after = f" after the first {skip}" if skip else ""
        raise InputError(f"{n} patients{after} asked for; the cohort's split has {len(names)}: ask for 1 to that many")
    chosen = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[skip : skip + n]}
    return [item for item in items if item["patient"] in chosen]
