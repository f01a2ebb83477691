"""Functions that average a volume to a coarse grid of a few millimetres, and interpolate back to the voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage


def voxel_edges_mm(volume: Any) -> list[float]:
    """Returns the edges of a MetaTensor's voxels in mm; for a plain tensor, each edge is 1 mm."""
    return [float(edge) for edge in getattr(volume, "pixdim", (1, 1, 1))]


def block_factors(shape: Sequence[int], edges_mm: Sequence[float], grid_mm: float) -> tuple[int, ...]:
    """Returns the number of voxels along each axis that form a block of about `grid_mm`, from 1 to the whole axis."""
    return tuple(min(max(round(grid_mm / edge), 1), n) for n, edge in zip(shape, edges_mm, strict=True))


def block_means(volume: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Returns the mean of each block of a volume (X, Y, Z), float32; copies of the last voxel fill the last block."""
    padded = np.pad(volume, [(0, -n % f) for n, f in zip(volume.shape, factors, strict=True)], mode="edge")
    blocks = [edge for n, f in zip(padded.shape, factors, strict=True) for edge in (n // f, f)]
    return padded.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)


def from_blocks(small: np.ndarray, factors: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Interpolates a volume of block means linearly; returns a volume of the shape `shape`, float32."""
    large = ndimage.zoom(small.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)
    return large[tuple(slice(n) for n in shape)]
