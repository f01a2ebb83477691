"""Measures whether synthetic images resemble real ones (precision, density) and cover all real ones (recall, coverage).

All four figures are computed from features of the images.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO

import numpy as np

from tofgan_monai.errors import InputError

N_NEAREST = 5


def manifold(real: np.ndarray, synthetic: np.ndarray, *, n_nearest: int = N_NEAREST) -> dict[str, float]:
    """Dict with "precision", "recall", "density" and "coverage" of synthetic features, computed by the package `prdc`.

    Each feature has a ball around it. The radius of the ball is the distance from the feature to its nearest neighbour
    number n_nearest in the same set. Precision is the fraction of synthetic features that lie in the ball of a real
    feature. Recall is the fraction of real features that lie in the ball of a synthetic feature. Density counts, for
    each synthetic feature, the real features' balls that hold it; it is the mean of these counts over n_nearest.
    Coverage is the fraction of real features' balls that hold a synthetic feature. Higher is better for all four.
    Precision, recall and coverage are at most 1. If both sets are drawn from one distribution, density is about 1 and
    coverage is about 1 - 2^-n_nearest. Copies of the real features reach 1 in all four. If more than n_nearest features
    of a set are equal, their balls have the radius 0 and hold no feature.

    Args:
        real: features of real images, (n, d).
        synthetic: features of synthetic images, (m, d).
        n_nearest: number of the nearest neighbour that sets the radius of a ball.

    Raises:
        InputError: the package `prdc` is missing; the sets differ in d; a set has fewer than n_nearest + 2 features.

    Source: Naeem et al. 2020, arXiv:2002.09797; Kynkaanniemi et al. 2019, arXiv:1904.06991.
    """
    compute = load_prdc()
    if real.ndim != 2 or synthetic.ndim != 2 or real.shape[1] != synthetic.shape[1]:
        raise InputError(f"the features have shapes {real.shape} and {synthetic.shape}; (n, d) and (m, d) are needed")
    if min(len(real), len(synthetic)) < n_nearest + 2:
        raise InputError(
            f"the two sets have {len(real)} and {len(synthetic)} features; {n_nearest + 2} or more of each are needed"
        )
    with redirect_stdout(StringIO()):  # prdc prints the numbers of features
        found = compute(real, synthetic, n_nearest)
    return {name: float(value) for name, value in found.items()}


def load_prdc() -> Callable:
    """Imports and returns the function `compute_prdc` of the package `prdc`, which the extra `privacy` installs.

    Raises:
        InputError: the package `prdc` is missing.
    """
    try:
        return import_module("prdc").compute_prdc
    except ImportError as error:
        raise InputError(
            f"the package prdc is not installed ({error}); install it by `pip install tofgan-monai[privacy]`"
        ) from error
