"""Magnitude images rid of their Rician noise."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import CommonKeys, convert_to_dst_type
from scipy import ndimage

from tofgan_monai.errors import InputError


class RicianDenoised(MapTransform):
    """The images under `keys` after non-local means that know Rician noise (dipy's), 0 outside the mask.

    Args:
        keys: channel-first images (1, X, Y, Z).
        mask_key: the brain mask's; where the dictionary has none, the whole volume is denoised.
        sigma: standard deviation of the noise in each of the two channels (real, imaginary); estimated if not given.
        search_radius: how many voxels away similar patches (3x3x3) are looked for.

    Raises:
        InputError: dipy is not installed.

    Source: Wiest-Daessle et al. 2008, MICCAI, LNCS 5242:171; Descoteaux et al. 2008, MICCAI, LNCS 5242:344.
    """

    def __init__(
        self,
        keys: KeysCollection = (CommonKeys.IMAGE,),
        mask_key: str = "mask",
        *,
        sigma: float | None = None,
        search_radius: int = 2,
    ) -> None:
        super().__init__(keys)
        self.mask_key = mask_key
        self.sigma = sigma
        self.search_radius = search_radius

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with its images denoised."""
        try:
            from dipy.denoise.nlmeans import nlmeans
        except ImportError as error:
            raise InputError("denoising needs dipy: pip install 'tofgan-monai[denoise]'") from error
        out = dict(data)
        for key in self.key_iterator(out):
            image = np.asarray(out[key][0], dtype=np.float32)
            mask = _inside(out, self.mask_key, image.shape)
            sigma = rician_sigma(image, mask) if self.sigma is None else self.sigma
            if sigma > 0:
                clean = nlmeans(image, sigma, mask=mask, patch_radius=1, block_radius=self.search_radius, num_threads=1)
                clean = torch.from_numpy(np.where(mask, clean, 0).astype(np.float32)[None])
                out[key] = convert_to_dst_type(clean, out[key], dtype=torch.float32)[0]
        return out


def rician_sigma(image: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Standard deviation of the noise in a volume (X, Y, Z), in its own units; 0 where it has no noise.

    From what each voxel differs by from its six neighbours, scaled so that white noise keeps its variance; the median
    absolute deviation leaves edges aside. Right where the signal is above 3 standard deviations (there Rician noise is
    nearly Gaussian), so within the brain, and too small where the scanner interpolated.

    Source: Coupe et al. 2008, IEEE TMI 27:425, eq. 8.
    """
    neighbours = ndimage.generate_binary_structure(3, 1).astype(np.float32) / 6
    neighbours[1, 1, 1] = 0
    residual = np.sqrt(6 / 7) * (image - ndimage.convolve(image.astype(np.float32), neighbours, mode="nearest"))
    inside = np.ones(image.shape, bool) if mask is None else ndimage.binary_erosion(mask, border_value=1)
    if not inside.any():
        return 0.0
    residual = residual[inside]
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))


def _inside(data: Mapping[Hashable, Any], mask_key: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(data[mask_key][0]) > 0 if mask_key in data else np.ones(shape, bool)
