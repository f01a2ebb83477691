"""Correction of the smooth shading that receive coils leave in an image, by ITK's N4."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import CommonKeys, convert_to_dst_type
from skimage.filters import threshold_otsu

from tofgan_monai.volumes.transforms.coarse_grid import block_factors, block_means, from_blocks, voxel_edges_mm

_GRID_MM = 3.0


class BiasFieldCorrectiond(MapTransform):
    """Divides the images under `keys` by their bias field, found by ITK's N4; the mean in the brain stays the same.

    The smallest intensity of the image is subtracted before the division and added afterwards, because receive coils do
    not shade an offset.

    Args:
        keys: channel-first MetaTensors (1, X, Y, Z); a plain tensor is taken to have voxels of 1 mm.
        mask_key: the key of the brain mask; without a mask, the voxels above Otsu's threshold are used.
        n_levels: levels of refinement of the field; the coarsest has 4 control points along each axis.
        n_iterations: largest number of iterations on each level.

    Source: Tustison et al. 2010, IEEE TMI 29:1310.
    """

    def __init__(
        self,
        keys: KeysCollection = (CommonKeys.IMAGE,),
        mask_key: str = "mask",
        *,
        n_levels: int = 3,
        n_iterations: int = 50,
    ) -> None:
        super().__init__(keys)
        self.mask_key = mask_key
        self.n_levels = n_levels
        self.n_iterations = n_iterations

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the dictionary with corrected images."""
        out = dict(data)
        for key in self.key_iterator(out):
            image = np.asarray(out[key][0], dtype=np.float32)
            inside = np.asarray(out[self.mask_key][0]) > 0 if self.mask_key in out else image > threshold_otsu(image)
            levels = {"n_levels": self.n_levels, "n_iterations": self.n_iterations}
            black = image.min()
            field = bias_field(image - black, inside, spacing_mm=voxel_edges_mm(out[key]), **levels)
            corrected = torch.from_numpy(((image - black) / field + black)[None])
            out[key] = convert_to_dst_type(corrected, out[key], dtype=torch.float32)[0]
        return out


def bias_field(
    image: np.ndarray, mask: np.ndarray, *, spacing_mm: Sequence[float], n_levels: int = 3, n_iterations: int = 50
) -> np.ndarray:
    """Returns the bias field (X, Y, Z), the positive and smooth factor by which the coils have shaded an image.

    The image divided by this field has the same mean in the mask. N4 works on means over blocks of about 3 mm, because
    the field is smooth and 15 million voxels would take minutes.

    Args:
        image: volume (X, Y, Z).
        mask: brain mask of the same shape, bool; an empty mask gives a field of ones.
        spacing_mm: the edges of a voxel in mm.
        n_levels: levels of refinement of the field.
        n_iterations: largest number of iterations on each level.
    """
    import itk

    if not mask.any():
        return np.ones(image.shape, np.float32)
    factors = block_factors(image.shape, spacing_mm, _GRID_MM)
    small = block_means(image, factors)
    small_mask = block_means(mask.astype(np.float32), factors) > 0.5
    if not (small_mask & (small > 0)).any():
        return np.ones(image.shape, np.float32)
    small = np.maximum(small, 0.001 * small[small_mask].mean())  # N4 takes logarithms
    small /= small[small_mask].mean()
    # The class, as itk's function n4_bias_field_correction_image_filter returns int16 for every input (itk 5.4.7).
    grey, binary = itk.Image[itk.F, 3], itk.Image[itk.UC, 3]
    n4 = itk.N4BiasFieldCorrectionImageFilter[grey, binary, grey].New()
    n4.SetInput(itk.GetImageFromArray(small.astype(np.float32)))
    n4.SetMaskImage(itk.GetImageFromArray(small_mask.astype(np.uint8)))
    n4.SetNumberOfFittingLevels(n_levels)
    n4.SetMaximumNumberOfIterations([n_iterations] * n_levels)
    n4.SetNumberOfWorkUnits(1)
    n4.Update()
    log_field = np.log(small / itk.GetArrayFromImage(n4.GetOutput()))
    field = np.exp(from_blocks(log_field, factors, image.shape))
    return field * ((image[mask] / field[mask]).mean() / image[mask].mean())
