"""A brain mask for a TOF-MRA head, a slab or a crop of one, by thresholds and morphology on a 2 mm grid.

docs/decisions/0001-skull-stripping.md says why this is used and not BET, and shows the figures by which the constants
below were chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from tofgan_monai.volumes.transforms.coarse_grid import block_factors, block_means, from_blocks

_GRID_MM = 2.0
_DEEP_MM = 20.0
_BRIDGE_MM = 6.0
"""Half the thickness of the connections between brain and skin (nerves, veins, dura) that are cut."""
_GAP_MM = 8.0
"""Half the width of sulci, cisterns and vessels that are filled."""
_RIM_MM = 3.0
"""Width of the subarachnoid space round the brain, which holds the arteries of the cortex."""
_TISSUE = (0.6, 1.5)
"""Limits of brain tissue as factors of the brain's local intensity: fluid and bone lie below, fat above."""
_FLUID = (0.3, 1.3)


def brain_mask(image: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Computes the mask of the brain and the fluid around it, bool (X, Y, Z); all False if no brain is found.

    The function assumes that the head continues beyond the faces of the volume. So it also works for a slab or a crop
    inside the head.

    Args:
        image: TOF-MRA volume in any orientation, finite, with any intensity of air; T1-weighted images work, too.
        spacing_mm: the edges of a voxel in mm.
    """
    factors = block_factors(image.shape, spacing_mm, _GRID_MM)
    grid_mm = [edge * factor for edge, factor in zip(spacing_mm, factors, strict=True)]
    signal = block_means(image - image.min(), factors)
    small = ndimage.gaussian_filter(signal, [1 / edge for edge in grid_mm], mode="nearest")
    depth_mm = _depth_in_head(small, grid_mm)
    level = _brain_level(small, depth_mm, grid_mm)
    if level is None:
        return np.zeros(image.shape, bool)

    tissue = _between(small, level, _TISSUE)
    core = _main_parts(_distance(tissue, grid_mm) > _BRIDGE_MM, weights=np.minimum(depth_mm, 60) + 0.1)
    brain = (_distance(~core, grid_mm) <= _BRIDGE_MM + 1) & (small > _TISSUE[0] * level)
    brain = _closed(brain, _GAP_MM, grid_mm)
    brain |= (_distance(~brain, grid_mm) <= _RIM_MM) & _between(small, level, _FLUID)
    brain = ndimage.binary_fill_holes(_closed(brain, _GAP_MM / 2, grid_mm))
    return from_blocks(brain, factors, image.shape) > 0.5


def _depth_in_head(small: np.ndarray, grid_mm: Sequence[float]) -> np.ndarray:
    """Returns the depth of each voxel below the surface of the head in mm; 0 in the air.

    Gaps of up to 20 mm in the surface are closed before.
    """
    low, high = np.percentile(small, [2, 98])
    head = small > low + 0.1 * (high - low)  # BET's first threshold
    margin = [(int(20 / edge) + 2,) * 2 for edge in grid_mm]
    grown = _distance(~np.pad(head, margin, mode="edge"), grid_mm) <= 10
    depth = _distance(ndimage.binary_fill_holes(grown), grid_mm) - 10
    return np.maximum(_cropped(depth, margin), 0) * (high > low)


def _brain_level(small: np.ndarray, depth_mm: np.ndarray, grid_mm: Sequence[float]) -> np.ndarray | None:
    """Returns the local intensity of brain tissue at each voxel; None if no voxel is deep in the head.

    This intensity varies over the volume, because coils and slabs shade the image.
    """
    deep = depth_mm > min(_DEEP_MM, 0.5 * depth_mm.max())
    low, high = np.percentile(small, [2, 98])
    deep &= small > low + 0.1 * (high - low)
    if not deep.any():
        return None
    median = float(np.median(small[deep]))
    level = _local_mean(small, deep & _between(small, median, (0.5, 1.5)), grid_mm, median)
    tissue = (depth_mm > 5) & _between(small, level, (0.6, 1.4))
    return _local_mean(small, tissue & (_distance(tissue, grid_mm) > 3), grid_mm, median)


def _local_mean(small: np.ndarray, where: np.ndarray, grid_mm: Sequence[float], fallback: float) -> np.ndarray:
    """Returns at each voxel the mean of `small` over the mask `where`, weighted by a Gaussian with a sigma of 25 mm.

    Voxels far from `where` get the value `fallback`.
    """
    sigmas = [25 / edge for edge in grid_mm]
    total = ndimage.gaussian_filter(small * where, sigmas, mode="nearest")
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigmas, mode="nearest")
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), fallback)


def _between(small: np.ndarray, level: np.ndarray | float, limits: tuple[float, float]) -> np.ndarray:
    return (small > limits[0] * level) & (small < limits[1] * level)


def _distance(mask: np.ndarray, grid_mm: Sequence[float]) -> np.ndarray:
    """Returns the distance in mm from each voxel of the mask to the nearest voxel outside; infinite for a full mask."""
    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    return ndimage.distance_transform_edt(mask, sampling=grid_mm).astype(np.float32)


def _closed(mask: np.ndarray, radius_mm: float, grid_mm: Sequence[float]) -> np.ndarray:
    """Returns the mask after a morphological closing with a ball, as if the mask continued beyond the volume."""
    margin = [(int(radius_mm / edge) + 2,) * 2 for edge in grid_mm]
    grown = _distance(~np.pad(mask, margin, mode="edge"), grid_mm) <= radius_mm
    return _cropped(_distance(grown, grid_mm) > radius_mm, margin) | mask


def _cropped(padded: np.ndarray, margin: Sequence[tuple[int, int]]) -> np.ndarray:
    return padded[tuple(slice(before, -after) for before, after in margin)]


def _main_parts(mask: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns a mask of the connected part with the largest sum of weights, and of all parts with over a third of it.

    Above the corpus callosum the hemispheres are two parts of nearly equal size.
    """
    parts, n_parts = ndimage.label(mask)
    if n_parts == 0:
        return mask
    sums = np.bincount(parts.ravel(), weights.ravel())
    sums[0] = 0
    return (sums > sums.max() / 3)[parts]
