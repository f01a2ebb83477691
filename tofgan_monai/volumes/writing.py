"""The one writer: a label laid exactly where its scan lies."""

from __future__ import annotations

import os
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


def write_label(
    label: np.ndarray, path: str | os.PathLike, *, affine: np.ndarray, like: str | os.PathLike | None = None
) -> None:
    """Writes a label (X, Y, Z) as NIfTI, uint8, with the affine (4, 4), form codes and units of its scan.

    Values are rounded and clipped to 0 ... 255 before they become whole numbers.

    Args:
        label: in the voxel order of the scan's file.
        path: a `.nii.gz` or `.nii`; it is written whole or not at all.
        affine: to RAS millimetres, of a scan that is no NIfTI file.
        like: the scan's NIfTI file, whose own header is taken: its affine, both form codes and its units.

    Raises:
        InputError: the label's shape is not the scan's, or the file cannot be written.
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
            raise InputError(f"{like}: shape {scan.shape[:3]} differs from its label's {voxels.shape}")
        header = scan.header.copy()
        header.set_data_dtype(np.uint8)
        header.set_slope_inter(1, 0)
        header.extensions.clear()
        header["cal_max"] = header["cal_min"] = 0
        header["descrip"] = header["aux_file"] = header["db_name"] = header["intent_name"] = b""
        image = type(scan)(voxels, None, header)
    with written_whole(path) as temporary:
        nibabel.save(image, temporary)


class WriteLabeld(MapTransform):
    """Writes predictions (1, X, Y, Z) as labels named after their subjects, each with its scan's own geometry.

    Args:
        keys: of the predictions, in the voxel order of their scans' files.
        output_dir: the folder for `SUBJECT_POSTFIX.nii.gz`; without a subject the scan's file name is taken.
        output_postfix: what a file's name ends with.
        image_key: the scan as ReadScand gives it; its metadata names its file.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | os.PathLike,
        *,
        output_postfix: str = "vessels",
        image_key: str = CommonKeys.IMAGE,
    ) -> None:
        super().__init__(keys)
        self.output_dir, self.output_postfix, self.image_key = Path(output_dir), output_postfix, image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary as it is; the files are written."""
        meta = data[self.image_key].meta
        source = Path(meta[ImageMetaKey.FILENAME_OR_OBJ])
        name = str(data.get("subject") or source.name.split(".nii")[0]).replace(os.sep, "_")  # stays in the folder
        like = source if source.name.lower().endswith((".nii", ".nii.gz")) and source.is_file() else None
        for key in self.key_iterator(dict(data)):
            path = self.output_dir / f"{name}_{self.output_postfix}.nii.gz"
            affine = np.asarray(meta[MetaKeys.ORIGINAL_AFFINE], float)
            write_label(data[key][0].cpu().numpy(), path, affine=affine, like=like)
        return dict(data)
