"""Computes the kernel distance (KID) between two sets of features.

Unlike a Frechet distance, the KID has no bias, for any number of features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tofgan_monai.errors import InputError

DEGREE = 3
N_SUBSETS = 10  # for the jackknife


@dataclass(frozen=True)
class KernelDistance:
    """Squared distance between two sets of features and its standard error; may be negative if the sets are alike."""

    value: float
    standard_error: float


def kernel_distance(a: np.ndarray, b: np.ndarray, *, seed: int = 0) -> KernelDistance:
    """Unbiased squared maximum mean discrepancy between two sets of features, with the kernel (x.y / d + 1)^3.

    The value is computed from all features. The standard error is computed by a jackknife, which leaves out random
    subsets of both sets in turn. The jackknife assumes that the features are independent, so the standard error is too
    small if one patient contributed many features. The memory grows with (n + m)^2.

    >>> ones = np.ones((4, 2))
    >>> kernel_distance(ones, -ones)  # the kernel is 8 within a set and 0 between the sets
    KernelDistance(value=16.0, standard_error=0.0)

    Args:
        a: features of the first set, (n, d), with n of 3 or more.
        b: features of the second set, (m, d), with m of 3 or more.
        seed: seed for the random choice of the subsets.

    Raises:
        InputError: too few features, or features of different dimensions.

    Source: Binkowski et al. 2018, arXiv:1801.01401, section 4; Gretton et al. 2012, JMLR 13, eq. 3 (the estimate).
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 3:
        raise InputError(
            f"the features have shapes {a.shape} and {b.shape}; (n, d) and (m, d) with n and m of 3 or more are needed"
        )
    kernels = _kernel(a, a), _kernel(b, b), _kernel(a, b)
    rng = np.random.default_rng(seed)
    n_subsets = min(N_SUBSETS, len(a), len(b))
    subsets = zip(*(np.array_split(rng.permutation(len(x)), n_subsets) for x in (a, b)), strict=True)
    left = np.array([_estimate(*_without(kernels, *subset)) for subset in subsets])
    error = np.sqrt((n_subsets - 1) * left.var())
    return KernelDistance(_estimate(*kernels), float(error))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** DEGREE


def _without(kernels: tuple[np.ndarray, ...], rows_a: np.ndarray, rows_b: np.ndarray) -> tuple[np.ndarray, ...]:
    aa, bb, ab = kernels
    kept_a, kept_b = np.delete(np.arange(len(aa)), rows_a), np.delete(np.arange(len(bb)), rows_b)
    return aa[np.ix_(kept_a, kept_a)], bb[np.ix_(kept_b, kept_b)], ab[np.ix_(kept_a, kept_b)]


def _estimate(aa: np.ndarray, bb: np.ndarray, ab: np.ndarray) -> float:
    within = sum((x.sum() - np.trace(x)) / (len(x) * (len(x) - 1)) for x in (aa, bb))
    return float(within - 2 * ab.mean())
