"""Extraction of real image-label pairs from a prepared folder, by the `sampling` transforms of a bundle.

The pairs are written into a stack, which is a file of many pairs. A prepared folder is what `tofgan prepare` writes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import read_configs
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
    """Writes a stack of vessel-centred and random pairs from a prepared folder, and returns the stack's manifest.

    Args:
        dataset_dir: the prepared folder, or its cohort.json.
        output: the `.npy` file of the stack.
        split: the split whose volumes are sampled, `training`, `validation`, `test`, `unsplit` or `all`.
        n_vessel: number of patches per volume with a vessel voxel at the centre.
        n_random: number of patches per volume with any voxel of the brain at the centre.
        seed: seed for the choice of the patches and for the order of the patients.
        patients: the number of patients to sample; None samples all. The seed decides an order of the patients, and the
            first ones are sampled, so the choice of k + 1 patients contains the choice of k patients.
        skip: the number of patients to omit at the beginning of this order; used only with `patients`.
        bundle: name or folder of the bundle whose section `sampling` in configs/train.yaml makes the patches. This
            section is equal in all shipped bundles.

    Raises:
        InputError: the split has fewer patients than requested, a volume has no label, a volume cannot be read, or a
            volume has too few vessel voxels.
    """
    items: list[Mapping[str, Any]] = [*read_cohort(dataset_dir, split)]
    if patients is not None:
        items = first_patients(items, patients, seed=seed, skip=skip)
    unlabelled = [item["subject"] for item in items if not item.get("label")]
    if unlabelled:
        raise InputError([f"{subject} has no label; add a label, or omit this subject" for subject in unlabelled])
    parser = read_configs(bundle_path(bundle), ["train.yaml"])
    parser.update({"n_vessel": n_vessel, "n_random": n_random, "seed": seed})
    sampling = parser.get_parsed_content("sampling")
    return sample_pairs(items, sampling, output, manifest={"split": split, "seed": seed})


def first_patients(items: Sequence[Mapping[str, Any]], n: int, *, seed: int, skip: int = 0) -> list[Mapping[str, Any]]:
    """Returns the items of `n` patients; the seed decides an order of the patients, and the first `skip` are omitted.

    Args:
        items: items of a cohort (one for each scan), each with the key `patient`.
        n: number of patients to choose.
        seed: seed for the order of the patients.
        skip: number of patients to omit at the beginning of this order.

    Raises:
        InputError: there are fewer than `skip` + `n` patients.
    """
    names = sorted({item["patient"] for item in items})
    if not 1 <= n <= len(names) - skip:
        after = f" after the first {skip}" if skip else ""
        problem = f"--patients {n}{after} does not fit this split of the cohort, which has {len(names)} patients"
        raise InputError(f"{problem}; give a smaller number, at least 1")
    chosen = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[skip : skip + n]}
    return [item for item in items if item["patient"] in chosen]
