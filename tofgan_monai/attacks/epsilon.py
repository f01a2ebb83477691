"""What an attack proves about a training's privacy: the least epsilon at which it could have told patients apart so."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def epsilon_bound(members: np.ndarray, non_members: np.ndarray, *, confidence: float = 0.95) -> float:
    """A lower bound on the epsilon of a training, from an attack's scores of patients; 0 where none is shown.

    Of epsilon-private training TPR <= exp(epsilon) FPR and TNR <= exp(epsilon) FNR at any threshold. The rates are
    bounded by Clopper and Pearson. A threshold is a fixed rank of the group whose rate is the denominator (its extreme
    patient, a tenth and a quarter of it): the rate above it then has the exact bound whatever the scores are, and the
    other group has no part in the choice. The six bounds are corrected for by Bonferroni and the largest is taken.

    It is at the unit of the patient only, since patches of a patient are not independent. It takes patients as
    independent given the one training that is audited, and which of them are members as a random choice; a bound free
    of both needs many trainings. delta is neglected: below 1e-3 it is beyond what some hundred patients can see.

    Args:
        members: (m,) scores, one a patient.
        non_members: (n,) likewise.
        confidence: of the bound.

    Source: Jagielski et al. 2020, arXiv:2006.07709, section 3; Nasr et al. 2021, arXiv:2101.04535.
    """
    alpha = (1 - confidence) / (2 * len(_ranks(1)))  # two directions
    bounds = (_ratio_bound(members, non_members, alpha), _ratio_bound(-non_members, -members, alpha))
    return max(0.0, *bounds)


def epsilon_ceiling(n_members: int, n_non_members: int, *, confidence: float = 0.95) -> float:
    """The bound of `epsilon_bound` for so many patients when the attack tells all of them apart."""
    return epsilon_bound(np.ones(n_members), np.zeros(n_non_members), confidence=confidence)


def _ranks(n: int) -> tuple[int, ...]:
    return 1, math.ceil(n / 10), math.ceil(n / 4)


def _ratio_bound(numerator: np.ndarray, denominator: np.ndarray, alpha: float) -> float:
    """The largest lower bound on log(rate of `numerator` / rate of `denominator`) above its highest ranks."""
    ordered, n, bounds = np.sort(denominator)[::-1], len(numerator), []
    for rank in _ranks(len(ordered)):
        caught = int((numerator > ordered[rank - 1]).sum())
        least = stats.beta.ppf(alpha / 2, caught, n - caught + 1) if caught else 0.0
        most = stats.beta.ppf(1 - alpha / 2, rank, len(ordered) - rank + 1)
        bounds.append(math.log(least / most) if least else 0.0)
    return max(bounds)
