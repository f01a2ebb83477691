"""How well an attack tells members from non-members: AUC and its kin, for patches and for patients, with intervals.

Members are patients whom a network was trained on, non-members others of the same site. Patches of one patient are not
independent, so every interval draws whole patients anew, members and non-members apart; and a lower bound on epsilon
can only be had at the unit of the patient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tofgan_monai.attacks.epsilon import epsilon_bound, epsilon_ceiling
from tofgan_monai.errors import InputError
from tofgan_monai.metrics.bootstrap import Interval

FALSE_POSITIVE_RATES = (0.01, 0.1)
N_RESAMPLES = 2000
BLOCK = 250  # resampled curves held at once


@dataclass(frozen=True)
class Risk:
    """What an attack finds, with the patch or the patient as its unit; all intervals are over patients.

    Attributes:
        auc: the probability that a member scores above a non-member; 0.5 where nothing is learnt.
        advantage: the largest TPR - FPR of any threshold. Above 0 even of noise, of few units far above.
        tpr: true positive rate at the false positive rates "0.01" and "0.1"; None where it cannot be estimated, with
            fewer than 10 non-members per rate.
        epsilon: a lower bound on the epsilon of the training at the unit of the patient, see `epsilon_bound`.
        epsilon_ceiling: the largest bound that so many patients could have shown.
        n_members: how many units are members.
        n_non_members: how many are not.
    """

    auc: Interval
    advantage: Interval
    tpr: dict[str, Interval | None]
    epsilon: float
    epsilon_ceiling: float
    n_members: int
    n_non_members: int


@dataclass(frozen=True, eq=False)
class _Curves:
    """ROC curves of single patients: how many of a patient's units score at least each threshold, highest first.

    Attributes:
        members: (member patients, thresholds + 1); the first column is 0, the last the number of the patient's units.
        non_members: (non-member patients, thresholds + 1).
    """

    members: np.ndarray
    non_members: np.ndarray

    @property
    def n_patients(self) -> tuple[int, int]:
        return len(self.members), len(self.non_members)

    def auc(self, weights: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Area under the curve of weighted patients, (resamples,); weights are (resamples, patients) of both groups."""
        # The Mann-Whitney count of each member patient against each other one is the area between their two curves.
        heights = (self.members[:, 1:] + self.members[:, :-1]) / 2
        counts = heights @ np.diff(self.non_members, axis=1).T  # (members, non-members)
        n_members, n_others = weights[0] @ self.members[:, -1], weights[1] @ self.non_members[:, -1]
        return np.einsum("rm,mn,rn->r", weights[0], counts, weights[1], optimize=True) / (n_members * n_others)

    def rates(self, weights: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """True and false positive rates of weighted patients, (resamples, thresholds + 1) each."""
        true, false = weights[0] @ self.members, weights[1] @ self.non_members
        return true / true[:, -1:], false / false[:, -1:]


def assess(
    scores: ArrayLike,
    patients: ArrayLike,
    is_member: ArrayLike,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    confidence: float = 0.95,
) -> dict[str, Risk]:
    """The Risk of an attack, {"patch": ..., "patient": ...}.

    A patient's score is the mean of the highest quarter of the patches' scores, at least of one.

    Args:
        scores: (n,) of patches, higher = more like a member.
        patients: (n,) whose patches they are. A member and a non-member of the same index are two patients.
        is_member: (n,) booleans.
        seed: of the resampling.
        n_resamples: how often patients are drawn anew.
        confidence: of each interval, and of the bound on epsilon; 1 - 0.05 / n for n attacks judged together.

    Raises:
        InputError: lengths that differ, scores that are not finite, no member or no non-member.

    Source of the intervals: percentile bootstrap over patients, n - 1 drawn of n (Rao and Wu 1988, JASA 83, 231-241:
        unbiased variance). Where the resamples reach 0 or 1 too few patients decide, and the interval is widened to
        what so many patients that all agree could show: of k pairs of patients, (alpha/2)^(1/k) and its mirror image
        (Clopper and Pearson 1934). Five patients a group or fewer thus never show anything.
    """
    scores, patients, is_member = _checked(scores, patients, is_member)
    of_patients = _patient_scores(scores, patients, is_member)
    alpha = 1 - confidence
    epsilon = epsilon_bound(*of_patients, confidence=confidence)
    ceiling = epsilon_ceiling(*map(len, of_patients), confidence=confidence)
    curves = {"patch": _curves(scores, patients, is_member), "patient": _curves_of_groups(*of_patients)}
    n_units = {"patch": (int(is_member.sum()), int((~is_member).sum())), "patient": curves["patient"].n_patients}
    weights = _weights(curves["patient"].n_patients, seed, n_resamples)
    found = {}
    for unit, curve in curves.items():
        figures: dict[str, Callable] = {"advantage": _advantage}
        for rate in FALSE_POSITIVE_RATES:
            if n_units[unit][1] >= 10 / rate:
                figures[str(rate)] = lambda true, false, rate=rate: _tpr_at(rate, true, false)
        auc, rates = _auc_interval(curve, weights, alpha), _rate_intervals(curve, weights, figures, alpha)
        tpr = {str(rate): rates.get(str(rate)) for rate in FALSE_POSITIVE_RATES}
        found[unit] = Risk(auc, rates["advantage"], tpr, epsilon, ceiling, *n_units[unit])
    return found


def excess(
    scores: ArrayLike,
    control_scores: ArrayLike,
    patients: ArrayLike,
    is_member: ArrayLike,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """How far an attack's AUC lies above a control's on the same patches, {"patch": Interval, "patient": Interval}.

    A paired bootstrap: both scores are resampled with the same patients. The arguments are those of `assess`.
    """
    scores, patients, is_member = _checked(scores, patients, is_member)
    control, _, _ = _checked(control_scores, patients, is_member)
    both = {
        "patch": [_curves(values, patients, is_member) for values in (scores, control)],
        "patient": [_curves_of_groups(*_patient_scores(values, patients, is_member)) for values in (scores, control)],
    }
    found = {}
    for unit, (attack, against) in both.items():
        weights = _weights(attack.n_patients, seed, n_resamples)
        once = _once(attack.n_patients)
        value = float((attack.auc(once) - against.auc(once))[0])
        low, high = _quantiles(attack.auc(weights) - against.auc(weights), 1 - confidence)
        found[unit] = Interval(value, low, high, sum(attack.n_patients))
    return found


def member_only(
    scores: ArrayLike, patients: ArrayLike, is_member: ArrayLike, seed: int = 0, *, confidence: float = 0.95
) -> dict[str, Risk]:
    """The control: members' patients split at random into two halves, one called members; there is nothing to find.

    The arguments and the result are those of `assess`; with its intervals 0.5 is left out in 1 - confidence of splits.

    Raises:
        InputError: as `assess`, or fewer than two members.
    """
    scores, patients, is_member = _checked(scores, patients, is_member)
    scores, patients = scores[is_member], patients[is_member]
    names = np.random.default_rng(seed).permutation(np.unique(patients))
    if len(names) < 2:
        raise InputError("one member patient; a member-only control needs two or more")
    return assess(scores, patients, np.isin(patients, names[: len(names) // 2]), seed=seed, confidence=confidence)


def roc(scores: ArrayLike, is_member: ArrayLike, n_points: int = 60) -> list[list[float]]:
    """The ROC curve as at most `n_points` points [fpr, tpr], from [0, 0] on to [1, 1]; half of them at low rates."""
    scores, patients, is_member = _checked(scores, np.zeros(np.shape(scores), int), is_member)
    curves = _curves(scores, patients, is_member)
    true, false = (rates[0] for rates in curves.rates(_once(curves.n_patients)))
    half = (n_points - 2) // 2
    wanted = np.concatenate([np.linspace(0, 1, half), np.geomspace(1 / (~is_member).sum(), 1, half)])
    at = np.unique(np.concatenate([[0], np.searchsorted(false, wanted, side="right") - 1, [len(false) - 1]]))
    return [[float(false[i]), float(true[i])] for i in at]


def patient_score(scores: np.ndarray) -> float:
    """A patient's score from its patches' (n,): the mean of the highest quarter, at least of one."""
    return float(np.sort(scores)[-math.ceil(len(scores) / 4) :].mean())


def _checked(scores: ArrayLike, patients: ArrayLike, is_member: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, patients = np.asarray(scores, dtype=float), np.asarray(patients)
    is_member = np.asarray(is_member, dtype=bool)
    shapes = scores.shape, patients.shape, is_member.shape
    if scores.ndim != 1 or len(set(shapes)) > 1:
        raise InputError(f"scores, patients and is_member of shapes {shapes}; one of each is needed for every patch")
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        raise InputError(f"{wrong} of {len(scores)} scores are NaN or infinite")
    if not is_member.any() or is_member.all():
        raise InputError(f"{is_member.sum()} of {len(scores)} patches are members'; both groups are needed")
    return scores, patients, is_member


def _patient_scores(scores: np.ndarray, patients: np.ndarray, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def of(group: np.ndarray) -> np.ndarray:
        return np.array(
            [patient_score(scores[group & (patients == patient)]) for patient in np.unique(patients[group])]
        )

    return of(is_member), of(~is_member)


def _curves_of_groups(members: np.ndarray, non_members: np.ndarray) -> _Curves:
    """Curves of scores that are a patient's each."""
    is_member = np.arange(len(members) + len(non_members)) < len(members)
    return _curves(np.concatenate([members, non_members]), np.arange(len(is_member)), is_member)


def _curves(scores: np.ndarray, patients: np.ndarray, is_member: np.ndarray) -> _Curves:
    thresholds, at = np.unique(-scores, return_inverse=True)

    def of(group: np.ndarray) -> np.ndarray:
        names, rows = np.unique(patients[group], return_inverse=True)
        counts = np.zeros((len(names), len(thresholds) + 1))
        np.add.at(counts, (rows, at[group] + 1), 1)
        return counts.cumsum(axis=1)

    return _Curves(of(is_member), of(~is_member))


def _once(n_patients: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Every patient with weight 1."""
    return np.ones((1, n_patients[0])), np.ones((1, n_patients[1]))


def _weights(n_patients: tuple[int, int], seed: int, n_resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each patient is drawn, (n_resamples, patients) of members and of non-members."""
    first, second = (
        rng.multinomial(max(n - 1, 1), np.full(n, 1 / n), n_resamples).astype(float)
        for rng, n in zip(np.random.default_rng(seed).spawn(2), n_patients, strict=True)
    )
    return first, second


def _quantiles(resamples: np.ndarray, alpha: float) -> tuple[float, float]:
    low, high = np.quantile(resamples, (alpha / 2, 1 - alpha / 2))
    return float(low), float(high)


def _widened(low: float, high: float, n: int, alpha: float) -> tuple[float, float]:
    """The interval, widened where its resamples reach 0 or 1 to what `n` patients that all agree could show."""
    all_agree = (alpha / 2) ** (1 / n)
    return (min(low, all_agree) if high >= 1 else low), (max(high, 1 - all_agree) if low <= 0 else high)


def _auc_interval(curves: _Curves, weights: tuple[np.ndarray, np.ndarray], alpha: float) -> Interval:
    value = float(curves.auc(_once(curves.n_patients))[0])
    interval = _widened(*_quantiles(curves.auc(weights), alpha), min(curves.n_patients), alpha)
    return Interval(value, *interval, sum(curves.n_patients))


def _rate_intervals(
    curves: _Curves, weights: tuple[np.ndarray, np.ndarray], figures: dict[str, Callable], alpha: float
) -> dict[str, Interval]:
    """The intervals of figures of the ROC curve, each a function of true and false positive rates."""
    true, false = curves.rates(_once(curves.n_patients))
    values = {name: float(figure(true, false)[0]) for name, figure in figures.items()}
    resamples: dict[str, list[np.ndarray]] = {name: [] for name in figures}
    for start in range(0, len(weights[0]), BLOCK):
        true, false = curves.rates((weights[0][start : start + BLOCK], weights[1][start : start + BLOCK]))
        for name, figure in figures.items():
            resamples[name].append(figure(true, false))
    found = {}
    for name, value in values.items():
        low, high = _quantiles(np.concatenate(resamples[name]), alpha)
        if name == "advantage":  # a maximum: resamples lie as far above the value as the value above the truth
            low = max(0.0, 2 * value - high)
        found[name] = Interval(value, *_widened(low, high, min(curves.n_patients), alpha), sum(curves.n_patients))
    return found


def _advantage(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    return (true - false).max(axis=1)


def _tpr_at(rate: float, true: np.ndarray, false: np.ndarray) -> np.ndarray:
    last = (false <= rate + 1e-12).sum(axis=1) - 1  # the first column is 0
    return true[np.arange(len(true)), last]
