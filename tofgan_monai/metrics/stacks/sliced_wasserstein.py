"""Distance between two sets of image-label pairs; it needs no trained network, so a training run computes it often."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

N_SCALES, NEIGHBOURHOOD, N_PROJECTIONS, N_PER_PAIR = 3, 7, 128, 32


def sliced_wasserstein(reals: Tensor, fakes: Tensor, *, seed: int = 0) -> float:
    """Sliced Wasserstein distance between the local neighbourhoods of two sets of pairs; 0 when equal, lower is closer.

    A neighbourhood is 7x7 pixels of both channels (image and label), so a label that does not fit its image increases
    the distance. The function takes neighbourhoods at three scales, and normalises them by the mean and the standard
    deviation of the real neighbourhoods.

    >>> reals = torch.zeros(2, 2, 96, 96)
    >>> sliced_wasserstein(reals, reals)
    0.0

    Args:
        reals: real pairs (n, 2, H, W).
        fakes: synthetic pairs of the same shape.
        seed: seed for the positions of the neighbourhoods and for the directions of the projections.

    Raises:
        ValueError: the two sets differ in shape.

    Source: Karras et al. 2018, arXiv:1710.10196, section 5 (here on averaged scales instead of a Laplacian pyramid).
    """
    if reals.shape != fakes.shape:
        raise ValueError(
            f"the sets have shapes {tuple(reals.shape)} and {tuple(fakes.shape)}; give equal numbers of pairs"
        )
    generator = torch.Generator().manual_seed(seed)
    distances = []
    for scale in range(N_SCALES):
        a, b = _neighbourhoods([F.avg_pool2d(x.float(), 2**scale) for x in (reals, fakes)], generator)
        mean, std = a.mean(0), a.std(0).clamp_min(1e-6)
        directions = torch.randn(a.shape[1], N_PROJECTIONS, generator=generator)
        directions /= directions.norm(dim=0)
        a, b = (((x - mean) / std @ directions).sort(0).values for x in (a, b))
        distances.append((a - b).abs().mean())
    return float(torch.stack(distances).mean())


def _neighbourhoods(sets: list[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Cuts 32 random neighbourhoods from each pair of each set (n, 2, H, W); one array (n x 32, 2 x 7 x 7) per set."""
    n, _, height, width = sets[0].shape
    which = torch.arange(n).repeat_interleave(N_PER_PAIR)
    rows = torch.randint(height - NEIGHBOURHOOD + 1, (len(which),), generator=generator)
    columns = torch.randint(width - NEIGHBOURHOOD + 1, (len(which),), generator=generator)
    windows = (pairs.unfold(2, NEIGHBOURHOOD, 1).unfold(3, NEIGHBOURHOOD, 1) for pairs in sets)  # (n, 2, h, w, 7, 7)
    return [of_set[which, :, rows, columns].flatten(1) for of_set in windows]
