"""Reading a DICOM series as a volume, after a check for everything that would make the volume wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.affines import from_matvec

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.scans import is_dicom

STEP_TOLERANCE_MM = 0.02
"""How much the steps between slices may differ: scanners round positions, and anonymisers round them again."""

_DERIVED = ("DERIVED", "PROJECTION IMAGE", "MIP", "MNIP", "MAX_IP", "MIN_IP", "MPR", "REFORMATTED")
_ENHANCED = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.3", "1.2.840.10008.5.1.4.1.1.4.4")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class _Slice(NamedTuple):
    file: str
    image_type: list[str]
    sop_class: str
    n_frames: int
    position: np.ndarray | None  # (3,) mm, LPS
    normal: np.ndarray | None  # (3,)


def read_series(folder: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """The voxels (X, Y, Z), float32, and the affine (4, 4) to RAS millimetres of the DICOM series in a folder.

    MONAI's `LoadImage` gives the same voxels and affine for that folder.

    Raises:
        InputError: files that cannot be read; several series; an enhanced multi-frame object; a MIP or another derived
            series; missing or duplicate slices, or slices whose steps differ by more than `STEP_TOLERANCE_MM`.
    """
    import itk

    series = _series_in(folder)
    members = {os.path.basename(file) for files in series for file in files}
    lost = [
        file.name
        for file in sorted(Path(folder).iterdir())
        if file.name not in members and file.is_file() and is_dicom(file)
    ]
    problems = []
    if lost:
        problems.append(
            f"{len(lost)} DICOM files cannot be read as slices ({_some(lost)}); they are truncated or hold no image: "
            "copy them again or move them out of the folder"
        )
    if len(series) > 1:
        described = "; ".join(
            f'"{_description(files[0])}", {len(files)} files from {os.path.basename(files[0])}' for files in series
        )
        problems.append(
            f"{len(series)} series in one folder ({described}); put each into a folder of its own, or choose the TOF "
            'series by --image "{subject}/FOLDER"'
        )
    if len(series) != 1:
        raise InputError(problems or ["no DICOM image that can be read; copy the series again"])
    try:
        slices = [_header(file) for file in series[0]]
        problems += _problems_of(slices)
        if problems:
            raise InputError(problems)
        volume = itk.imread(_sorted_files(slices, series[0]), itk.F)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError([*problems, f"the series cannot be read ({reason}); copy it again"]) from error
    return _as_ras(volume)


def _series_in(folder: str | os.PathLike) -> list[list[str]]:
    """The files of each series; series are told apart in the same way as by MONAI's ITKReader."""
    import itk

    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")
    names.SetDirectory(os.fspath(folder))
    return [list(names.GetFileNames(uid)) for uid in names.GetSeriesUIDs()]


def _tags(file: str) -> dict[str, str]:
    import itk

    reader = itk.GDCMImageIO.New()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    tags = reader.GetMetaDataDictionary()
    wanted = ("0008|0008", "0008|0016", "0008|103e", "0020|0032", "0020|0037", "0028|0008")
    return {tag: str(tags[tag]).strip(" \0") for tag in wanted if tags.HasKey(tag)}


def _header(file: str) -> _Slice:
    tags = _tags(file)
    directions = _numbers(tags.get("0020|0037", ""), 6)
    return _Slice(
        os.path.basename(file),
        [word.strip().upper() for word in tags.get("0008|0008", "").split("\\")],
        tags.get("0008|0016", ""),
        int(tags.get("0028|0008") or 1),
        _numbers(tags.get("0020|0032", ""), 3),
        None if directions is None else np.cross(directions[:3], directions[3:]),
    )


def _numbers(text: str, n: int) -> np.ndarray | None:
    try:
        numbers = np.array([float(word) for word in text.split("\\")])
    except ValueError:
        return None
    return numbers if len(numbers) == n else None


def _problems_of(slices: Sequence[_Slice]) -> list[str]:
    if any(one.n_frames > 1 or one.sop_class in _ENHANCED for one in slices):
        return [
            f"enhanced multi-frame DICOM ({slices[0].file}, {slices[0].n_frames} frames); convert it to NIfTI, for "
            "example with dcm2niix, and give that as the image"
        ]
    problems = []
    derived = [one for one in slices if any(word in _DERIVED for word in one.image_type)]
    if derived:
        problems.append(
            f"a MIP or another derived series: the ImageType of {_some([one.file for one in derived])} is "
            f"{'/'.join(derived[0].image_type)}; give the source slices of the angiography instead"
        )
    unplaced = [one.file for one in slices if one.position is None or one.normal is None]
    if unplaced:
        problems.append(f"no position or orientation in {_some(unplaced)}; export the series again with these tags")
    else:
        problems += _problems_of_steps(slices)
    return problems


def _problems_of_steps(slices: Sequence[_Slice]) -> list[str]:
    """Problems with missing, duplicate and unevenly spaced slices, found by the positions along the normal."""
    placed = sorted((float(one.position @ slices[0].normal), one.file) for one in slices)  # type: ignore[operator]
    places, files = np.array([place for place, _ in placed]), [file for _, file in placed]
    steps = np.diff(places)
    problems = []
    double = np.flatnonzero(steps < STEP_TOLERANCE_MM)
    if len(double):
        shown = ", ".join(f"{files[i]} and {files[i + 1]} at {places[i]:.2f} mm" for i in double[:3])
        problems.append(f"{len(double)} duplicate slices ({shown}); keep one at each position")
    kept = np.flatnonzero(np.append(steps >= STEP_TOLERANCE_MM, True)) if len(steps) else np.arange(len(places))
    gaps = np.diff(places[kept])
    if not len(gaps):
        return problems
    step = float(np.median(gaps))
    odd = np.flatnonzero(np.abs(gaps - step) > STEP_TOLERANCE_MM)
    n_steps = np.rint(gaps / step)
    holes = [i for i in odd if n_steps[i] >= 2 and abs(gaps[i] - n_steps[i] * step) <= n_steps[i] * STEP_TOLERANCE_MM]
    if holes:
        shown = ", ".join(f"{files[kept[i]]} and {files[kept[i + 1]]} ({gaps[i]:.2f} mm)" for i in holes[:3])
        n_missing = int(sum(n_steps[i] - 1 for i in holes))
        problems.append(f"{n_missing} missing slices, between {shown}; the step is {step:.2f} mm: export all slices")
    if len(odd) > len(holes):
        apart = f"from {gaps.min():.2f} to {gaps.max():.2f} mm apart"
        problems.append(f"unevenly spaced slices, {apart}; export the original series, or resample it to one spacing")
    return problems


def _sorted_files(slices: Sequence[_Slice], files: Sequence[str]) -> list[str]:
    normal = slices[0].normal
    return [file for _, file in sorted(zip((one.position @ normal for one in slices), files, strict=True))]  # type: ignore[operator]


def _as_ras(volume) -> tuple[np.ndarray, np.ndarray]:
    import itk

    axes = itk.array_from_matrix(volume.GetDirection()) * np.array(volume.GetSpacing())
    affine = _LPS_TO_RAS @ from_matvec(axes, np.array(volume.GetOrigin()))
    return itk.array_from_image(volume).transpose(2, 1, 0), affine


def _description(file: str) -> str:
    try:
        return _tags(file).get("0008|103e", "no description")
    except RuntimeError:
        return "unreadable"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
