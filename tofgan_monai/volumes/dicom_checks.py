"""Checks of the slices of a DICOM series: are they one even stack that a volume can be made of?

A problem is a line about a fault that would make the volume wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

STEP_TOLERANCE_MM = 0.02
"""How much the steps between slices may differ: scanners round positions, and anonymisers round them again."""
COSINE_TOLERANCE = 0.001
"""How much the direction cosines of two slices may differ: 0.2 mm over the width of a head."""
SIDEWAYS_TOLERANCE_MM = 0.1
"""How far a slice may lie beside the line through the middle of the stack, along its normal."""
PIXEL_TOLERANCE_MM = 0.001
_SLAB = 3.0  # a derived slice thicker than this many steps is a slab: a MIP by its geometry

_PROJECTED = re.compile(r"(?<![A-Z])(PROJECTION|MIP|MNIP|MINIP|MAX_IP|MIN_IP|MPR|REFORMATTED)(?![A-Z])")
_ENHANCED = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.3", "1.2.840.10008.5.1.4.1.1.4.4")


class Slice(NamedTuple):
    """What the header of a slice says; None for a tag that is missing or has another number of values."""

    file: str
    path: str
    uid: str
    description: str
    image_type: str
    sop_class: str
    n_frames: int
    thickness_mm: float
    shape: tuple[int, int]  # rows, columns
    spacing: np.ndarray | None  # (2,) mm
    position: np.ndarray | None  # (3,) mm, LPS
    directions: np.ndarray | None  # (6,)


def problems_of_series(slices: Sequence[Slice]) -> list[str]:
    """Returns the problems of all slices in a folder, also if the slices have several SeriesInstanceUIDs."""
    series = _by(slices, lambda one: one.uid)
    problems = _problems_of(slices)
    if len(series) == 1:
        return problems
    groups = [
        f'"{members[0].description}", {len(members)} files from {members[0].file}, SeriesInstanceUID {uid or "none"}'
        for uid, members in list(series.items())[:3]
    ]
    described = "; ".join(groups) + ("; ..." if len(series) > 3 else "")
    one_name = len({one.description for one in slices}) == 1
    if one_name and all("missing" in problem for problem in problems):  # a stack with gaps at most
        return [
            f"the slices of one stack are in {len(series)} groups that differ in SeriesInstanceUID ({described}); do "
            "not take the stack apart: give all its files one SeriesInstanceUID, or merge them into one NIfTI file, "
            "for example with dcm2niix -m y, and give that as the image",
            *problems,
        ]
    return [
        f"{len(series)} series in one folder ({described}); put each into a folder of its own, or choose the "
        'TOF series by --image "{subject}/FOLDER"'
    ]


def _problems_of(slices: Sequence[Slice]) -> list[str]:
    if any(one.n_frames > 1 or one.sop_class in _ENHANCED for one in slices):
        return [
            f"enhanced multi-frame DICOM ({slices[0].file}, {slices[0].n_frames} frames); convert it to NIfTI, for "
            "example with dcm2niix, and give that as the image"
        ]
    projected = [one for one in slices if _PROJECTED.search(one.image_type)]
    problems = []
    if projected:
        problems.append(
            f"a MIP or another projection: the ImageType of {some([one.file for one in projected])} is "
            f"{projected[0].image_type.replace(chr(92), '/')}; give the source slices of the angiography instead"
        )
    unplaced = [one.file for one in slices if one.position is None or one.directions is None or one.spacing is None]
    if unplaced:
        tags = "ImagePositionPatient, ImageOrientationPatient or PixelSpacing"
        return [*problems, f"no {tags} in {some(unplaced)}; export the series again with these tags"]
    mixed = _problems_of_grids(slices)
    return problems + (mixed or _problems_of_steps(slices) + _problems_of_sides(slices))


def _problems_of_grids(slices: Sequence[Slice]) -> list[str]:
    """Returns a problem for each of size, pixel spacing and direction in which some slices differ from the others."""
    remedy = "move the odd files out of the folder, or export the series again"
    problems = []
    shapes = _by(slices, lambda one: one.shape)
    if len(shapes) > 1:
        problems.append(f"slices of several sizes ({_groups(shapes, 'rows and columns')}); {remedy}")
    spacings = _by(slices, lambda one: tuple(one.spacing))  # type: ignore[arg-type]
    if np.ptp(list(spacings), axis=0).max() > PIXEL_TOLERANCE_MM:
        tolerance = f"(tolerance {PIXEL_TOLERANCE_MM} mm)"
        problems.append(f"slices of several pixel spacings ({_groups(spacings, 'mm')}) {tolerance}; {remedy}")
    directions = np.array([one.directions for one in slices])
    differences = np.abs(directions - np.median(directions, axis=0)).max(axis=1)
    odd = [one.file for one, difference in zip(slices, differences, strict=True) if difference > COSINE_TOLERANCE]
    if odd:
        problems.append(
            f"{len(odd)} slices oblique to the others ({some(odd)}), by up to {differences.max():.3f} in the "
            f"direction cosines (tolerance {COSINE_TOLERANCE}); {remedy}"
        )
    return problems


def _problems_of_sides(slices: Sequence[Slice]) -> list[str]:
    """Returns a problem if slices are displaced sideways, so that the stack of slices is sheared or has jumps."""
    slices = in_order(slices)
    normal = _normal(slices[0])
    positions = np.array([one.position for one in slices])
    sideways = positions - np.outer(positions @ normal, normal)
    sideways -= np.median(sideways, axis=0)
    farthest = np.linalg.norm(sideways, axis=1)
    if farthest.max() <= SIDEWAYS_TOLERANCE_MM:
        return []
    steps = np.diff(sideways, axis=0)
    tolerance = f"(tolerance {SIDEWAYS_TOLERANCE_MM} mm)"
    if np.abs(steps - steps.mean(axis=0)).max() <= SIDEWAYS_TOLERANCE_MM:
        total, each = np.linalg.norm(sideways[-1] - sideways[0]), np.linalg.norm(steps.mean(axis=0))
        return [
            f"a sheared stack: each slice lies {each:.2f} mm beside the one before, {total:.2f} mm from "
            f"{slices[0].file} to {slices[-1].file} {tolerance}; resample it to a straight stack and give that as NIfTI"
        ]
    lengths = np.linalg.norm(steps, axis=1)
    jumps = sorted(np.argsort(-lengths)[: max(1, min(3, int((lengths > SIDEWAYS_TOLERANCE_MM).sum())))])
    shown = ", ".join(f"{slices[i].file} and {slices[i + 1].file} ({lengths[i]:.2f} mm)" for i in jumps)
    return [
        f"slices that lie up to {farthest.max():.2f} mm beside the others {tolerance}, with steps between {shown}; "
        "export the original series again"
    ]


def _problems_of_steps(slices: Sequence[Slice]) -> list[str]:
    """Returns problems about missing, duplicate and unevenly spaced slices, and about slabs (thick derived slices).

    The positions along the normal of the slices are compared.
    """
    placed = sorted((float(one.position @ _normal(slices[0])), one.file) for one in slices)
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
    slabs = [one.file for one in slices if one.image_type.startswith("DERIVED") and one.thickness_mm > _SLAB * step]
    if slabs:
        problems.append(
            f"derived slabs, {slices[0].thickness_mm:g} mm thick in steps of {step:.2f} mm ({some(slabs)}), as a MIP "
            "has them; give the source slices of the angiography instead"
        )
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


def _normal(one: Slice) -> np.ndarray:
    return np.cross(one.directions[:3], one.directions[3:])  # type: ignore[index]


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """Returns the slices sorted by their positions along the normal of the first one."""
    normal = _normal(slices[0])
    return sorted(slices, key=lambda one: float(one.position @ normal))


def _by(slices: Sequence[Slice], key: Callable[[Slice], Any]) -> dict[Any, list[Slice]]:
    """Returns a dict from the value of a property to the slices with this value; the largest group comes first."""
    groups: dict[Any, list[Slice]] = {}
    for one in slices:
        groups.setdefault(key(one), []).append(one)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def _groups(groups: Mapping[Any, Sequence[Slice]], unit: str) -> str:
    """Returns a text with up to three values, each with the number of files and the first file.

    An example is `0.5x0.5 mm in 5 files from IM1`.
    """
    shown = []
    for value, members in list(groups.items())[:3]:
        numbers = "x".join(f"{number:g}" for number in value)
        shown.append(f"{numbers} {unit} in {len(members)} files from {members[0].file}")
    return ", ".join(shown)


def some(names: Sequence[str]) -> str:
    """Returns the first three names as text, with ... if there are more."""
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
