"""Writing of labels as NIfTI files with the geometry of their scans."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import CommonKeys, ImageMetaKey, MetaKeys

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.volumes.scans import SEGMENTED


def write_label(
    label: np.ndarray, path: str | os.PathLike, *, affine: np.ndarray, like: str | os.PathLike | None = None
) -> None:
    """Writes a label (X, Y, Z) as NIfTI, uint8, with the affine (4, 4), form codes and units of its scan.

    Values are rounded and clipped to 0 ... 255 before they become whole numbers.

    Args:
        label: array of label values, in the voxel order of the scan's file.
        path: the `.nii.gz` or `.nii` file to write; it is written whole or not at all.
        affine: affine (4, 4) of the scan to RAS millimetres; used if `like` is None.
        like: NIfTI file of the scan; the label gets the affine, both form codes and the units of its header. None for a
            scan that is no NIfTI file.

    Raises:
        InputError: the label has another shape than the scan, or the file cannot be written.
    """
    voxels = np.clip(np.rint(np.asarray(label)), 0, 255).astype(np.uint8)
    if like is None:
        header = nibabel.Nifti1Header()
        header.set_xyzt_units("mm")
        image = nibabel.Nifti1Image(voxels, affine, header)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
    else:
        scan: Any = nibabel.load(like)
        if scan.shape[:3] != voxels.shape:
            problem = f"the shape {scan.shape[:3]} differs from the shape of the label, {voxels.shape}"
            raise InputError(f"{like}: {problem}; give the label on the scan's grid")
        header = scan.header.copy()
        header.set_data_dtype(np.uint8)
        header.set_slope_inter(1, 0)
        header.extensions.clear()
        header["cal_max"] = header["cal_min"] = 0
        header["descrip"] = header["aux_file"] = header["db_name"] = header["intent_name"] = b""
        image = type(scan)(voxels, None, header)
    with written_whole(path) as temporary:
        nibabel.save(image, temporary)


def output_name(item: Mapping[Any, Any], source: str | os.PathLike) -> str:
    """Returns the name of a scan for the files that are written of it: the item's subject, or the name of its file.

    Args:
        item: dict of the scan, which may have a `subject`.
        source: path of the scan's file or folder.
    """
    name = str(item.get("subject") or re.sub(r"(?i)\.nii(\.gz)?$", "", Path(source).name))
    return name.replace(os.sep, "_")  # stays in the folder


def label_file(item: Mapping[Any, Any], source: str | os.PathLike, postfix: str = SEGMENTED) -> str:
    """Returns the path of a scan's label below the output folder, `NAME_POSTFIX.nii.gz` unless the item names another.

    Args:
        item: dict of the scan, which may have a `subject`, and a path `segmentation` below the output folder.
        source: path of the scan's file or folder.
        postfix: POSTFIX.

    Raises:
        InputError: the item's path leads out of the output folder.
    """
    path = item.get("segmentation") or f"{output_name(item, source)}_{postfix}.nii.gz"
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise InputError(f"{source}: the path {path} of its label leads out of the output folder; correct cohort.json")
    return path


class WriteLabeld(MapTransform):
    """MONAI transform that writes predictions (1, X, Y, Z) as NIfTI labels with the geometry of their scans.

    Args:
        keys: keys of the predictions, which must be in the voxel order of the scan's file.
        output_dir: the folder for `SUBJECT_POSTFIX.nii.gz`; SUBJECT is the subject's name, or without a subject the
            name of the scan's file. An item with a path `segmentation` below this folder is written there.
        output_postfix: POSTFIX in the name of the file.
        image_key: key of the image that ReadScand has read; the image's metadata contain the path of the scan's file.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | os.PathLike,
        *,
        output_postfix: str = SEGMENTED,
        image_key: str = CommonKeys.IMAGE,
    ) -> None:
        super().__init__(keys)
        self.output_dir, self.output_postfix, self.image_key = Path(output_dir), output_postfix, image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Writes the files and returns the dictionary unchanged."""
        meta = data[self.image_key].meta
        source = Path(meta[ImageMetaKey.FILENAME_OR_OBJ])
        like = source if source.name.lower().endswith((".nii", ".nii.gz")) and source.is_file() else None
        for key in self.key_iterator(dict(data)):
            path = self.output_dir / label_file(data, source, self.output_postfix)
            affine = np.asarray(meta[MetaKeys.ORIGINAL_AFFINE], float)
            write_label(data[key][0].cpu().numpy(), path, affine=affine, like=like)
        return dict(data)
