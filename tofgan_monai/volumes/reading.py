"""The one reader: image, label and mask of a scan on the image's own grid, for every verb, bundle and server."""

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
    """The volumes of a cohort's item, each a MetaTensor (1, X, Y, Z) float32 on the image's own grid.

    The image keeps its stored intensities (DICOM slopes applied slice by slice, in float32) and the axis order of its
    file. The label is mapped by the item's `label_values` and the mask is made binary; both are {0, 1}. A label or a
    mask whose axes are flipped or swapped against the image's is turned to them; one on another grid is refused. The
    metadata has the keys of MONAI's LoadImaged, which MONAI Label reads.

    Args:
        keys: which of `image`, `label` and `mask` are read; the item holds their paths.
        allow_missing_keys: leave out what the item does not have.

    Raises:
        InputError: a file that cannot be read, a label that is not binary, or grids that differ, with the numbers.
    """

    def __init__(self, keys: KeysCollection = (IMAGE, LABEL, MASK), allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Hashable, Any]:
        """The dictionary with its paths replaced by volumes."""
        keys = [str(key) for key in self.key_iterator(dict(data)) if data[key] is not None]
        read = read_scan({str(key): value for key, value in data.items()}, keys)
        return {**data, **{key: _as_tensor(volume, data[key]) for key, volume in read.items()}}


def read_scan(item: Mapping[str, Any], keys: Sequence[str] = (IMAGE, LABEL, MASK)) -> dict[str, Volume]:
    """The volumes of a cohort's item by key, each (X, Y, Z) float32 on the grid of the first key.

    Args:
        item: with paths under `keys` and, for the label, `label_values` (see `binary_label`).
        keys: what to read; the first one's grid is everyone's.

    Raises:
        InputError: see `ReadScand`; each line names the subject and the file.
    """
    read: dict[str, Volume] = {}
    problems: list[str] = []
    subject = f"{item['subject']}: " if item.get("subject") else ""
    for key in keys:
        try:
            volume = load_volume(item[key])
            if key == LABEL:
                volume = volume._replace(voxels=binary_label(volume.voxels, item.get("label_values")))
            elif key == MASK:
                volume = volume._replace(voxels=volume.voxels > 0)
            read[key] = onto_grid(volume, read[keys[0]]) if read else volume
        except InputError as error:
            problems += [f"{subject}{item[key]}: {problem}" for problem in error.problems]
        if problems and key == keys[0]:
            break  # without the first one's grid the others cannot be judged
    if problems:
        raise InputError(problems)
    return read


def onto_grid(volume: Volume, grid: Volume) -> Volume:
    """The volume with its axes flipped and swapped to the order of another one's grid; nothing is resampled.

    Raises:
        InputError: after that the two grids still differ, with the numbers.
    """
    turns = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(volume.affine), nibabel.io_orientation(grid.affine)
    )
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(turns, volume.voxels.shape)
    voxels = nibabel.apply_orientation(volume.voxels, turns)
    differences = geometry_differences((voxels.shape, affine), (grid.voxels.shape, grid.affine), "the image's")
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
