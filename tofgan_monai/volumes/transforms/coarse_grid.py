"""Volumes on a grid of a few millimetres and back: what is smooth or large needs no finer one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage


def block_factors(shape: Sequence[int], spacing_mm: Sequence[float], grid_mm: float) -> tuple[int, ...]:
    """How many voxels along each axis make one of about `grid_mm`; at least 1, at most all."""
    return tuple(min(max(round(grid_mm / edge), 1), n) for n, edge in zip(shape, spacing_mm, strict=True))


def block_means(volume: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """The volume (X, Y, Z) averaged over blocks, float32; the last voxel is repeated where a block is not full."""
    padded = np.pad(volume, [(0, -n % f) for n, f in zip(volume.shape, factors, strict=True)], mode="edge")
    blocks = [edge for n, f in zip(padded.shape, factors, strict=True) for edge in (n // f, f)]
    return padded.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)


def from_blocks(small: np.ndarray, factors: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """What `block_means` made small, interpolated linearly at the voxels of a volume of `shape`, float32."""
    large = ndimage.zoom(small.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)
    return large[tuple(slice(n) for n in shape)]
