"""Power of an audit: the smallest AUC that a number of patients can show, and the number of patients that an AUC needs.

The AUC is the probability that an attack scores a training patient (member) above a held-out patient (non-member).
"""

from __future__ import annotations

import math
from itertools import count

from scipy import optimize, stats

from tofgan_monai.errors import InputError


def detectable_auc(n_members: int, n_non_members: int, *, power: float = 0.8, n_intervals: int = 1) -> float:
    """Returns the smallest attack AUC over patients that this many patients can show; 1 if no AUC suffices.

    An AUC can be shown if its interval lies above 0.5 with probability `power`. The interval is two-sided at 95%,
    corrected by Bonferroni.

    Args:
        n_members: number of training patients.
        n_non_members: number of held-out patients.
        power: probability with which the interval lies above 0.5.
        n_intervals: number of intervals that are judged together.

    Source: Hanley and McNeil 1982, Radiology 143(1), 29-36: the variance of the AUC, here also at an AUC of 0.5.
    """
    quantile, reach = stats.norm.ppf(1 - 0.025 / n_intervals), stats.norm.ppf(power)

    def lacks(auc: float) -> float:
        errors = _standard_error(0.5, n_members, n_non_members), _standard_error(auc, n_members, n_non_members)
        return quantile * errors[0] + reach * errors[1] - (auc - 0.5)

    return float(optimize.brentq(lacks, 0.5, 1)) if lacks(1.0) < 0 else 1.0


def required_patients(auc: float, *, power: float = 0.8, n_intervals: int = 1) -> int:
    """Returns the smallest number of members, with as many non-members, whose `detectable_auc` is at most `auc`.

    Args:
        auc: the attack AUC over patients that the audit must be able to show.
        power: probability with which the interval of the AUC lies above 0.5.
        n_intervals: number of intervals that are judged together.

    Raises:
        InputError: the AUC is not between 0.5 and 1.
    """
    if not 0.5 < auc < 1:
        raise InputError(f"auc of {auc} is out of range; give an AUC between 0.5 and 1")
    return next(n for n in count(2) if detectable_auc(n, n, power=power, n_intervals=n_intervals) <= auc)


def _standard_error(auc: float, n_members: int, n_non_members: int) -> float:
    two_members, two_others = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    variance = auc * (1 - auc) + (n_members - 1) * two_members + (n_non_members - 1) * two_others
    return math.sqrt(variance / (n_members * n_non_members))
