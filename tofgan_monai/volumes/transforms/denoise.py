"""Removal of Rician noise from magnitude images."""

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
    """Denoises the images under `keys` by dipy's non-local means for Rician noise; outside the mask they become black.

    Black is the smallest intensity of the image and counts as a signal of 0.

    Args:
        keys: channel-first images (1, X, Y, Z).
        mask_key: the key of the brain mask; without a mask, the whole volume is denoised.
        sigma: standard deviation of the noise in each of the two channels (real, imaginary); None estimates the value.
        search_radius: largest distance, in voxels, at which similar patches (3x3x3) are searched.

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
        """Returns the dictionary with denoised images."""
        try:
            from dipy.denoise.nlmeans import nlmeans
        except ImportError as error:
            raise InputError("denoising needs dipy; run pip install 'tofgan-monai[denoise]'") from error
        out = dict(data)
        for key in self.key_iterator(out):
            image = np.asarray(out[key][0], dtype=np.float32)
            mask = np.asarray(out[self.mask_key][0]) > 0 if self.mask_key in out else np.ones(image.shape, bool)
            sigma = rician_sigma(image, mask) if self.sigma is None else self.sigma
            if sigma > 0:
                black, options = image.min(), {"patch_radius": 1, "block_radius": self.search_radius, "num_threads": 1}
                clean = nlmeans(image - black, sigma, mask=mask, **options)
                clean = torch.from_numpy((np.where(mask, clean, 0) + black).astype(np.float32)[None])
                out[key] = convert_to_dst_type(clean, out[key], dtype=torch.float32)[0]
        return out


def rician_sigma(image: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Estimates the standard deviation of the noise in a volume, in the volume's units; 0 for a volume without noise.

    The estimate is the median absolute deviation of each voxel's difference from its six neighbours, scaled so that
    white noise keeps its variance; the median ignores edges. The estimate is right if the signal is above 3 standard
    deviations, as in the brain, because Rician noise is nearly Gaussian there. The estimate is too small if the scanner
    has interpolated the image.

    Args:
        image: volume (X, Y, Z).
        mask: brain mask of the same shape; None uses the whole volume.

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
