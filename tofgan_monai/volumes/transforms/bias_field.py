"""Images rid of the smooth shading that the coils leave."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import CommonKeys, convert_to_dst_type
from skimage.filters import threshold_otsu

from tofgan_monai.volumes.transforms.coarse_grid import block_factors, block_means, from_blocks

_GRID_MM = 3.0


class BiasFieldCorrectiond(MapTransform):
    """The images under `keys` divided by their bias field, found by ITK's N4; their mean in the brain is kept.

    Args:
        keys: channel-first MetaTensors (1, X, Y, Z); a plain tensor counts as 1 mm.
        mask_key: the brain mask's; where the dictionary has none, what is brighter than Otsu's threshold.
        n_levels: of refinement of the field, 4 control points at the coarsest.
        n_iterations: at most, on each level.

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
        """The dictionary with its images corrected."""
        out = dict(data)
        for key in self.key_iterator(out):
            image = np.asarray(out[key][0], dtype=np.float32)
            inside = np.asarray(out[self.mask_key][0]) > 0 if self.mask_key in out else image > threshold_otsu(image)
            spacing_mm = [float(edge) for edge in getattr(out[key], "pixdim", torch.ones(3))]
            field = bias_field(
                image, inside, spacing_mm=spacing_mm, n_levels=self.n_levels, n_iterations=self.n_iterations
            )
            corrected = torch.from_numpy((image / field)[None])
            out[key] = convert_to_dst_type(corrected, out[key], dtype=torch.float32)[0]
        return out


def bias_field(
    image: np.ndarray, mask: np.ndarray, *, spacing_mm: Sequence[float], n_levels: int = 3, n_iterations: int = 50
) -> np.ndarray:
    """The smooth factor (X, Y, Z) that shades an image, positive; divided by it, the image keeps its mean in the mask.

    N4 sees the image at about 3 mm, as is customary: the field is smooth, and 15 million voxels would take minutes.
    """
    import itk

    if not mask.any():
        return np.ones(image.shape, np.float32)
    factors = block_factors(image.shape, spacing_mm, _GRID_MM)
    small = block_means(image, factors)
    small_mask = block_means(mask.astype(np.float32), factors) > 0.5
    if not (small_mask & (small > 0)).any():
        return np.ones(image.shape, np.float32)
    small = np.maximum(small, 0.001 * small[small_mask].mean())  # N4 takes logarithms; the field is told by a ratio
    small /= small[small_mask].mean()
    # ITK's function n4_bias_field_correction_image_filter returns int16 for every input (itk 5.4.7); the class does not.
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
