"""Tells the blocks of a volume that hold only air, so that no network spends time on them."""

from __future__ import annotations

import numpy as np
import torch
from skimage.filters import threshold_otsu
from torch import Tensor
from torch.nn.functional import avg_pool3d

BLOCK = (8, 8, 4)
"""Edges of a block in voxels."""
_BLACK, _DARK = 0.002, 0.3
"""Means of a block, as shares of the tissue's signal: below the first it is air; above the second it is not."""
_NOISE = 0.3
"""Standard deviation of a block over its mean. In air it is 0.52 (Rayleigh's distribution), in tissue at most 0.25."""


def tissue_level(volume: Tensor, black: float) -> float:
    """Returns the typical signal of tissue in a volume, above `black`; 0 for a constant volume.

    Args:
        volume: volume (1, 1, X, Y, Z) of any intensities.
        black: the smallest intensity of the volume.
    """
    signal = np.asarray(_block_means(torch.as_tensor(volume)).cpu()).ravel() - black
    mean = float(signal.mean())
    if signal.max() <= signal.min() or mean <= 0:
        return max(mean, 0.0)
    # Logarithms, so that bright fat does not stand alone above the threshold.
    logarithms = np.log1p(signal / (0.05 * mean))
    return float(np.median(signal[logarithms > threshold_otsu(logarithms)]))


def head_blocks(windows: Tensor, black: float, level: float) -> Tensor:
    """Returns which blocks hold more than air, bool (B, 1, X / 8, Y / 8, Z / 4), rounded up.

    A block is air if its mean is black, or if its mean is dark and its voxels vary as noise does. A dark block of
    tissue varies less. So a volume without any air has no block that is called air, and a volume that is black outside
    the brain has no block of brain that is.

    Args:
        windows: windows (B, 1, X, Y, Z) of a volume.
        black: the smallest intensity of the whole volume.
        level: the `tissue_level` of the whole volume.
    """
    signal = (windows - black).clamp_min(0)
    mean = _block_means(signal)
    deviation = (_block_means(signal**2) - mean**2).clamp_min(0).sqrt()
    air = (mean <= _BLACK * level) | ((mean <= _DARK * level) & (deviation >= _NOISE * mean))
    return ~air


def has_head(windows: Tensor, black: float, level: float) -> Tensor:
    """Returns which windows hold more than air, bool (B,); see `head_blocks`."""
    return torch.any(head_blocks(windows, black, level).flatten(1), dim=1)


def _block_means(volume: Tensor) -> Tensor:
    edges = [min(edge, n) for edge, n in zip(BLOCK, volume.shape[2:], strict=True)]
    return avg_pool3d(volume, edges, ceil_mode=True, count_include_pad=False)
