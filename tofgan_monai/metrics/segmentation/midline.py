"""The midline of a head: the plane that divides left from right, found by the symmetry of the image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage, optimize

from tofgan_monai.volumes.transforms.coarse_grid import block_factors, block_means

_GRID_MM = 4.0
_OFFSETS_MM = np.arange(-32, 33, 8)
_ANGLES = np.radians([-12, 0, 12])
_N_STARTS = 2
_LEAST_OVERLAP = 0.5
"""Share of the voxels whose mirror image must lie in the volume."""


class Midline(NamedTuple):
    """A plane in RAS millimetres and the symmetry of the image about it.

    Attributes:
        plane: (a, b, c, d) with a x + b y + c z + d = 0 on the plane; (a, b, c) has length 1 and points to the right.
        symmetry: correlation of the image with its mirror image, up to 1; 0 for an image without contrast.
    """

    plane: tuple[float, float, float, float]
    symmetry: float


def find_midline(image: np.ndarray, affine: np.ndarray) -> Midline:
    """Returns the plane about which an image (X, Y, Z) is most symmetric; its affine (4, 4) leads to RAS millimetres.

    The plane is nearly sagittal: the search begins with turns of up to 12 degrees and shifts of up to 32 mm from the
    middle of the head. The symmetry is measured on a grid of 4 mm, where the brightest 2 % of the voxels count no more
    than the next. An image without contrast gets the plane x = d through its middle.

    Source: Ardekani et al. 1997, IEEE Trans Med Imaging 16:947 (correlation of a head with its mirror image).
    """
    spacing_mm = voxel_sizes(affine)
    factors = block_factors(image.shape, spacing_mm.tolist(), _GRID_MM)
    small = block_means(np.asarray(image, np.float32), factors)
    small = np.clip(small, *np.percentile(small, [2, 98]))
    to_mm = affine @ np.diag([*factors, 1.0])
    to_mm[:3, 3] = apply_affine(affine, (np.array(factors) - 1) / 2)
    points_mm = apply_affine(to_mm, np.indices(small.shape).reshape(3, -1).T)
    values = small.ravel() - small.min()
    if not values.any():
        return Midline((1.0, 0.0, 0.0, -float(points_mm[:, 0].mean())), 0.0)
    centre_mm = np.average(points_mm, axis=0, weights=values)
    to_index = np.linalg.inv(to_mm)

    def asymmetry(parameters: np.ndarray) -> float:
        """Returns 1 minus the correlation of the image with its mirror image; 2 if too little of it has one."""
        plane = _plane(parameters, centre_mm)
        mirrored_mm = points_mm - 2 * (points_mm @ plane[:3] + plane[3])[:, None] * plane[:3]
        mirror = ndimage.map_coordinates(small, apply_affine(to_index, mirrored_mm).T, order=1, cval=np.nan)
        there = np.isfinite(mirror)
        if there.mean() < _LEAST_OVERLAP:
            return 2.0
        one, other = values[there] - values[there].mean(), mirror[there] - mirror[there].mean()
        norm = np.sqrt((one @ one) * (other @ other))
        return float(1 - one @ other / norm) if norm > 0 else 2.0

    starts = [np.array([offset, yaw, roll]) for offset in _OFFSETS_MM for yaw in _ANGLES for roll in _ANGLES]
    starts = sorted(starts, key=asymmetry)[:_N_STARTS]
    found = [optimize.minimize(asymmetry, start, method="Nelder-Mead", options=_options(start)) for start in starts]
    best = min(found, key=lambda result: result.fun)
    a, b, c, d = _plane(best.x, centre_mm).tolist()
    return Midline((a, b, c, d), 1 - float(best.fun))


def _plane(parameters: np.ndarray, centre_mm: np.ndarray) -> np.ndarray:
    """Returns the plane (4,) with an offset in mm from the centre, a yaw and a roll in radians."""
    offset, yaw, roll = parameters
    normal = np.array([np.cos(yaw) * np.cos(roll), np.sin(yaw) * np.cos(roll), np.sin(roll)])
    return np.append(normal, -(normal @ centre_mm + offset))


def _options(start: np.ndarray) -> dict:
    steps = np.array([4.0, 0.1, 0.1])
    simplex = np.stack([start, *(start + np.diag(steps))])
    return {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-5, "maxiter": 200}
