"""Functions that read a volume from NIfTI or DICOM, compare the grids of two volumes, and make a label binary."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.dicom import image_comments, read_series
from tofgan_monai.volumes.headers import header_doubts
from tofgan_monai.volumes.itk_files import read_itk
from tofgan_monai.volumes.scans import ITK_ENDINGS

SPACING_TOLERANCE_MM = 0.001
COSINE_TOLERANCE = 0.001
"""Of the axes' direction cosines: 0.2 mm over the width of a head."""
ORIGIN_TOLERANCE_MM = 0.05

SIMULATED = b"simulated by tofgan phantom"
"""The description in the NIfTI header, and the ImageComments in DICOM, of simulated heads; patients' do not have it."""

_SHOWN = 6
_MOST_CLASSES = 256
_UNREADABLE = (
    OSError, EOFError, ValueError, MemoryError, zlib.error, nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
)  # fmt: skip


class Volume(NamedTuple):
    """A volume as it is stored in a file, with problems and warnings about the file's header.

    Attributes:
        voxels: array (X, Y, Z), float32.
        affine: matrix (4, 4) from voxel indices to RAS millimetres.
        problems: one line for each contradiction in the header.
        warnings: one line for each doubt about the header.
    """

    voxels: np.ndarray
    affine: np.ndarray
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()


class UnmappedLabelError(InputError):
    """Exception for a label that contains values (classes) that no mapping makes vessel or background.

    Attributes:
        what: text with the values that the label contains, without the remedy.
        classes: the values that need a mapping, in rising order.
    """

    def __init__(self, what: str, classes: Sequence[float], label_values: Mapping[str, int] | None = None) -> None:
        super().__init__(f"{what}; {classes_remedy(classes, label_values)}")
        self.what, self.classes = what, classes


def parse_label_values(texts: str | Sequence[str]) -> dict[str, int]:
    """Returns the dict from label value to 0 or 1, as in cohort.json, for the texts of the option `--label-values`.

    >>> parse_label_values(["1-3,15=1", "4=0,5=1"])
    {'1': 1, '2': 1, '3': 1, '15': 1, '4': 0, '5': 1}

    Raises:
        InputError: a text does not have this form.
    """
    mapping: dict[str, int] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        if not re.fullmatch(r"([^=]+=\s*[01]\s*(,|$))+", text):
            raise InputError(f"--label-values {text}: give values, =, and 0 or 1, such as 255=1, 1,2,3=1 or 1-15=1")
        for values, target in re.findall(r"([^=]+)=\s*([01])\s*(?:,|$)", text):
            mapping |= {f"{number:.10g}": int(target) for value in values.split(",") for number in _range(value, text)}
    return mapping


def _range(value: str, text: str) -> Sequence[float]:
    """Returns the number in a text such as `255` as a list, or the whole numbers of a range such as `1-15`.

    Raises:
        InputError: `value` is no number and no range; `text` is the whole option, for the message.
    """
    ends = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", value)
    try:
        numbers = range(int(ends[1]), int(ends[2]) + 1) if ends else [float(value)]
    except ValueError:
        numbers = []
    if not 0 < len(numbers) <= _MOST_CLASSES:
        raise InputError(f"--label-values {text}: {value} is no number and no range such as 1-15; correct it")
    return numbers


def classes_remedy(classes: Iterable[float], label_values: Mapping[str, int] | None = None) -> str:
    """Returns a remedy for label values without a mapping, which is a complete example of the option `--label-values`.

    Args:
        classes: the values without a mapping, which the example maps to 1.
        label_values: the present mapping, which the example contains.
    """
    mapping = {float(value): target for value, target in (label_values or {}).items()} | dict.fromkeys(classes, 1)
    vessels, others = (_as_ranges(value for value, to in mapping.items() if to == target) for target in (1, 0))
    option = f"{vessels}=1" + (f",{others}=0" if others else "")
    return f"say which values are vessels (1) and which are not (0), such as --label-values {option}"


def _as_ranges(values: Iterable[float]) -> str:
    """Returns values as a text that `parse_label_values` can read, such as `1-12,15`."""
    runs: list[list[float]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1 and value > 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    texts = [[f"{value:.10g}" for value in run] for run in runs]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(run) for run in texts)


def binary_label(label: np.ndarray, label_values: Mapping[str, int] | None = None) -> np.ndarray:
    """Returns the label as uint8 in {0, 1}, after `label_values` have mapped its values.

    A value within 1e-4 of a whole number counts as this number, because the scaling in a header can cause such values.

    Args:
        label: array of any shape.
        label_values: dict from value to 0 or 1; see `parse_label_values`. The value 0 becomes 0 unless it is in this
            dict. Without a dict, the label must contain 0 and 1 only.

    Raises:
        UnmappedLabelError: the label contains whole numbers that are not in `label_values`.
        InputError: the label contains other values, such as probabilities or the intensities of an image.
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
    values = np.unique(voxels)
    if len(values) > _MOST_CLASSES or (values != np.rint(values)).any():
        what = f"label not binary: {len(values)} values between {values[0]:.4g} and {values[-1]:.4g}"
        if values[0] >= 0 and values[-1] <= 1:
            raise InputError(f"{what} are probabilities; binarise them, for example to 1 where they are at least 0.5")
        raise InputError(f"{what} are no classes; give a label of whole numbers in place of this image")
    classes = np.unique(voxels[~known] if label_values else voxels[voxels != 0]).tolist()
    what = f"label not binary: {len(values)} values ({', '.join(f'{value:g}' for value in values[:_SHOWN])}"
    what += ", ...)" if len(values) > _SHOWN else ")"
    if label_values:
        what += f", of which {_as_ranges(classes)} are not in --label-values"
    raise UnmappedLabelError(what, classes, label_values)


def load_volume(path: str | os.PathLike) -> Volume:
    """Reads the volume in a NIfTI file, an ITK file (.nrrd, .nhdr, .mha, .mhd) or the folder of a DICOM series.

    Trailing dimensions of size 1 are removed.

    Raises:
        InputError: the file is unreadable, truncated, not 3D, or has no usable affine. The message does not contain the
            path.
    """
    if os.path.isdir(path):
        return Volume(*read_series(path))
    if os.fspath(path).lower().endswith(ITK_ENDINGS):
        return Volume(*read_itk(path))
    try:
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise InputError(f"a file of type {type(image).__name__}; convert it to NIfTI (.nii.gz)")
        is_grey = image.get_data_dtype().kind in "biuf"
        voxels = image.get_fdata(dtype=np.float32, caching="unchanged") if is_grey else np.empty(0)
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
    return Volume(voxels, affine, *header_doubts(image.header, affine, voxels.shape))


def simulation_version(path: str | os.PathLike) -> int | None:
    """Returns the version of the simulation that made a NIfTI file or a DICOM series; None for other volumes.

    The header of the file says it, or the tag ImageComments. Version 1 wrote no number.
    """
    if os.path.isdir(path):
        text = image_comments(path).encode()
    else:
        header: Any = nibabel.load(path).header
        text = bytes(header.get("descrip", b"")).rstrip(b"\0")
    description = re.fullmatch(SIMULATED + rb"(?:, version (\d+))?", text)
    return int(description[1] or 1) if description else None


def geometry_differences(
    one: tuple[tuple[int, ...], np.ndarray], image: tuple[tuple[int, ...], np.ndarray]
) -> list[str]:
    """Returns a line for each difference of a grid from the image's grid that exceeds this module's tolerances.

    Args:
        one: shape and affine of the grid that is checked.
        image: shape and affine of the image's grid.
    """
    (shape, affine), (other_shape, other_affine) = one, image
    if shape != other_shape:
        return [f"shape {by(shape)} differs from the image's {by(other_shape)}"]
    spacing, other_spacing = voxel_sizes(affine), voxel_sizes(other_affine)
    differences = []
    if np.abs(spacing - other_spacing).max() > SPACING_TOLERANCE_MM:
        tolerance = f"(tolerance {SPACING_TOLERANCE_MM} mm)"
        differences.append(f"spacing {mm(spacing)} differs from the image's {mm(other_spacing)} {tolerance}")
    cosines = np.abs(affine[:3, :3] / spacing - other_affine[:3, :3] / other_spacing).max()
    if cosines > COSINE_TOLERANCE:
        one_code, other_code = ("".join(nibabel.aff2axcodes(a)) for a in (affine, other_affine))
        by_how_much = f"by up to {cosines:.3f} in the direction cosines (tolerance {COSINE_TOLERANCE})"
        differences.append(f"orientation {one_code} differs from the image's {other_code} {by_how_much}")
    elif np.abs(affine[:3, 3] - other_affine[:3, 3]).max() > ORIGIN_TOLERANCE_MM:  # a flip moves the origin, too
        origin, other_origin = mm(affine[:3, 3]), mm(other_affine[:3, 3])
        differences.append(
            f"origin {origin} differs from the image's {other_origin} (tolerance {ORIGIN_TOLERANCE_MM} mm)"
        )
    return differences


def to_ras(volume: Volume) -> Volume:
    """Returns the volume with flipped and swapped axes, so that these are nearest to right, anterior, superior."""
    turns = nibabel.io_orientation(volume.affine)
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(turns, volume.voxels.shape)
    return volume._replace(voxels=nibabel.apply_orientation(volume.voxels, turns), affine=affine)


def by(shape: Sequence[int]) -> str:
    """Returns a shape as text, such as `96x96x4`."""
    return "x".join(map(str, shape))


def mm(values: Sequence[float] | np.ndarray) -> str:
    """Returns lengths as text, such as `(0.5, 0.5, 0.7) mm`."""
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ") mm"
