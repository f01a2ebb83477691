"""Bootstrap intervals of a mean over patients, and paired differences of two models on the same patients.

The unit is the patient. If a model has several runs (seeds) on the same patients, the scores of the runs are averaged
first, or `hierarchical_difference` resamples the runs as well. All intervals are at 95%: percentile bootstrap intervals
and, in `jackknife_interval`, a jackknife interval. Bootstrap intervals are too narrow for few patients. In a simulation
with normal scores, the true mean lay in 0.85 of the intervals for 5 patients, 0.90 for 10, 0.92 for 14 and 0.94 for 40.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from tofgan_monai.errors import InputError

LEVEL = 0.95
N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """Mean over `n` patients, with the ends `low` and `high` of its 95% interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Paired:
    """Mean difference of two models over `n` patients, its 95% interval and two-sided p; p is None for one patient."""

    value: float
    low: float
    high: float
    p: float | None
    n: int


def mean_interval(scores: ArrayLike, seed: int = 0, *, n_resamples: int = N_RESAMPLES) -> Interval:
    """Returns the mean of the patients' scores and its 95% percentile bootstrap interval, computed over patients.

    >>> mean_interval([0.5, 0.5, 0.5])
    Interval(value=0.5, low=0.5, high=0.5, n=3)

    Args:
        scores: one score per patient, (patients,), or per run and patient, (runs, patients). Scores of several runs are
            averaged first. For one patient, the interval has no width.
        seed: seed of the random resampling.
        n_resamples: number of resamples.

    Raises:
        InputError: no score, more than two dimensions, NaN or infinity.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    patients = _per_patient(scores, "scores")
    return hierarchical_difference(patients[None, None], seed, n_resamples=n_resamples)


def paired_difference(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> Paired:
    """Returns the mean of a - b over the same patients, its 95% bootstrap interval and Wilcoxon's signed-rank p value.

    The p value is two-sided. Differences of zero get no rank, and the p value is 1 if all differences are zero.

    >>> paired_difference([0.5, 0.75, 1.0, 0.5], [0.25, 0.5, 0.75, 0.25])
    Paired(value=0.25, low=0.25, high=0.25, p=0.125, n=4)

    Args:
        a: scores of one model, (patients,) or (runs, patients); runs are averaged first.
        b: scores of the other model on the same patients in the same order; the number of runs may differ.
        seed: seed of the random resampling.

    Raises:
        InputError: no score, unequal numbers of patients, more than two dimensions, NaN or infinity.

    Source: Wilcoxon 1945, Biometrics Bulletin 1(6), as in scipy.stats.wilcoxon.
    """
    first, second = _per_patient(a, "a"), _per_patient(b, "b")
    if len(first) != len(second):
        raise InputError(f"a has {len(first)} patients and b {len(second)}; give scores of the same patients")
    differences = first - second
    interval = mean_interval(differences, seed)
    return Paired(interval.value, interval.low, interval.high, _signed_rank_p(differences), interval.n)


def hierarchical_difference(differences: ArrayLike, seed: int = 0, *, n_resamples: int = N_RESAMPLES) -> Interval:
    """Returns the mean of a table of differences and its 95% interval, by resampling all three dimensions of the table.

    The table has three levels: draws of training patients, seeds of the training, and test patients. Each resample
    takes as many draws, seeds and test patients as the table has, with replacement. The three levels are resampled
    independently of each other. The value of a resample is the mean of the cells that belong to the resampled draws,
    seeds and patients. (`scipy.stats.bootstrap` resamples one level only.) A level whose values do not vary adds
    nothing to the interval, and a level of size one cannot add anything.

    The interval is too narrow for few draws. For example, if there are three draws and only the draws vary, the
    interval is the range of the three values, which holds the mean in 3 of 4 cases. The interval is too wide, by up to
    the square root of 7, if the cells vary independently. The reason is that each of the three levels, each of the
    three pairs of levels, and all levels together count the same variance once.

    Args:
        differences: (draws of training patients, seeds, test patients), all finite.
        seed: seed of the random resampling; the resamples of a level depend only on the seed and on the level's size.
        n_resamples: number of resamples.

    Returns:
        The mean and its interval; `n` is the number of test patients.

    Raises:
        InputError: not three dimensions, an empty dimension, NaN or infinity.

    Source: Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1(2), 386-411.
    """
    table = _finite(differences, "differences")
    if table.ndim != 3:
        raise InputError(f"differences have shape {table.shape}; give one for draws, seeds and test patients each")
    draws, seeds, patients = (
        rng.multinomial(size, np.full(size, 1 / size), n_resamples) / size
        for rng, size in zip(np.random.default_rng(seed).spawn(3), table.shape, strict=True)
    )  # (n_resamples, size) each, the weights of a mean
    value = float(table.mean())
    over_patients = np.tensordot(patients, table - value, (1, 2))  # (n_resamples, draws, seeds)
    means = value + np.einsum("rd,rs,rds->r", draws, seeds, over_patients)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(value, float(low), float(high), table.shape[2])


def jackknife_interval(value: float, without: ArrayLike) -> Interval:
    """Returns the 95% jackknife interval of a figure that is not a mean over patients.

    Use the jackknife if resamples would bias the figure. For example, repeated images bias a Frechet distance.

    Args:
        value: the figure computed from all patients together.
        without: (patients,), the figure computed again with one patient left out, once for each patient.

    Returns:
        The interval, computed with Student's t distribution with patients - 1 degrees of freedom.

    Raises:
        InputError: fewer than two patients, NaN or infinity.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 11.
    """
    left = _finite(without, "without")
    n = len(left)
    if left.ndim != 1 or n < 2:
        raise InputError(f"`without` has shape {left.shape}; give one figure for each of two patients or more")
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt((n - 1) * left.var())
    return Interval(value, float(value - half), float(value + half), n)


def _per_patient(scores: ArrayLike, name: str) -> np.ndarray:
    table = _finite(scores, name)
    if table.ndim not in (1, 2):
        raise InputError(f"{name} has shape {table.shape}; give one score per patient, or one per run and patient")
    return table if table.ndim == 1 else table.mean(0)


def _finite(scores: ArrayLike, name: str) -> np.ndarray:
    try:
        table = np.asarray(scores, dtype=float)
    except (TypeError, ValueError) as error:
        remedy = "give one score per run and patient"
        raise InputError(
            f"{name} is not a table of numbers, or its rows have unequal lengths ({error}); {remedy}"
        ) from error
    if not table.size:
        raise InputError(f"{name} has shape {table.shape}: no patient was scored; give at least one score")
    where = np.argwhere(~np.isfinite(table))
    if len(where):
        first = tuple(where[0].tolist())
        raise InputError(
            f"{name}: {len(where)} of {table.size} numbers are NaN or infinite, the first at index {first}"
        )
    return table


def _signed_rank_p(differences: np.ndarray) -> float | None:
    if len(differences) == 1:
        return None
    rounded = np.round(differences, 12)  # the order of the runs changes the last bits of their mean
    return float(stats.wilcoxon(rounded).pvalue) if rounded.any() else 1.0
