"""Measures how different the images of one stack (a file of image-label pairs) are from each other.

A generator with mode collapse makes similar images.
"""

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
    """Mean MS-SSIM (similarity) of two random images of one stack, from 0 to 1; lower means more diverse images.

    Compare the result with the mean MS-SSIM of real images: noise has a lower one than any real image. MONAI computes
    the MS-SSIM on images scaled to [0, 1], with a Gaussian window of 11 x 11 pixels at three scales. If the mean
    structure term of two images is negative, it counts as 0.

    >>> images = np.zeros((4, 96, 96))
    >>> round(similarity_within(images, n_comparisons=10), 3)
    1.0

    Args:
        images: images (n, 96, 96) of one stack, in [-1, 1]; no image is compared with itself.
        n_comparisons: number of times that two random images are compared.
        seed: seed for the choice of these images.

    Raises:
        InputError: fewer than two images.

    Source: Wang, Simoncelli & Bovik 2003, Asilomar; as a measure of diversity: Odena et al. 2017, arXiv:1610.09585.
    """
    if len(images) < 2:
        raise InputError(f"{len(images)} images are too few to measure their diversity; give two or more")
    rng = np.random.default_rng(seed)
    first = rng.integers(len(images), size=n_comparisons)
    second = (first + rng.integers(1, len(images), size=n_comparisons)) % len(images)  # never the same image
    metric = MultiScaleSSIMMetric(spatial_dims=2, data_range=1.0, weights=WEIGHTS)
    for rows in np.array_split(np.arange(n_comparisons), -(-n_comparisons // N_AT_ONCE)):
        a, b = (torch.from_numpy((images[of[rows]].astype(np.float32) + 1) / 2)[:, None] for of in (first, second))
        metric(a, b)
    return float(torch.as_tensor(metric.aggregate()))
