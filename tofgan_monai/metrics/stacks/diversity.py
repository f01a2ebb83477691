"""How different the images of one stack are from each other; a generator with mode collapse makes similar images."""

from __future__ import annotations

import numpy as np
import torch
from monai.metrics import MultiScaleSSIMMetric

from tofgan_monai.errors import InputError

# The weights of the first three of Wang's five scales, scaled to a sum of 1. The window of 11 x 11 pixels hardly fits
# into the 12 x 12 pixels of the fourth scale.
WEIGHTS = tuple(weight / (0.0448 + 0.2856 + 0.3001) for weight in (0.0448, 0.2856, 0.3001))
N_COMPARISONS = 1000
N_AT_ONCE = 50


def similarity_within(images: np.ndarray, *, n_comparisons: int = N_COMPARISONS, seed: int = 0) -> float:
    """Mean MS-SSIM of random pairs of images (n, 96, 96) in [-1, 1]; 0 to 1, lower is more diverse.

    Compare the figure with that of real images, as noise has the lowest of all. MONAI computes it on images scaled to
    [0, 1], with a Gaussian window of 11 x 11 pixels at three scales. A negative mean structure counts as 0.

    >>> images = np.zeros((4, 96, 96))
    >>> round(similarity_within(images, n_comparisons=10), 3)
    1.0

    Args:
        images: of one stack; no image is compared with itself.
        n_comparisons: number of pairs of images.
        seed: of the draw of these pairs.

    Raises:
        InputError: fewer than two images.

    Source: Wang, Simoncelli & Bovik 2003, Asilomar; as a measure of diversity: Odena et al. 2017, arXiv:1610.09585.
    """
    if len(images) < 2:
        raise InputError(f"{len(images)} images; give two or more to measure their diversity")
    rng = np.random.default_rng(seed)
    first = rng.integers(len(images), size=n_comparisons)
    second = (first + rng.integers(1, len(images), size=n_comparisons)) % len(images)  # never the same image
    metric = MultiScaleSSIMMetric(spatial_dims=2, data_range=1.0, weights=WEIGHTS)
    for rows in np.array_split(np.arange(n_comparisons), -(-n_comparisons // N_AT_ONCE)):
        a, b = (torch.from_numpy((images[of[rows]].astype(np.float32) + 1) / 2)[:, None] for of in (first, second))
        metric(a, b)
    return float(torch.as_tensor(metric.aggregate()))
