"""How well an attack tells training patients (members) from held-out patients (non-members), with intervals.

Members are patients on whose pairs a network was trained; non-members are other patients of the same site. Figures are
given for patches and for patients. Patches of one patient are not independent, so every interval resamples whole
patients, members and non-members separately. A lower bound on epsilon exists only with the patient as the unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from tofgan_monai.attacks.epsilon import epsilon_bound, epsilon_ceiling
from tofgan_monai.errors import InputError
from tofgan_monai.metrics.bootstrap import Interval

FALSE_POSITIVE_RATES = (0.01, 0.1)
N_RESAMPLES = 2000
BLOCK = 250  # number of resampled curves that are held in memory at once
Weights = tuple[np.ndarray, np.ndarray]  # how often each member and each non-member counts, (rows, patients) each


@dataclass(frozen=True)
class Risk:
    """The figures of an attack with the patch or the patient as its unit; all intervals are over patients.

    Attributes:
        auc: the attack AUC, which is the probability that a member scores above a non-member; 0.5 is guessing.
        advantage: the largest TPR - FPR over all thresholds. Positive even for noise; large when there are few units.
        tpr: true positive rates at the fixed false positive rates "0.01" and "0.1"; None where there are fewer than
            10 / rate non-members, which is too few to estimate it.
        epsilon: a lower bound on the training's epsilon with the patient as the unit, see `epsilon_bound`.
        epsilon_ceiling: the largest bound that this many patients could have shown.
        n_members: number of units of members.
        n_non_members: number of units of non-members.
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
    """ROC curves of single patients: the number of a patient's units that score at least each threshold.

    Attributes:
        members: (member patients, thresholds + 1), from the highest threshold on. The first column is 0, the last one
            is the number of the patient's units.
        non_members: (non-member patients, thresholds + 1), likewise.
    """

    members: np.ndarray
    non_members: np.ndarray

    @property
    def n_patients(self) -> tuple[int, int]:
        return len(self.members), len(self.non_members)

    @property
    def n_units(self) -> tuple[int, int]:
        return int(self.members[:, -1].sum()), int(self.non_members[:, -1].sum())

    def auc(self, weights: Weights) -> np.ndarray:
        """The area under the ROC curve of weighted patients, (rows,)."""
        # The Mann-Whitney count of a member against a non-member is the area between their two curves.
        heights = (self.members[:, 1:] + self.members[:, :-1]) / 2
        counts = heights @ np.diff(self.non_members, axis=1).T  # (members, non-members)
        n_members, n_others = weights[0] @ self.members[:, -1], weights[1] @ self.non_members[:, -1]
        return np.einsum("rm,mn,rn->r", weights[0], counts, weights[1], optimize=True) / (n_members * n_others)

    def rates(self, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """True and false positive rates of weighted patients, (rows, thresholds + 1) each."""
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
    """The Risk of an attack over patches and over patients, {"patch": Risk, "patient": Risk}.

    A patient's score is the mean of the highest quarter of the patches' scores, of at least one patch.

    Args:
        scores: (n,) of patches; a higher score means more like a member.
        patients: (n,) patient index of each patch. A member and a non-member with the same index are two patients.
        is_member: (n,) booleans.
        seed: of the resampling.
        n_resamples: number of times that patients are drawn anew.
        confidence: of each interval and of the bound on epsilon; 1 - 0.05 / n for n attacks that are judged together.

    Raises:
        InputError: lengths differ, scores are not finite, or there is no member or no non-member.

    Source of the intervals: percentile bootstrap over patients, n - 1 drawn of n (Rao and Wu 1988, JASA 83, 231-241:
        unbiased variance). Where the resamples reach 0 or 1, too few patients decide. The interval is then widened to
        what this many patients could show if all agreed: (alpha/2)^(1/k) for k pairs of patients, or its mirror image
        (Clopper and Pearson 1934). So five patients in a group, or fewer, never show anything.
    """
    curves = _by_unit(scores, patients, is_member)
    of_patients = _patient_scores(*_checked(scores, patients, is_member))
    alpha = 1 - confidence
    epsilon = epsilon_bound(*of_patients, confidence=confidence)
    ceiling = epsilon_ceiling(*map(len, of_patients), confidence=confidence)
    weights = _weights(curves["patient"], seed, n_resamples)
    return {
        unit: Risk(
            _widened(_interval(curve.auc(weights), curve, alpha), curve, alpha),
            *_rate_intervals(curve, weights, alpha),
            epsilon,
            ceiling,
            *curve.n_units,
        )
        for unit, curve in curves.items()
    }


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
    """How far an attack's AUC lies above its control's AUC on the same patches, {"patch": ..., "patient": ...}.

    A paired bootstrap resamples both with the same patients. Arguments and errors are those of `assess`.
    """
    attack, control = (_by_unit(values, patients, is_member) for values in (scores, control_scores))
    weights = _weights(attack["patient"], seed, n_resamples)
    beyond = {unit: curves.auc(weights) - control[unit].auc(weights) for unit, curves in attack.items()}
    return {unit: _interval(values, attack[unit], 1 - confidence) for unit, values in beyond.items()}


def member_only(
    scores: ArrayLike, patients: ArrayLike, is_member: ArrayLike, seed: int = 0, *, confidence: float = 0.95
) -> dict[str, Risk]:
    """The Risk of an attack among members alone, with a random half of them called non-members.

    This is a control, because between the halves there is nothing to find: the AUC interval excludes 0.5 in a share
    1 - confidence of all splits. Arguments and result are those of `assess`.

    Raises:
        InputError: as `assess`; or there are fewer than two members.
    """
    scores, patients, is_member = _checked(scores, patients, is_member)
    scores, patients = scores[is_member], patients[is_member]
    names = np.random.default_rng(seed).permutation(np.unique(patients))
    if len(names) < 2:
        raise InputError("one member patient; the member-only control needs two or more")
    return assess(scores, patients, np.isin(patients, names[: len(names) // 2]), seed=seed, confidence=confidence)


def roc(scores: ArrayLike, is_member: ArrayLike, n_points: int = 60) -> list[list[float]]:
    """The ROC curve over patches as at most `n_points` points [fpr, tpr] from [0, 0] to [1, 1], half at low rates."""
    scores, patients, is_member = _checked(scores, np.zeros(np.shape(scores), int), is_member)
    true, false = (rates[0] for rates in _curves(scores, patients, is_member).rates((np.ones((1, 1)),) * 2))
    half = (n_points - 2) // 2
    wanted = np.concatenate([np.linspace(0, 1, half), np.geomspace(1 / (~is_member).sum(), 1, half)])
    at = np.unique(np.concatenate([[0], np.searchsorted(false, wanted, side="right") - 1, [len(false) - 1]]))
    return np.stack([false, true], axis=1)[at].tolist()


def patient_score(scores: np.ndarray) -> float:
    """A patient's score: the mean of the highest quarter of the patches' scores (n,), of at least one patch."""
    return float(np.sort(scores)[-math.ceil(len(scores) / 4) :].mean())


def _checked(scores: ArrayLike, patients: ArrayLike, is_member: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, patients = np.asarray(scores, dtype=float), np.asarray(patients)
    is_member = np.asarray(is_member, dtype=bool)
    shapes = scores.shape, patients.shape, is_member.shape
    if scores.ndim != 1 or len(set(shapes)) > 1:
        raise InputError(f"scores, patients and is_member have shapes {shapes}; give one value of each for every patch")
    if wrong := int((~np.isfinite(scores)).sum()):
        raise InputError(f"{wrong} of {len(scores)} scores are NaN or infinite; give finite scores")
    if not is_member.any() or is_member.all():
        raise InputError(f"{is_member.sum()} of {len(scores)} patches are members'; both groups are needed")
    return scores, patients, is_member


def _patient_scores(scores: np.ndarray, patients: np.ndarray, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The score of each member patient, (m,), and of each non-member patient, (n,), from the scores of patches."""

    def of(group: np.ndarray) -> np.ndarray:
        return np.array([patient_score(scores[group & (patients == one)]) for one in np.unique(patients[group])])

    return of(is_member), of(~is_member)


def _by_unit(scores: ArrayLike, patients: ArrayLike, is_member: ArrayLike) -> dict[str, _Curves]:
    """The patients' ROC curves with patches as units and with patients as units, as {"patch": ..., "patient": ...}."""
    checked = _checked(scores, patients, is_member)
    members, non_members = _patient_scores(*checked)
    patient = np.arange(len(members) + len(non_members))
    of_patients = _curves(np.concatenate([members, non_members]), patient, patient < len(members))
    return {"patch": _curves(*checked), "patient": of_patients}


def _curves(scores: np.ndarray, patients: np.ndarray, is_member: np.ndarray) -> _Curves:
    thresholds, at = np.unique(-scores, return_inverse=True)

    def of(group: np.ndarray) -> np.ndarray:
        names, rows = np.unique(patients[group], return_inverse=True)
        counts = np.zeros((len(names), len(thresholds) + 1))
        np.add.at(counts, (rows, at[group] + 1), 1)
        return counts.cumsum(axis=1)

    return _Curves(of(is_member), of(~is_member))


def _weights(curves: _Curves, seed: int, n_resamples: int) -> Weights:
    """The weights of all patients: 1 in the first row, then a row for each resample with the times it draws each."""
    first, second = (
        np.concatenate([np.ones((1, n)), rng.multinomial(max(n - 1, 1), np.full(n, 1 / n), n_resamples)])
        for rng, n in zip(np.random.default_rng(seed).spawn(2), curves.n_patients, strict=True)
    )
    return first, second


def _interval(values: np.ndarray, curves: _Curves, alpha: float) -> Interval:
    """The figure, which is values[0], with the percentile interval of its resamples, which are values[1:]."""
    low, high = np.quantile(values[1:], (alpha / 2, 1 - alpha / 2))
    return Interval(float(values[0]), float(low), float(high), sum(curves.n_patients))


def _widened(interval: Interval, curves: _Curves, alpha: float) -> Interval:
    """The interval, widened where it reaches 0 or 1 to what this many patients could show if all agreed."""
    all_agree = (alpha / 2) ** (1 / min(curves.n_patients))
    low = min(interval.low, all_agree) if interval.high >= 1 else interval.low
    high = max(interval.high, 1 - all_agree) if interval.low <= 0 else interval.high
    return replace(interval, low=low, high=high)


def _rate_intervals(curves: _Curves, weights: Weights, alpha: float) -> tuple[Interval, dict[str, Interval | None]]:
    """The advantage and the true positive rates of an attack, with their intervals."""
    figures: dict[str, Callable] = {"advantage": lambda true, false: (true - false).max(axis=1)}
    figures |= {str(rate): partial(_tpr_at, rate) for rate in FALSE_POSITIVE_RATES if curves.n_units[1] >= 10 / rate}
    rows = []
    for start in range(0, len(weights[0]), BLOCK):
        rates = curves.rates((weights[0][start : start + BLOCK], weights[1][start : start + BLOCK]))
        rows.append([figure(*rates) for figure in figures.values()])
    values = dict(zip(figures, np.concatenate(rows, axis=1), strict=True))
    found = {name: _interval(of, curves, alpha) for name, of in values.items()}
    # The advantage is a maximum: its resamples lie as far above the value as the value lies above the truth.
    advantage = found["advantage"]
    found["advantage"] = replace(advantage, low=max(0.0, 2 * advantage.value - advantage.high))
    found = {name: _widened(interval, curves, alpha) for name, interval in found.items()}
    return found["advantage"], {str(rate): found.get(str(rate)) for rate in FALSE_POSITIVE_RATES}


def _tpr_at(rate: float, true: np.ndarray, false: np.ndarray) -> np.ndarray:
    last = (false <= rate + 1e-12).sum(axis=1) - 1  # the first column is 0
    return true[np.arange(len(true)), last]
