"""Writes simulated heads as NIfTI files, one folder for each head; the image may be a DICOM series instead.

A source is a simulated site, "A", "B" or "C", from whose ranges the parameters of a head are drawn.
"""

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

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.installation import require_extra
from tofgan_monai.phantom.dicom import write_series
from tofgan_monai.phantom.head import Head, simulate_head
from tofgan_monai.phantom.sources import VERSION
from tofgan_monai.volumes.volume import SIMULATED

logger = logging.getLogger(__name__)
_IMAGES = {True: "image", False: "image.nii.gz"}  # of a head: a DICOM series, or NIfTI


def head_name(source: str, seed: int) -> str:
    """Returns the name of the folder of a head, such as sub-A10003 for source "A" and seed 10003."""
    return f"sub-{source}{seed:05d}"


def write_head(folder: str | os.PathLike, head: Head, *, dicom: bool = False) -> None:
    """Writes label.nii.gz and mask.nii.gz (uint8) and then image.nii.gz (int16) into a folder.

    If writing stops, no incomplete file remains.

    Args:
        folder: folder of the head.
        head: the head to write.
        dicom: True writes the image as a DICOM series in the folder `image`, in place of image.nii.gz.

    Raises:
        InputError: the folder is not writable, the disk is full, or the extra `dicom` is needed and not installed.
    """
    folder = Path(folder)
    _write_nifti(folder / "label.nii.gz", head.label, head.affine, np.uint8)
    _write_nifti(folder / "mask.nii.gz", head.mask, head.affine, np.uint8)
    if dicom:
        write_series(folder / "image", head, folder.name)
    else:
        _write_nifti(folder / "image.nii.gz", head.image, head.affine, np.int16)


def _write_nifti(path: Path, volume: np.ndarray, affine: np.ndarray, dtype: type) -> None:
    """Writes a volume (X, Y, Z) of a head as NIfTI with an affine (4, 4), as voxels of a type."""
    nifti = nibabel.Nifti1Image(volume.astype(dtype), affine)
    nifti.set_qform(affine, code=1)
    nifti.set_sform(nifti.get_qform(), code=1)  # the sform then has the same rounding as the qform's quaternion
    nifti.header.set_xyzt_units("mm", "sec")
    nifti.header["descrip"] = SIMULATED + b", version %d" % VERSION
    with written_whole(path) as temporary:
        nibabel.save(nifti, temporary)


def _write_one(seed: int, *, folder: Path, source: str, small: bool, dicom: bool) -> bool:
    """Simulates and writes one head, unless its image exists already; returns whether it existed."""
    target = folder / head_name(source, seed)
    if (target / _IMAGES[dicom]).exists():  # written last, so all files exist
        return True
    write_head(target, simulate_head(source, seed, small=small), dicom=dicom)
    logger.info("%s written", target)
    return False


def write_heads(
    folder: str | os.PathLike,
    source: str,
    seeds: Iterable[int],
    *,
    small: bool = False,
    workers: int = 1,
    dicom: bool = False,
) -> int:
    """Simulates a head for each seed and writes FOLDER/sub-A10000/{image,label,mask}.nii.gz.

    A head whose image exists already is not simulated again, also if it was written with another `small`. Returns the
    number of these heads.

    Args:
        folder: folder in which each head gets a folder of its own.
        source: simulated site, "A", "B" or "C"; see `simulate_head`.
        seeds: one seed for each head.
        small: True crops the heads; see `simulate_head`.
        workers: number of processes that simulate heads at the same time.
        dicom: True writes each image as a DICOM series, FOLDER/sub-A10000/image/.

    Raises:
        InputError: the source is unknown, a seed is negative, the folder is not writable, a head is there in the other
            form, or the extra `dicom` is needed and not installed.
    """
    if dicom:
        require_extra("dicom", "a DICOM series")
    folder, seeds = Path(folder), list(seeds)
    others = [folder / head_name(source, seed) / _IMAGES[not dicom] for seed in seeds]
    if there := [path for path in others if path.exists()]:
        more = f" and {len(there) - 1} more" if there[1:] else ""
        remedy = "leave --dicom out" if dicom else "add --dicom"
        raise InputError(f"{there[0]}{more}: the head is there in the other form; choose another folder, or {remedy}")
    write = partial(_write_one, folder=folder, source=source, small=small, dicom=dicom)
    if workers <= 1:
        return sum(map(write, seeds))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(write, seeds))  # raises the exceptions of the processes
