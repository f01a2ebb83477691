"""Latents: what a generator makes pairs from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class GaussianLatents:
    """Callable that draws latents (n, dim) ~ N(0, 1) from torch's global generator: the prior of all three GANs."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self, n: int) -> Tensor:
        """Latents (n, dim)."""
        return torch.randn(n, self.dim)

    def fixed(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Latents (n, dim) that depend on the seed and on each one's index (from `start`) alone."""
        # A counter-based generator: the latent of index i is the same in whatever order or chunk it is drawn.
        rows = [
            np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, start + i])).standard_normal(self.dim)
            for i in range(n)
        ]
        return torch.from_numpy(np.stack(rows).astype(np.float32))
