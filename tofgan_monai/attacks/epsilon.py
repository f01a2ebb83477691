"""A lower bound on a training's epsilon (differential privacy) that an attack's scores prove."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def epsilon_bound(members: np.ndarray, non_members: np.ndarray, *, confidence: float = 0.95) -> float:
    """A lower bound on the epsilon of a training, from an attack's scores of patients; 0 if the scores prove nothing.

    If a training is epsilon-private, TPR <= exp(epsilon) FPR and TNR <= exp(epsilon) FNR hold at any threshold. Clopper
    and Pearson's intervals bound the rates. Each threshold is a fixed rank in the group whose rate is the denominator:
    its highest patient, a tenth and a quarter of it. So that rate has the exact bound for any scores, and the other
    group has no influence on the threshold. The six bounds are corrected by Bonferroni, and the largest is taken.

    The unit is the patient, because patches of a patient are not independent. The bound takes patients as independent
    given the one audited training, and membership as a random choice; a bound without both assumptions needs many
    trainings. delta is neglected: some hundred patients cannot show a delta below 1e-3.

    Args:
        members: (m,) scores, one for each training patient.
        non_members: (n,) scores, one for each held-out patient.
        confidence: confidence level of the bound.

    Source: Jagielski et al. 2020, arXiv:2006.07709, section 3; Nasr et al. 2021, arXiv:2101.04535.
    """
    alpha = (1 - confidence) / (2 * len(_ranks(1)))  # two directions
    return max(0.0, _ratio_bound(members, non_members, alpha), _ratio_bound(-non_members, -members, alpha))


def epsilon_ceiling(n_members: int, n_non_members: int, *, confidence: float = 0.95) -> float:
    """The largest `epsilon_bound` that this many patients can show, by an attack that separates them perfectly."""
    return epsilon_bound(np.ones(n_members), np.zeros(n_non_members), confidence=confidence)


def _ranks(n: int) -> tuple[int, ...]:
    return 1, math.ceil(n / 10), math.ceil(n / 4)


def _ratio_bound(numerator: np.ndarray, denominator: np.ndarray, alpha: float) -> float:
    """The largest lower bound on log(numerator's rate / denominator's rate) over the thresholds of `_ranks`."""
    ordered = np.sort(denominator)[::-1]
    ranks = np.array(_ranks(len(ordered)))
    caught = (numerator[:, None] > ordered[ranks - 1]).sum(axis=0)
    # The ends of Clopper and Pearson's intervals in closed form; `binomtest` finds them by a search, to 5e-13 only.
    least = np.where(caught, stats.beta.ppf(alpha / 2, caught, len(numerator) - caught + 1), 0)
    most = stats.beta.ppf(1 - alpha / 2, ranks, len(ordered) - ranks + 1)
    return max(math.log(low / high) if low else 0.0 for low, high in zip(least, most, strict=True))
