"""Reading a volume from NIfTI or DICOM, comparing the grids of two volumes, and making a label binary."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.dicom import read_series

SPACING_TOLERANCE_MM = 0.001
COSINE_TOLERANCE = 0.001
"""Of the axes' direction cosines: 0.2 mm over the width of a head."""
ORIGIN_TOLERANCE_MM = 0.05

SIMULATED = b"simulated by tofgan phantom"
"""The description in the NIfTI header of a simulated head; a patient's image does not have it."""

_SHOWN = 6
_UNREADABLE = (
    OSError, EOFError, ValueError, MemoryError, zlib.error, nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
)  # fmt: skip


class Volume(NamedTuple):
    """A volume as it is stored, and what is wrong or doubtful about its header.

    Attributes:
        voxels: (X, Y, Z), float32.
        affine: (4, 4), from voxel indices to RAS millimetres.
        problems: a line for each contradiction in the header.
        warnings: a line for each doubt.
    """

    voxels: np.ndarray
    affine: np.ndarray
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()


def parse_label_values(texts: str | Sequence[str]) -> dict[str, int]:
    """The mapping of label values, as cohort.json keeps it, from the texts of `--label-values`.

    >>> parse_label_values(["1,2=1", "3=0"])
    {'1': 1, '2': 1, '3': 0}

    Raises:
        InputError: a text that is not of this form.
    """
    mapping: dict[str, int] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        values, _, target = text.partition("=")
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            numbers = []
        if not numbers or target.strip() not in ("0", "1"):
            raise InputError(f"--label-values {text}: give values, =, and 0 or 1, such as 255=1 or 1,2,3=1")
        mapping.update({f"{number:.10g}": int(target) for number in numbers})
    return mapping


def binary_label(label: np.ndarray, label_values: Mapping[str, int] | None = None) -> np.ndarray:
    """The label as uint8 in {0, 1}; without a mapping, a label of 0 and 1 keeps its values.

    A value within 1e-4 of a whole number counts as that number, as the scaling in a header can leave such values.

    Args:
        label: any shape.
        label_values: 0 or 1 for each value; 0 becomes 0 unless the mapping says otherwise. See `parse_label_values`.

    Raises:
        InputError: the label holds other values; the error lists them.
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
    if known.all():
        return binary
    values = [f"{value:.10g}" for value in np.unique(voxels).tolist()]
    shown = ", ".join(values[:_SHOWN]) + (" ..." if len(values) > _SHOWN else "")
    if label_values:
        mapped = ", ".join(f"{value}={target}" for value, target in label_values.items())
        raise InputError(f"label values {shown} are not all in the mapping {mapped}; add them to --label-values")
    vessels = ",".join(value for value in values if value != "0") if len(values) <= _SHOWN else "255"
    remedy = f"say which of them are vessels, such as --label-values {vessels}=1"
    raise InputError(f"label not binary: {len(values)} values ({shown}); {remedy}")


def load_volume(path: str | os.PathLike) -> Volume:
    """The volume in a NIfTI file, or in the folder of a DICOM series; trailing dimensions of 1 are dropped.

    Raises:
        InputError: unreadable, truncated, not 3D, or without a usable affine. The error does not name the path.
    """
    if os.path.isdir(path):
        return Volume(*read_series(path))
    try:
        image: Any = nibabel.load(path)
        is_grey = image.get_data_dtype().kind in "biuf"
        voxels = image.get_fdata(dtype=np.float32, caching="unchanged") if is_grey else np.empty(0)
        forms = (image.header.get_qform(coded=True)[0], image.header.get_sform(coded=True)[0])
    except _UNREADABLE as error:
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
        raise InputError("the header's affine cannot be inverted; correct its qform or sform")
    return Volume(voxels, affine, *_doubts_about(*forms, voxels.shape))


def is_simulated(path: str | os.PathLike) -> bool:
    """Whether a NIfTI file is a head that `tofgan phantom` made, according to its header."""
    if os.path.isdir(path):
        return False
    header: Any = nibabel.load(path).header
    return bytes(header.get("descrip", b"")).rstrip(b"\0") == SIMULATED


def _doubts_about(
    qform: np.ndarray | None, sform: np.ndarray | None, shape: tuple[int, ...]
) -> tuple[list[str], list[str]]:
    """Problems and warnings about the two affines of a NIfTI header; None stands for one that is not set."""
    if qform is None and sform is None:
        return [], ["neither qform nor sform is set; left and right are taken from the order of the voxels"]
    if qform is None or sform is None:
        return [], []
    differences = geometry_differences((shape, qform), (shape, sform), "the sform's")
    remedy = "; a reader may choose either of them, so make both the true one"
    return [f"qform against sform: {difference}{remedy}" for difference in differences], []


def geometry_differences(
    one: tuple[tuple[int, ...], np.ndarray], other: tuple[tuple[int, ...], np.ndarray], whose: str
) -> list[str]:
    """A line for each way in which two grids, each a shape and an affine, differ by more than this module's tolerances.

    Args:
        one: the grid that is judged.
        other: the grid that it should have.
        whose: the name of the other grid's owner, such as "the image's".
    """
    (shape, affine), (other_shape, other_affine) = one, other
    if shape != other_shape:
        return [f"shape {by(shape)} differs from {whose} {by(other_shape)}"]
    spacing, other_spacing = voxel_sizes(affine), voxel_sizes(other_affine)
    differences = []
    if np.abs(spacing - other_spacing).max() > SPACING_TOLERANCE_MM:
        tolerance = f"(tolerance {SPACING_TOLERANCE_MM} mm)"
        differences.append(f"spacing {mm(spacing)} differs from {whose} {mm(other_spacing)} {tolerance}")
    cosines = np.abs(affine[:3, :3] / spacing - other_affine[:3, :3] / other_spacing).max()
    if cosines > COSINE_TOLERANCE:
        one_code, other_code = ("".join(nibabel.aff2axcodes(a)) for a in (affine, other_affine))
        by_how_much = f"by up to {cosines:.3f} in the direction cosines (tolerance {COSINE_TOLERANCE})"
        differences.append(f"orientation {one_code} differs from {whose} {other_code} {by_how_much}")
    elif np.abs(affine[:3, 3] - other_affine[:3, 3]).max() > ORIGIN_TOLERANCE_MM:  # a flip moves the origin, too
        origin, other_origin = mm(affine[:3, 3]), mm(other_affine[:3, 3])
        differences.append(f"origin {origin} differs from {whose} {other_origin} (tolerance {ORIGIN_TOLERANCE_MM} mm)")
    return differences


def to_ras(volume: Volume) -> Volume:
    """The same volume with its axes flipped and swapped so that they are nearest to right, anterior, superior."""
    turns = nibabel.io_orientation(volume.affine)
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(turns, volume.voxels.shape)
    return volume._replace(voxels=nibabel.apply_orientation(volume.voxels, turns), affine=affine)


def by(shape: Sequence[int]) -> str:
    """A shape as text, such as `96x96x4`."""
    return "x".join(map(str, shape))


def mm(values: Sequence[float] | np.ndarray) -> str:
    """Lengths as text, such as `(0.5, 0.5, 0.7) mm`."""
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ") mm"
