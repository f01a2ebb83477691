"""How unlike one another the images of one stack are: a generator whose modes collapsed makes them all alike."""

from __future__ import annotations

import numpy as np
import torch
from monai.metrics import MultiScaleSSIMMetric

from tofgan_monai.errors import InputError

# The first three of Wang's five scales, brought to a sum of 1: at a fourth, of 12 x 12 pixels, his window of 11 x 11
# would have next to no place.
WEIGHTS = tuple(weight / (0.0448 + 0.2856 + 0.3001) for weight in (0.0448, 0.2856, 0.3001))
N_COMPARISONS = 1000
N_AT_ONCE = 50


def similarity_within(images: np.ndarray, *, n_comparisons: int = N_COMPARISONS, seed: int = 0) -> float:
    """Mean MS-SSIM of random twosomes of images (n, 96, 96) in [-1, 1]; 0 to 1, lower is more diverse.

    It says something beside that of real images only: noise has the lowest. By MONAI, on images brought to [0, 1], with
    a Gaussian window of 11 x 11 pixels at three scales. A structure that is opposite on average counts as 0.

    Args:
        images: of one stack; each is compared with others only.
        n_comparisons: twosomes.
        seed: of their draw.

    Raises:
        InputError: fewer than two images.

    Source: Wang, Simoncelli & Bovik 2003, Asilomar; as a measure of diversity: Odena et al. 2017, arXiv:1610.09585.
    """
    if len(images) < 2:
        raise InputError(f"{len(images)} images; their diversity needs two or more")
    rng = np.random.default_rng(seed)
    first = rng.integers(len(images), size=n_comparisons)
    second = (first + rng.integers(1, len(images), size=n_comparisons)) % len(images)  # never the same
    metric = MultiScaleSSIMMetric(spatial_dims=2, data_range=1.0, weights=WEIGHTS)
    for rows in np.array_split(np.arange(n_comparisons), -(-n_comparisons // N_AT_ONCE)):
        a, b = (torch.from_numpy((images[of[rows]].astype(np.float32) + 1) / 2)[:, None] for of in (first, second))
        metric(a, b)
    return float(torch.as_tensor(metric.aggregate()))
