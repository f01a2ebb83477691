"""Lower bound on the epsilon (differential privacy) of a training run, computed from an attack's scores of patients."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def epsilon_bound(members: np.ndarray, non_members: np.ndarray, *, confidence: float = 0.95) -> float:
    """Returns a lower bound on the epsilon of a training run, computed from an attack's scores of patients.

    The bound is 0 if the scores prove nothing. If a training run is epsilon-private, TPR <= exp(epsilon) FPR and
    TNR <= exp(epsilon) FNR hold at any threshold. Clopper and Pearson's intervals bound the rates. Three thresholds are
    used in each of the two inequalities. A threshold is the score of a fixed rank in the group on the right-hand side:
    the highest score, the score that ends the highest tenth, and the score that ends the highest quarter. The second
    inequality uses negated scores. Therefore the bound on the rate of the group on the right-hand side is exact for any
    scores, and the other group has no influence on the threshold. The six bounds are corrected by Bonferroni, and the
    function returns the largest.

    The unit is the patient, because patches of a patient are not independent. The bound assumes that patients are
    independent given the one audited training run, and that membership was chosen at random. A bound without these
    assumptions needs many training runs. delta is neglected, because a few hundred patients cannot show a delta below
    1e-3.

    Args:
        members: the attack's score of each training patient, (m,).
        non_members: the attack's score of each held-out patient, (n,).
        confidence: confidence level of the bound.

    Source: Jagielski et al. 2020, arXiv:2006.07709, section 3; Nasr et al. 2021, arXiv:2101.04535.
    """
    alpha = (1 - confidence) / (2 * len(_ranks(1)))  # two directions
    return max(0.0, _ratio_bound(members, non_members, alpha), _ratio_bound(-non_members, -members, alpha))


def epsilon_ceiling(n_members: int, n_non_members: int, *, confidence: float = 0.95) -> float:
    """Returns the `epsilon_bound` of an attack that separates the patients perfectly, the largest possible bound.

    Args:
        n_members: number of training patients.
        n_non_members: number of held-out patients.
        confidence: confidence level of the bound.
    """
    return epsilon_bound(np.ones(n_members), np.zeros(n_non_members), confidence=confidence)


def _ranks(n: int) -> tuple[int, ...]:
    return 1, math.ceil(n / 10), math.ceil(n / 4)


def _ratio_bound(numerator: np.ndarray, denominator: np.ndarray, alpha: float) -> float:
    """Returns the largest lower bound on log(rate of numerator / rate of denominator) over the thresholds of `_ranks`.

    Args:
        numerator: scores of the patients in the group whose rate is the numerator, (m,).
        denominator: scores of the patients in the other group, (n,), which set the thresholds.
        alpha: probability of error of each of the bounds.
    """
    ordered = np.sort(denominator)[::-1]
    ranks = np.array(_ranks(len(ordered)))
    caught = (numerator[:, None] > ordered[ranks - 1]).sum(axis=0)
    # These are the ends of Clopper and Pearson's intervals in closed form. `binomtest` searches for them, to 5e-13.
    least = np.where(caught, stats.beta.ppf(alpha / 2, caught, len(numerator) - caught + 1), 0)
    most = stats.beta.ppf(1 - alpha / 2, ranks, len(ordered) - ranks + 1)
    return max(math.log(low / high) if low else 0.0 for low, high in zip(least, most, strict=True))
