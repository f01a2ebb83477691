"""Whether synthetic features lie where real ones do (precision, density), and everywhere there (recall, coverage)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO

import numpy as np

from tofgan_monai.errors import InputError

N_NEAREST = 5


def manifold(real: np.ndarray, synthetic: np.ndarray, *, n_nearest: int = N_NEAREST) -> dict[str, float]:
    """Precision, recall, density and coverage of synthetic features (m, d) against real ones (n, d), by `prdc`.

    Each feature has a ball that reaches to its n-th nearest neighbour of the same set. Precision is the share of
    synthetic features in some real ball, recall that of real ones in some synthetic ball, density how many real balls
    a synthetic feature lies in, over n_nearest, and coverage the share of real balls that hold a synthetic feature.
    All are higher for better and at most 1, but density, which is 1 where both sets are draws of one distribution.
    Coverage then is about 1 - 2^-n_nearest. Copies of the real features have 1 of all four. A ball without extent,
    where more than n_nearest features of its set are equal, holds nothing.

    Raises:
        InputError: the package is missing; features that are not of the same dimensions or too few for the neighbours.

    Source: Naeem et al. 2020, arXiv:2002.09797; Kynkaanniemi et al. 2019, arXiv:1904.06991.
    """
    compute = load_prdc()
    if real.ndim != 2 or synthetic.ndim != 2 or real.shape[1] != synthetic.shape[1]:
        raise InputError(f"features of shape {real.shape} and {synthetic.shape}; (n, d) and (m, d) are needed")
    if min(len(real), len(synthetic)) < n_nearest + 2:
        raise InputError(f"{len(real)} and {len(synthetic)} features; {n_nearest + 2} or more of each are needed")
    with redirect_stdout(StringIO()):  # it prints how many there are
        found = compute(real, synthetic, n_nearest)
    return {name: float(value) for name, value in found.items()}


def load_prdc() -> Callable:
    """`prdc.compute_prdc`, of the extra `privacy`.

    Raises:
        InputError: the package is missing.
    """
    try:
        return import_module("prdc").compute_prdc
    except ImportError as error:
        raise InputError(f"prdc is not installed ({error}): pip install tofgan-monai[privacy]") from error
