"""Reading of a DICOM series as a volume, after the checks of its slices in `dicom_checks`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.dicom_checks import PIXEL_TOLERANCE_MM, Slice, in_order, problems_of_series, some
from tofgan_monai.volumes.itk_files import as_ras
from tofgan_monai.volumes.scans import is_dicom


def read_series(folder: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Reads the DICOM series in a folder; returns its voxels (X, Y, Z), float32, and its affine (4, 4) to RAS mm.

    Raises:
        InputError: the folder holds files that cannot be read, several series, an enhanced multi-frame object, or a
            maximum intensity projection (MIP) or another projection. The slices differ in size, spacing or direction,
            are missing, duplicate or unevenly spaced, or are displaced sideways. The constants of `dicom_checks`
            are the tolerances.
    """
    import itk

    files = series_files(folder)
    try:
        voxels, affine = as_ras(itk.imread(files, itk.F))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"the series cannot be read ({reason}); copy it again") from error
    first = _header(Path(files[0]))
    read, stored = voxel_sizes(affine)[1::-1], first.spacing
    if np.abs(read - stored).max() > PIXEL_TOLERANCE_MM:
        problem = f"ITK reads a pixel spacing of {read} mm, but the tag PixelSpacing of {first.file} is {stored} mm"
        raise InputError(
            f"{problem} (SOPClassUID {first.sop_class}); convert the series to NIfTI, for example with dcm2niix"
        )
    return voxels, affine


def series_files(folder: str | os.PathLike) -> list[str]:
    """Returns the paths of the slices in a folder, sorted as the slices along Z of `read_series`, after all checks.

    Raises:
        InputError: as of `read_series`.
    """
    slices: list[Slice] = []
    lost = []
    for path in _dicom_files(folder):
        try:
            slices.append(_header(path))
        except RuntimeError:
            lost.append(path.name)
    problems = []
    if lost:
        problems.append(
            f"{len(lost)} DICOM files cannot be read as slices ({some(lost)}); they are truncated or hold no image: "
            "copy them again or move them out of the folder"
        )
    if not slices:
        raise InputError(problems or ["no DICOM image that can be read; copy the series again"])
    problems += problems_of_series(slices)
    if problems:
        raise InputError(problems)
    return [one.path for one in in_order(slices)]


def image_comments(folder: str | os.PathLike) -> str:
    """Returns the text of the tag ImageComments of the first DICOM file in a folder; "" if there is none."""
    try:
        return next((_tags(path)("0020|4000") for path in _dicom_files(folder)), "")
    except RuntimeError:
        return ""


def _dicom_files(folder: str | os.PathLike) -> list[Path]:
    paths = sorted(Path(folder).iterdir())
    return [path for path in paths if path.is_file() and not path.name.startswith(".") and is_dicom(path)]


def _tags(path: Path) -> Callable[..., str]:
    """Returns a function from a tag such as 0020|000e to its text in a file, or to a default, "", if it has none."""
    import itk

    reader = itk.GDCMImageIO.New()
    reader.SetFileName(os.fspath(path))
    reader.ReadImageInformation()

    def tag(name: str, default: str = "") -> str:
        dictionary = reader.GetMetaDataDictionary()  # the reader owns it, so this function keeps the reader
        return str(dictionary[name]).strip(" \0") if dictionary.HasKey(name) else default

    return tag


def _header(path: Path) -> Slice:
    tag = _tags(path)
    thickness = _numbers(tag("0018|0050"), 1)
    return Slice(
        path.name,
        os.fspath(path),
        tag("0020|000e"),
        tag("0008|103e", "no description"),
        tag("0008|0008").upper(),
        tag("0008|0016"),
        int(tag("0028|0008") or 1),
        0.0 if thickness is None else float(thickness[0]),
        (int(tag("0028|0010") or 0), int(tag("0028|0011") or 0)),
        _numbers(tag("0028|0030"), 2),
        _numbers(tag("0020|0032"), 3),
        _numbers(tag("0020|0037"), 6),
    )


def _numbers(text: str, n: int) -> np.ndarray | None:
    try:
        numbers = np.array([float(word) for word in text.split("\\")])
    except ValueError:
        return None
    return numbers if len(numbers) == n else None
