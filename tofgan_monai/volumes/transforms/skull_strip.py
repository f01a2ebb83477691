"""Skull-stripping, which makes all voxels outside a given or computed brain mask black."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import CommonKeys, convert_to_dst_type

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.transforms.brain_mask import brain_mask
from tofgan_monai.volumes.transforms.coarse_grid import voxel_edges_mm

Method = Literal["given", "computed", "none"]


class SkullStripd(MapTransform):
    """Makes the volumes under `keys` black outside the brain; applying the transform twice gives the same result.

    For an image, black is its smallest intensity, because air is not 0 in every file. For a label, black is 0.

    Args:
        keys: channel-first volumes (1, X, Y, Z) on one grid.
        mask_key: the key of the brain mask.
        method: `given` takes the mask under `mask_key`; `computed` computes a mask from the image if there is none and
            stores it under `mask_key`; `none` changes nothing.
        image_key: the key of the image, from which a mask is computed; other keys are labels.
        allow_missing_keys: skip keys that are missing, and change nothing if a mask that should be given is missing.

    Raises:
        InputError: the mask is missing, empty or only a path, or its shape differs from a volume's.
    """

    def __init__(
        self,
        keys: KeysCollection = (CommonKeys.IMAGE, CommonKeys.LABEL),
        mask_key: str = "mask",
        *,
        method: Method = "given",
        image_key: str = CommonKeys.IMAGE,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if method not in ("given", "computed", "none"):
            raise InputError(f"skull-strip method {method!r} is unknown; choose given, computed or none")
        self.mask_key = mask_key
        self.method = method
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the dictionary with masked volumes."""
        out = dict(data)
        if self.method == "none" or (self.method == "given" and self.mask_key not in out and self.allow_missing_keys):
            return out
        if self.mask_key not in out:
            out[self.mask_key] = self._computed_mask(out)
        if isinstance(out[self.mask_key], str | os.PathLike):
            remedy = "strip the volumes with tofgan prepare --skull-strip given, or use the method 'computed' or 'none'"
            raise InputError(f"{_name(out)}: the configuration reads no brain mask; {remedy}")
        inside = torch.as_tensor(out[self.mask_key]) > 0
        if not inside.any():
            raise InputError(f"{_name(out)}: the brain mask is empty; give a mask that holds the brain")
        for key in self.key_iterator(out):
            if out[key].shape != inside.shape:
                shapes = f"{key} {tuple(out[key].shape)} and mask {tuple(inside.shape)}"
                raise InputError(f"{_name(out)}: {shapes} differ in shape; give a mask of the volume's shape")
            black = out[key].min() if key == self.image_key else 0
            out[key] = out[key].where(inside, black)
        return out

    def _computed_mask(self, data: Mapping[Hashable, Any]) -> torch.Tensor:
        if self.method == "given":
            raise InputError(f"{_name(data)} has no brain mask; give a mask, or use the method 'computed' or 'none'")
        image = data[self.image_key]
        mask = torch.from_numpy(brain_mask(np.asarray(image[0]), voxel_edges_mm(image))[None].astype(np.uint8))
        return convert_to_dst_type(mask, image, dtype=torch.uint8)[0]


def _name(data: Mapping[Hashable, Any]) -> str:
    return str(data.get("subject", "volume"))
