"""ROC curves of an attack, resampled over patients, and the intervals of their figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tofgan_monai.metrics.bootstrap import Interval

FALSE_POSITIVE_RATES = (0.01, 0.1)
BLOCK = 250  # number of resampled curves that are held in memory at once
Weights = tuple[np.ndarray, np.ndarray]  # times that each member and each non-member counts, (rows, patients) each


@dataclass(frozen=True, eq=False)
class Curves:
    """Counts for the ROC curve of each patient: the number of the patient's units that score at least each threshold.

    Attributes:
        members: counts of the members, (members, thresholds + 1), from the highest threshold to the lowest. The first
            column is 0. The last column is the number of the patient's units.
        non_members: counts of the non-members, (non-members, thresholds + 1), with the same columns.
    """

    members: np.ndarray
    non_members: np.ndarray

    @property
    def n_patients(self) -> tuple[int, int]:
        """The number of members and of non-members."""
        return len(self.members), len(self.non_members)

    @property
    def n_units(self) -> tuple[int, int]:
        """The number of units of all members and of all non-members."""
        return int(self.members[:, -1].sum()), int(self.non_members[:, -1].sum())

    def auc(self, weights: Weights) -> np.ndarray:
        """Returns the area under the ROC curve of the weighted patients, one value for each row of weights, (rows,)."""
        # The Mann-Whitney count of one member and one non-member is the area under the ROC curve of these two patients.
        heights = (self.members[:, 1:] + self.members[:, :-1]) / 2
        counts = heights @ np.diff(self.non_members, axis=1).T  # (members, non-members)
        n_members, n_others = weights[0] @ self.members[:, -1], weights[1] @ self.non_members[:, -1]
        return np.einsum("rm,mn,rn->r", weights[0], counts, weights[1], optimize=True) / (n_members * n_others)

    def rates(self, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """Returns the TPR and the FPR of the weighted patients at each threshold, (rows, thresholds + 1) each."""
        true, false = weights[0] @ self.members, weights[1] @ self.non_members
        return true / true[:, -1:], false / false[:, -1:]


def curves_of(scores: np.ndarray, patients: np.ndarray, is_member: np.ndarray) -> Curves:
    """Counts, for each patient, the units that score at least each threshold.

    Args:
        scores: score of each unit, (n,).
        patients: patient index of each unit, (n,).
        is_member: whether each unit belongs to a member, (n,) booleans.
    """
    thresholds, at = np.unique(-scores, return_inverse=True)

    def of(group: np.ndarray) -> np.ndarray:
        names, rows = np.unique(patients[group], return_inverse=True)
        counts = np.zeros((len(names), len(thresholds) + 1))
        np.add.at(counts, (rows, at[group] + 1), 1)
        return counts.cumsum(axis=1)

    return Curves(of(is_member), of(~is_member))


def resampled_weights(curves: Curves, seed: int, n_resamples: int) -> Weights:
    """Returns the weights of all members and of all non-members, (n_resamples + 1, patients) each.

    The first row holds 1 for each patient. Each further row holds the number of times that one resample drew each
    patient.
    """
    first, second = (
        np.concatenate([np.ones((1, n)), rng.multinomial(max(n - 1, 1), np.full(n, 1 / n), n_resamples)])
        for rng, n in zip(np.random.default_rng(seed).spawn(2), curves.n_patients, strict=True)
    )
    return first, second


def interval_of(values: np.ndarray, curves: Curves, alpha: float) -> Interval:
    """Returns a figure with its percentile interval at level 1 - alpha.

    Args:
        values: the figure of all patients, followed by the figure of each resample, (n_resamples + 1,).
        curves: ROC curves of the patients, which give the number of patients.
        alpha: probability that the interval leaves out, both sides together.
    """
    low, high = np.quantile(values[1:], (alpha / 2, 1 - alpha / 2))
    return Interval(float(values[0]), float(low), float(high), sum(curves.n_patients))


def widened(interval: Interval, curves: Curves, alpha: float) -> Interval:
    """Returns the interval, widened if it reaches 0 or 1.

    The other end is moved at least to the value that this many patients can show if all of them agree, see `assess`.
    """
    all_agree = (alpha / 2) ** (1 / min(curves.n_patients))
    low = min(interval.low, all_agree) if interval.high >= 1 else interval.low
    high = max(interval.high, 1 - all_agree) if interval.low <= 0 else interval.high
    return replace(interval, low=low, high=high)


def rate_intervals(curves: Curves, weights: Weights, alpha: float) -> tuple[Interval, dict[str, Interval | None]]:
    """Returns the advantage of an attack and its TPR at each of FALSE_POSITIVE_RATES, each with its interval.

    Args:
        curves: ROC curves of the patients.
        weights: weights of all patients in each resample, see `resampled_weights`.
        alpha: probability that each interval leaves out, both sides together.
    """
    figures: dict[str, Callable] = {"advantage": lambda true, false: (true - false).max(axis=1)}
    figures |= {str(rate): partial(_tpr_at, rate) for rate in FALSE_POSITIVE_RATES if curves.n_units[1] >= 10 / rate}
    rows = []
    for start in range(0, len(weights[0]), BLOCK):
        rates = curves.rates((weights[0][start : start + BLOCK], weights[1][start : start + BLOCK]))
        rows.append([figure(*rates) for figure in figures.values()])
    values = dict(zip(figures, np.concatenate(rows, axis=1), strict=True))
    found = {name: interval_of(of, curves, alpha) for name, of in values.items()}
    # The advantage is a maximum. Its resamples exceed its value by as much as the value exceeds the true advantage.
    advantage = found["advantage"]
    found["advantage"] = replace(advantage, low=max(0.0, 2 * advantage.value - advantage.high))
    found = {name: widened(interval, curves, alpha) for name, interval in found.items()}
    return found["advantage"], {str(rate): found.get(str(rate)) for rate in FALSE_POSITIVE_RATES}


def _tpr_at(rate: float, true: np.ndarray, false: np.ndarray) -> np.ndarray:
    last = (false <= rate + 1e-12).sum(axis=1) - 1  # the first column is 0
    return true[np.arange(len(true)), last]
