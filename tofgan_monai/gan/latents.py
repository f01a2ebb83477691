"""Latents, which are the random vectors from which a generator makes pairs, and their distribution (the prior)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class GaussianLatents:
    """The prior of all GANs in this package; an instance draws latents (n, dim) from the standard normal distribution.

    Args:
        dim: the length of a latent.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self, n: int) -> Tensor:
        """Returns n random latents (n, dim), drawn from torch's global generator."""
        return torch.randn(n, self.dim)

    def fixed(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Returns the latents (n, dim) of a seed with the indices `start` to `start` + n - 1.

        A latent depends only on its seed and its index.
        """
        # A counter-based generator: latent i is the same in whatever order or chunk it is drawn.
        bits = (np.random.Philox(key=seed, counter=[0, 0, 0, start + i]) for i in range(n))
        rows = [np.random.Generator(each).standard_normal(self.dim).astype(np.float32) for each in bits]
        return torch.from_numpy(np.stack(rows))
