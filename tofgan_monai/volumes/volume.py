"""A volume from NIfTI or DICOM, its grid, and what makes a label binary."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.dicom import read_series

SPACING_TOLERANCE_MM = 0.001
COSINE_TOLERANCE = 0.001
"""Of the axes' direction cosines: 0.2 mm over the width of a head."""
ORIGIN_TOLERANCE_MM = 0.05

SIMULATED = b"simulated by tofgan phantom"
"""The description in the headers of simulated heads, by which they are told from patients."""

_SHOWN = 6


class Volume(NamedTuple):
    """Voxels (X, Y, Z), float32, as stored; the affine (4, 4) to RAS millimetres; what the header leaves in doubt."""

    voxels: np.ndarray
    affine: np.ndarray
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()


def parse_label_values(texts: str | Sequence[str]) -> dict[str, int]:
    """`{"255": 1}` of `255=1`, `{"1": 1, "2": 1, "3": 0}` of `["1,2=1", "3=0"]`: a mapping as cohort.json keeps it.

    Raises:
        InputError: anything else.
    """
    mapping: dict[str, int] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        values, _, target = text.partition("=")
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            numbers = []
        if not numbers or target.strip() not in ("0", "1"):
            raise InputError(f"--label-values {text}: values, = and 0 or 1 are needed, such as 255=1 or 1,2,3=1")
        mapping.update({f"{number:.10g}": int(target) for number in numbers})
    return mapping


def binary_label(label: np.ndarray, label_values: Mapping[str, int] | None = None) -> np.ndarray:
    """The label as uint8 in {0, 1}: its values mapped as a cohort item's `label_values` says, or 0 and 1 as they are.

    Values within 1e-4 of a whole number count as it, as a header's scaling can leave them.

    Raises:
        InputError: other values than 0, 1 or the mapped ones, by name.
    """
    mapping = {float(value): target for value, target in (label_values or {"1": 1}).items()}
    voxels = np.asarray(label)
    if voxels.dtype.kind == "f":
        near = np.rint(voxels)
        voxels = np.where(np.abs(voxels - near) < 1e-4, near, voxels)
    binary = np.zeros(voxels.shape, np.uint8)
    known = (voxels == 0) & (0.0 not in mapping)
    for value, target in mapping.items():
        at = voxels == value
        binary[at] = target
        known |= at
    if not known.all():
        values = [f"{value:.10g}" for value in np.unique(voxels).tolist()]
        shown = ", ".join(values[:_SHOWN]) + (" ..." if len(values) > _SHOWN else "")
        if label_values:
            mapped = ", ".join(f"{value}={target}" for value, target in label_values.items())
            raise InputError(f"label values {shown} are not all in the mapping {mapped}; add them to --label-values")
        vessels = ",".join(value for value in values if value != "0") if len(values) <= _SHOWN else "255"
        raise InputError(
            f"label not binary: {len(values)} values ({shown}); say which are vessels, such as "
            f"--label-values {vessels}=1"
        )
    return binary


def load_volume(path: str | os.PathLike) -> Volume:
    """A NIfTI file through nibabel or the folder of a DICOM series through ITK; trailing dimensions of 1 are dropped.

    Raises:
        InputError: unreadable, truncated, not 3D, or without a usable affine; the text does not name the path.
    """
    if os.path.isdir(path):
        return Volume(*read_series(path))
    import nibabel

    unreadable = (OSError, EOFError, ValueError, MemoryError, zlib.error, nibabel.filebasedimages.ImageFileError)
    try:
        image: Any = nibabel.load(path)
        is_grey = image.get_data_dtype().kind in "biuf"
        voxels = image.get_fdata(dtype=np.float32, caching="unchanged") if is_grey else np.empty(0)
        forms = _forms_of(image.header)
    except (*unreadable, nibabel.spatialimages.HeaderDataError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise InputError(f"unreadable or truncated ({reason}); copy or convert it again") from error
    if not is_grey:
        raise InputError(f"voxels of type {image.get_data_dtype()}; convert them to grey values")
    shape = voxels.shape
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or not voxels.size:
        raise InputError(f"shape {by(shape)} is not 3D; give one volume (a trailing dimension of 1 is fine)")
    affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError("the header's affine cannot be inverted; mend its qform or sform")
    problems, warnings = _doubts_of(*forms, voxels.shape)
    return Volume(voxels, affine, problems, warnings)


def is_simulated(path: str | os.PathLike) -> bool:
    """Whether a NIfTI file is a head that `tofgan phantom` made, as its header says."""
    import nibabel

    if os.path.isdir(path):
        return False
    header: Any = nibabel.load(path).header
    return bytes(header.get("descrip", b"")).rstrip(b"\0") == SIMULATED


def _forms_of(header: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The qform and the sform where their codes say they are set."""
    return header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]


def _doubts_of(
    qform: np.ndarray | None, sform: np.ndarray | None, shape: tuple[int, ...]
) -> tuple[list[str], list[str]]:
    """Whether the two agree: problems and warnings."""
    if qform is None and sform is None:
        return [], ["neither qform nor sform is set; left and right are taken from the order of the voxels"]
    if qform is None or sform is None:
        return [], []
    differences = geometry_differences((shape, qform), (shape, sform), "the sform's")
    remedy = "; readers choose one or the other, so make both the true one"
    return [f"qform against sform: {difference}{remedy}" for difference in differences], []


def geometry_differences(
    one: tuple[tuple[int, ...], np.ndarray], other: tuple[tuple[int, ...], np.ndarray], whose: str
) -> list[str]:
    """How two grids, each a shape and an affine, differ beyond the tolerances of this module.

    Args:
        one: the grid that is judged.
        other: the grid it should have.
        whose: names the other one, as in "the image's".
    """
    import nibabel

    (shape, affine), (other_shape, other_affine) = one, other
    if shape != other_shape:
        return [f"shape {by(shape)} differs from {whose} {by(other_shape)}"]
    spacing, other_spacing = (np.linalg.norm(a[:3, :3], axis=0) for a in (affine, other_affine))
    differences = []
    if np.abs(spacing - other_spacing).max() > SPACING_TOLERANCE_MM:
        differences.append(
            f"spacing {mm(spacing)} differs from {whose} {mm(other_spacing)} (tolerance {SPACING_TOLERANCE_MM} mm)"
        )
    cosines = np.abs(affine[:3, :3] / spacing - other_affine[:3, :3] / other_spacing).max()
    if cosines > COSINE_TOLERANCE:
        codes = ["".join(nibabel.aff2axcodes(a)) for a in (affine, other_affine)]
        differences.append(
            f"orientation {codes[0]} differs from {whose} {codes[1]} by up to {cosines:.3f} in the direction cosines "
            f"(tolerance {COSINE_TOLERANCE})"
        )
    elif np.abs(affine[:3, 3] - other_affine[:3, 3]).max() > ORIGIN_TOLERANCE_MM:  # a flip moves the origin, too
        differences.append(
            f"origin {mm(affine[:3, 3])} differs from {whose} {mm(other_affine[:3, 3])} "
            f"(tolerance {ORIGIN_TOLERANCE_MM} mm)"
        )
    return differences


def to_ras(volume: Volume) -> Volume:
    """The same volume with its axes flipped and swapped to be nearest to right, anterior, superior."""
    import nibabel

    turns = nibabel.io_orientation(volume.affine)
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(turns, volume.voxels.shape)
    return volume._replace(voxels=nibabel.apply_orientation(volume.voxels, turns), affine=affine)


def by(shape: Sequence[int]) -> str:
    """`96x96x4`."""
    return "x".join(map(str, shape))


def mm(values: Sequence[float] | np.ndarray) -> str:
    """`(0.5, 0.5, 0.7) mm`."""
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ") mm"
