"""Simulated heads as files, one folder a patient."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from tofgan_monai.files import written_whole
from tofgan_monai.phantom.head import Head, simulate_head
from tofgan_monai.volumes.volume import SIMULATED

logger = logging.getLogger(__name__)


def head_name(source: str, seed: int) -> str:
    """The folder of a head, such as sub-A10003."""
    return f"sub-{source}{seed:05d}"


def write_head(folder: str | os.PathLike, head: Head) -> None:
    """Writes image.nii.gz (int16), label.nii.gz and mask.nii.gz (uint8), each whole or not at all; the image last.

    Raises:
        InputError: the folder cannot be written to or the disk is full.
    """
    import nibabel

    for name, volume, dtype in (
        ("label", head.label, np.uint8), ("mask", head.mask, np.uint8), ("image", head.image, np.int16),
    ):  # fmt: skip
        nifti = nibabel.Nifti1Image(volume.astype(dtype), head.affine)
        nifti.set_qform(head.affine, code=1)
        nifti.set_sform(nifti.get_qform(), code=1)  # the quaternion's own rounding, so that both say the same
        nifti.header.set_xyzt_units("mm", "sec")
        nifti.header["descrip"] = SIMULATED
        with written_whole(Path(folder) / f"{name}.nii.gz") as temporary:
            nibabel.save(nifti, temporary)


def _write_one(seed: int, *, folder: Path, source: str, small: bool) -> None:
    target = folder / head_name(source, seed)
    if (target / "image.nii.gz").exists():  # written last: all three are there
        return
    write_head(target, simulate_head(source, seed, small=small))
    logger.info("%s written", target)


def write_cohort(
    folder: str | os.PathLike, source: str, seeds: Iterable[int], *, small: bool = False, workers: int = 1
) -> None:
    """Writes FOLDER/sub-A10000/{image,label,mask}.nii.gz for each seed; heads that are there already stay.

    Raises:
        InputError: an unknown source, a negative seed, or a folder that cannot be written to.
    """
    write = partial(_write_one, folder=Path(folder), source=source, small=small)
    if workers <= 1:
        for seed in seeds:
            write(seed)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in pool.map(write, seeds):
            pass
