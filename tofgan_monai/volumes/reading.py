"""The reader of image, label and mask of a scan, which all commands, bundles and servers use."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import nibabel
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform
from monai.utils import CommonKeys, ImageMetaKey, MetaKeys, SpaceKeys

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.volume import Volume, binary_label, geometry_differences, load_volume

IMAGE, LABEL, MASK = CommonKeys.IMAGE.value, CommonKeys.LABEL.value, "mask"


class ReadScand(MapTransform):
    """MONAI transform that reads the volumes of a cohort's item, each as a MetaTensor (1, X, Y, Z), float32.

    All volumes are on the grid of the first volume, normally the image. The image keeps its stored intensities (DICOM
    slopes are applied to each slice, in float32) and the axis order of its file. The label is mapped by the item's
    `label_values`, and the mask is made binary; both have the values 0 and 1. If the axes of a label or a mask are
    flipped or swapped, the reader turns them to the image's axes. The metadata have the keys of MONAI's LoadImaged,
    which MONAI Label reads.

    Args:
        keys: the volumes to read, among `image`, `label` and `mask`; the item holds a path under each key.
        allow_missing_keys: whether keys that the item does not have are skipped.

    Raises:
        InputError: a file cannot be read, a label is not binary, or the grid of a volume differs from the image's grid.
    """

    def __init__(self, keys: KeysCollection = (IMAGE, LABEL, MASK), allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Hashable, Any]:
        """Returns the dictionary with volumes in place of paths."""
        keys = [str(key) for key in self.key_iterator(dict(data)) if data[key] is not None]
        read = read_scan({str(key): value for key, value in data.items()}, keys)
        return {**data, **{key: _as_tensor(volume, data[key]) for key, volume in read.items()}}


def read_scan(item: Mapping[str, Any], keys: Sequence[str] = (IMAGE, LABEL, MASK)) -> dict[str, Volume]:
    """Reads the volumes of a cohort's item; returns a dict from key to volume (X, Y, Z), float32.

    Args:
        item: dict with a path under each of `keys` and, for the label, `label_values` (see `binary_label`).
        keys: the volumes to read; all volumes are turned to the grid of the first one.

    Raises:
        InputError: a file cannot be read, a label is not binary, or grids differ; each line names the subject and the
            file.
    """
    read: dict[str, Volume] = {}
    problems: list[str] = []
    subject = f"{item['subject']}: " if item.get("subject") else ""
    for key in keys:
        try:
            volume = load_volume(item[key])
            if volume.problems:
                raise InputError(volume.problems)
            if key == LABEL:
                volume = volume._replace(voxels=binary_label(volume.voxels, item.get("label_values")))
            elif key == MASK:
                volume = volume._replace(voxels=volume.voxels > 0)
            read[key] = onto_grid(volume, read[keys[0]]) if read else volume
        except InputError as error:
            problems += [f"{subject}{item[key]}: {problem}" for problem in error.problems]
        if problems and key == keys[0]:
            break  # the other volumes cannot be compared without the grid of the first
    if problems:
        raise InputError(problems)
    return read


def onto_grid(volume: Volume, grid: Volume) -> Volume:
    """Returns a volume whose axes are flipped and swapped to the order of another volume; nothing is resampled.

    Args:
        volume: the volume to turn.
        grid: the volume that has the wanted order of axes.

    Raises:
        InputError: the two grids still differ after the turn; the message states the differences.
    """
    turns = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(volume.affine), nibabel.io_orientation(grid.affine)
    )
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(turns, volume.voxels.shape)
    voxels = nibabel.apply_orientation(volume.voxels, turns)
    differences = geometry_differences((voxels.shape, affine), (grid.voxels.shape, grid.affine))
    if differences:
        raise InputError([f"{difference}; bring both onto one grid" for difference in differences])
    return volume._replace(voxels=voxels, affine=grid.affine)


def _as_tensor(volume: Volume, path: str | os.PathLike) -> MetaTensor:
    voxels = torch.from_numpy(np.ascontiguousarray(volume.voxels, np.float32)[None])
    meta = {
        ImageMetaKey.FILENAME_OR_OBJ: os.fspath(path),
        MetaKeys.ORIGINAL_AFFINE: volume.affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.array(volume.voxels.shape),
        MetaKeys.SPACE: SpaceKeys.RAS,
    }
    return MetaTensor(voxels, affine=torch.from_numpy(volume.affine), meta=meta)
