"""Simulated heads as files, one folder for each patient."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import nibabel
import numpy as np

from tofgan_monai.files import written_whole
from tofgan_monai.phantom.head import Head, simulate_head
from tofgan_monai.volumes.volume import SIMULATED

logger = logging.getLogger(__name__)


def head_name(source: str, seed: int) -> str:
    """The name of a head's folder, such as sub-A10003."""
    return f"sub-{source}{seed:05d}"


def write_head(folder: str | os.PathLike, head: Head) -> None:
    """Writes label.nii.gz, mask.nii.gz (uint8) and, last, image.nii.gz (int16), each whole or not at all.

    Raises:
        InputError: the folder cannot be written to or the disk is full.
    """
    for name, volume, dtype in (
        ("label", head.label, np.uint8), ("mask", head.mask, np.uint8), ("image", head.image, np.int16),
    ):  # fmt: skip
        nifti = nibabel.Nifti1Image(volume.astype(dtype), head.affine)
        nifti.set_qform(head.affine, code=1)
        nifti.set_sform(nifti.get_qform(), code=1)  # both forms then have the quaternion's rounding
        nifti.header.set_xyzt_units("mm", "sec")
        nifti.header["descrip"] = SIMULATED
        with written_whole(Path(folder) / f"{name}.nii.gz") as temporary:
            nibabel.save(nifti, temporary)


def _write_one(seed: int, *, folder: Path, source: str, small: bool) -> None:
    target = folder / head_name(source, seed)
    if (target / "image.nii.gz").exists():  # written last, so all three files exist
        return
    write_head(target, simulate_head(source, seed, small=small))
    logger.info("%s written", target)


def write_heads(
    folder: str | os.PathLike, source: str, seeds: Iterable[int], *, small: bool = False, workers: int = 1
) -> None:
    """Simulates a head for each seed and writes FOLDER/sub-A10000/{image,label,mask}.nii.gz; existing heads stay.

    Args:
        folder: for the heads' folders.
        source: "A", "B" or "C"; see `simulate_head`.
        seeds: one for each head.
        small: see `simulate_head`.
        workers: number of processes.

    Raises:
        InputError: an unknown source, a negative seed, or a folder that cannot be written to.
    """
    write = partial(_write_one, folder=Path(folder), source=source, small=small)
    if workers <= 1:
        for seed in seeds:
            write(seed)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(write, seeds))  # raises what went wrong
