"""Whether synthetic features lie among the real ones (precision, density) and reach all of them (recall, coverage)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO

import numpy as np

from tofgan_monai.errors import InputError

N_NEAREST = 5


def manifold(real: np.ndarray, synthetic: np.ndarray, *, n_nearest: int = N_NEAREST) -> dict[str, float]:
    """Precision, recall, density and coverage of synthetic features against real ones, computed by `prdc`.

    Each feature has a ball whose radius is the distance to its n-th nearest neighbour in the same set. Precision is the
    share of synthetic features that lie in a real ball. Recall is the share of real features that lie in a synthetic
    ball. Density is the mean number of real balls that hold a synthetic feature, divided by n_nearest. Coverage is the
    share of real balls that hold a synthetic feature. Higher is better. All are at most 1 except density, which is 1 if
    both sets are drawn from one distribution; coverage then is about 1 - 2^-n_nearest. Copies of the real features
    reach 1 in all four. If more than n_nearest features of a set are equal, their balls have no extent and hold
    nothing.

    Args:
        real: (n, d).
        synthetic: (m, d).
        n_nearest: which neighbour sets the radius of a ball.

    Raises:
        InputError: the package is missing; features of different dimensions, or too few for the neighbours.

    Source: Naeem et al. 2020, arXiv:2002.09797; Kynkaanniemi et al. 2019, arXiv:1904.06991.
    """
    compute = load_prdc()
    if real.ndim != 2 or synthetic.ndim != 2 or real.shape[1] != synthetic.shape[1]:
        raise InputError(f"features of shape {real.shape} and {synthetic.shape}; (n, d) and (m, d) are needed")
    if min(len(real), len(synthetic)) < n_nearest + 2:
        raise InputError(f"{len(real)} and {len(synthetic)} features; {n_nearest + 2} or more of each are needed")
    with redirect_stdout(StringIO()):  # prdc prints the numbers of features
        found = compute(real, synthetic, n_nearest)
    return {name: float(value) for name, value in found.items()}


def load_prdc() -> Callable:
    """The function `compute_prdc` of the package prdc, which the extra `privacy` installs.

    Raises:
        InputError: the package is missing.
    """
    try:
        return import_module("prdc").compute_prdc
    except ImportError as error:
        raise InputError(f"prdc is not installed ({error}): pip install tofgan-monai[privacy]") from error
