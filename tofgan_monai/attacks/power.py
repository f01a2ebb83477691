"""How many patients an audit needs: which AUC so many could show, and how many a given AUC takes."""

from __future__ import annotations

import math

from scipy import optimize, stats

from tofgan_monai.errors import InputError


def detectable_auc(n_members: int, n_non_members: int, *, power: float = 0.8, n_intervals: int = 1) -> float:
    """The smallest AUC over patients whose interval lies above 0.5 with this power; 1 where no AUC would.

    The interval is two-sided, at 95% corrected by Bonferroni for the number of intervals that are judged together.

    Source: Hanley and McNeil 1982, Radiology 143(1), 29-36: the variance of the AUC, here also at an AUC of 0.5.
    """
    quantile, reach = stats.norm.ppf(1 - 0.025 / n_intervals), stats.norm.ppf(power)

    def lacks(auc: float) -> float:
        errors = _standard_error(0.5, n_members, n_non_members), _standard_error(auc, n_members, n_non_members)
        return quantile * errors[0] + reach * errors[1] - (auc - 0.5)

    return float(optimize.brentq(lacks, 0.5, 1)) if lacks(1.0) < 0 else 1.0


def required_patients(auc: float, *, power: float = 0.8, n_intervals: int = 1) -> int:
    """How many members, and as many non-members, an AUC over patients needs for `detectable_auc` to reach it.

    Raises:
        InputError: an AUC that is not above 0.5 and below 1.
    """
    if not 0.5 < auc < 1:
        raise InputError(f"auc of {auc}; between 0.5 and 1 is needed")
    n = 2
    while detectable_auc(n, n, power=power, n_intervals=n_intervals) > auc:
        n += 1
    return n


def _standard_error(auc: float, n_members: int, n_non_members: int) -> float:
    two_members, two_others = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    variance = auc * (1 - auc) + (n_members - 1) * two_members + (n_non_members - 1) * two_others
    return math.sqrt(variance / (n_members * n_non_members))
