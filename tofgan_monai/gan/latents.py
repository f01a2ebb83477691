"""Latents, the inputs from which a generator makes pairs, and their distribution (the prior).

The latent of a GAN is a random vector. The latent of a `Refiner` is a pair of a simulated head, with noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.pairs.patches import extract_pairs
from tofgan_monai.phantom.head import simulate_head
from tofgan_monai.phantom.sources import own_spacing
from tofgan_monai.volumes.patch_grid import PATCH_SIZE

PAIRS_PER_HEAD = 128  # half of them vessel-centred
MOST_HEADS = 1000  # of a pool, which then needs 4.4 GiB
SPACING_MM = (0.25, 1.5)  # smallest and largest voxel size of the heads


class Latents(Protocol):
    """A prior: it draws latents (n, dim).

    Attributes:
        dim: the length of a latent.
    """

    dim: int

    def __call__(self, n: int) -> Tensor:
        """Returns n random latents (n, dim), drawn from torch's global generator."""

    def fixed(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Returns the latents (n, dim) of a seed with the indices `start` to `start` + n - 1.

        A latent depends only on its seed and its index.
        """


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


class SimulatedLatents:
    """The prior of a `Refiner`: patches of plain simulated heads, with noise for each pixel; latents (n, 3 * 96 * 96).

    A latent holds the image in [-1, 1] and the label in {-1, +1} of a patch, then 96 * 96 values of the standard normal
    distribution, each row by row. The heads are those of source P of `tofgan_monai.phantom`, outside their brain masks
    black. Each gives 64 vessel-centred and 64 random patches. Latents for a training come from a pool of heads, which
    is simulated at the first use. Fixed latents come from other heads, so that no pair that is generated has the
    anatomy of a pair in the training.

    A small head takes 1.4 seconds of a processor and a whole one 4. The pool needs 4.5 MiB for each head.

    Args:
        n_heads: the number of heads in the pool, from 1 to 1000.
        small: whether the heads are cropped around the circle of Willis; the patients' heads should be so, too.
        spacing_mm: voxel size of the heads, 0.25 to 1.5 mm along each axis, which should be that of the patients'
            scans; None for source P's own, 0.5 x 0.5 x 0.7 mm.

    Raises:
        InputError: n_heads or a voxel size is out of its range.
    """

    def __init__(self, n_heads: int = 48, small: bool = False, spacing_mm: Sequence[float] | None = None) -> None:
        if not 1 <= n_heads <= MOST_HEADS:
            raise InputError(f"n_heads = {n_heads} is no number of simulated heads; give 1 to {MOST_HEADS}")
        spacing = own_spacing("P").tolist() if spacing_mm is None else [round(float(edge), 4) for edge in spacing_mm]
        low, high = SPACING_MM
        if len(spacing) != 3 or not all(low <= edge <= high for edge in spacing):
            shown = " x ".join(f"{edge:g}" for edge in spacing)
            raise InputError(f"{shown} mm is no voxel size for simulated heads; give three values, {low} to {high} mm")
        self.n_heads, self.small, self.spacing_mm = n_heads, small, spacing
        self.dim = 3 * PATCH_SIZE**2
        self._noise = GaussianLatents(PATCH_SIZE**2)
        self._pool: Tensor | None = None

    def __call__(self, n: int) -> Tensor:
        """Returns n random latents (n, dim) of the pool's pairs, drawn from torch's global generator."""
        if self._pool is None:
            shown = " x ".join(f"{edge:g}" for edge in self.spacing_mm)
            seeds = tqdm(range(self.n_heads), desc=f"simulated anatomy, {shown} mm", unit="head", disable=None)
            self._pool = torch.cat([_pairs_of_head(seed, self.small, tuple(self.spacing_mm)) for seed in seeds])
        chosen = torch.randint(len(self._pool), (n,))
        return torch.cat([self._pool[chosen].float(), self._noise(n)], dim=1)

    def fixed(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Returns the latents (n, dim) of a seed with the indices `start` to `start` + n - 1.

        A latent depends only on its seed and its index. A row of 128 latents is of one head.
        """
        places = [divmod(start + i, PAIRS_PER_HEAD) for i in range(n)]
        first = (seed + 1) * 2**32  # beyond the heads of any pool
        heads = (_cached_pairs(first + head, self.small, tuple(self.spacing_mm)) for head, _ in places)
        pairs = torch.stack([of_head[row] for of_head, (_, row) in zip(heads, places, strict=True)])
        return torch.cat([pairs.float(), self._noise.fixed(n, seed=seed, start=start)], dim=1)


def _pairs_of_head(seed: int, small: bool, spacing_mm: tuple[float, ...]) -> Tensor:
    """Returns the 128 pairs of a plain head in a random order, float16 (128, 2 * 96 * 96)."""
    head = simulate_head("P", seed, small=small, spacing_mm=spacing_mm)
    inside = head.mask > 0
    image = np.where(inside, head.image, head.image.min())  # as SkullStripd does it
    rng = np.random.default_rng(seed)
    half = PAIRS_PER_HEAD // 2
    pairs, _ = extract_pairs(image, head.label * inside, head.mask, n_vessel=half, n_random=half, rng=rng)
    return torch.from_numpy(rng.permutation(pairs).astype(np.float16)).flatten(1)


_cached_pairs = lru_cache(maxsize=2)(_pairs_of_head)
