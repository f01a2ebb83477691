"""Volumes on a coarse grid of a few millimetres and back; smooth fields and large shapes need no finer grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage


def voxel_edges_mm(volume: Any) -> list[float]:
    """The edges of a MetaTensor's voxels in mm; 1 mm each for a plain tensor."""
    return [float(edge) for edge in getattr(volume, "pixdim", (1, 1, 1))]


def block_factors(shape: Sequence[int], edges_mm: Sequence[float], grid_mm: float) -> tuple[int, ...]:
    """How many voxels along each axis form a block of about `grid_mm`; at least 1, at most the whole axis."""
    return tuple(min(max(round(grid_mm / edge), 1), n) for n, edge in zip(shape, edges_mm, strict=True))


def block_means(volume: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """The mean of each block of the volume (X, Y, Z), float32; the last voxel is repeated to fill the last block."""
    padded = np.pad(volume, [(0, -n % f) for n, f in zip(volume.shape, factors, strict=True)], mode="edge")
    blocks = [edge for n, f in zip(padded.shape, factors, strict=True) for edge in (n // f, f)]
    return padded.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)


def from_blocks(small: np.ndarray, factors: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """A volume of block means, interpolated linearly to the voxels of a volume of `shape`, float32."""
    large = ndimage.zoom(small.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)
    return large[tuple(slice(n) for n in shape)]
