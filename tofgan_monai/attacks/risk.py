"""Risk figures of a membership inference attack: how well its scores separate members from non-members.

Members are the patients on whose image-label pairs a network was trained. Non-members are held-out patients of the same
site. An attack gives each patch (pair) a score. Each figure is computed with patches as units and with patients as
units. Patches of one patient are not independent, so every interval resamples whole patients, and it resamples members
and non-members separately. The lower bound on epsilon exists only with the patient as the unit. TPR is the true
positive rate, the fraction of members that an attack recognises. FPR is the false positive rate, the fraction of
non-members that it takes for members.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tofgan_monai.attacks.epsilon import epsilon_bound, epsilon_ceiling
from tofgan_monai.attacks.roc_curves import Curves, curves_of, interval_of, rate_intervals, resampled_weights, widened
from tofgan_monai.errors import InputError
from tofgan_monai.metrics.bootstrap import Interval

N_RESAMPLES = 2000
CONFIDENCE = 0.95  # level of each interval
N_POINTS = 60  # largest number of points of a ROC curve


@dataclass(frozen=True)
class Risk:
    """Risk figures of one attack with the patch or the patient as the unit; all intervals resample patients.

    Attributes:
        auc: attack AUC, the probability that a member's unit scores above a non-member's unit; 0.5 means guessing.
        advantage: largest TPR - FPR over all thresholds. It is positive even for noise, and large if units are few.
        tpr: dict from the fixed FPR ("0.01" and "0.1") to the TPR at this FPR. The value is None if there are fewer
            than 10 / FPR units of non-members, which are too few to estimate the TPR.
        epsilon: lower bound on the epsilon of the training run, with the patient as the unit, see `epsilon_bound`.
        epsilon_ceiling: largest value of this bound that the same number of patients can show.
        n_members: number of the members' units (patches or patients).
        n_non_members: number of the non-members' units (patches or patients).
    """

    auc: Interval
    advantage: Interval
    tpr: dict[str, Interval | None]
    epsilon: float
    epsilon_ceiling: float
    n_members: int
    n_non_members: int


def assess(
    scores: ArrayLike,
    patients: ArrayLike,
    is_member: ArrayLike,
    *,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> dict[str, Risk]:
    """Returns the risk figures of an attack as a dict with the keys "patch" and "patient" (the unit).

    A patient's score is `patient_score` of the patient's patches.

    Args:
        scores: the attack's score of each patch, (n,); a higher score means more like a member's patch.
        patients: patient index of each patch, (n,). A member and a non-member with the same index are two patients.
        is_member: whether each patch belongs to a member, (n,) booleans.
        seed: seed of the resampling.
        n_resamples: number of times that the patients are resampled.
        confidence: confidence level of each interval and of the bound on epsilon. If n attacks are judged together, use
            1 - 0.05 / n.

    Raises:
        InputError: the lengths differ, a score is not finite, or there is no member or no non-member.

    Source of the intervals: percentile bootstrap over patients; n - 1 of n patients are drawn, which makes the variance
        unbiased (Rao and Wu 1988, JASA 83, 231-241). If the interval reaches 0 or 1, there are too few patients for the
        bootstrap. The interval is then widened to (alpha/2)^(1/k), or to 1 minus this value, for k patients in the
        smaller group (Clopper and Pearson 1934). This is what k patients can show if all of them agree. Therefore five
        or fewer patients in a group never show anything.
    """
    curves = _by_unit(scores, patients, is_member)
    of_patients = _patient_scores(*_checked(scores, patients, is_member))
    alpha = 1 - confidence
    epsilon = epsilon_bound(*of_patients, confidence=confidence)
    ceiling = epsilon_ceiling(*map(len, of_patients), confidence=confidence)
    weights = resampled_weights(curves["patient"], seed, n_resamples)
    return {
        unit: Risk(
            widened(interval_of(curve.auc(weights), curve, alpha), curve, alpha),
            *rate_intervals(curve, weights, alpha),
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
    n_resamples: int = N_RESAMPLES,
) -> dict[str, Interval]:
    """Returns an attack's AUC minus its control's AUC, with 95% intervals, as a dict with keys "patch" and "patient".

    The attack and the control give scores to the same patches. A paired bootstrap resamples the same patients in both.

    Args:
        scores: the attack's score of each patch, (n,).
        control_scores: the control's score of each patch, (n,).
        patients: patient index of each patch, (n,), as for `assess`.
        is_member: whether each patch belongs to a member, (n,) booleans.
        n_resamples: number of times that the patients are resampled.

    Raises:
        InputError: the lengths differ, a score is not finite, or there is no member or no non-member.
    """
    attack, control = (_by_unit(values, patients, is_member) for values in (scores, control_scores))
    weights = resampled_weights(attack["patient"], 0, n_resamples)
    beyond = {unit: curves.auc(weights) - control[unit].auc(weights) for unit, curves in attack.items()}
    return {unit: interval_of(values, attack[unit], 1 - CONFIDENCE) for unit, values in beyond.items()}


def member_only(scores: ArrayLike, patients: ArrayLike, is_member: ArrayLike, seed: int = 0) -> dict[str, Risk]:
    """Compares members with members: returns the attack's risk figures if a random half plays the non-members.

    This is a control. Both halves trained the network, so there is nothing to find. The AUC interval should exclude 0.5
    in 5% of all splits. The result has the form of `assess`.

    Args:
        scores: the attack's score of each patch, (n,); scores of non-members are left out.
        patients: patient index of each patch, (n,), as for `assess`.
        is_member: whether each patch belongs to a member, (n,) booleans.
        seed: seed of the split and of the resampling.

    Raises:
        InputError: the lengths differ, a score is not finite, there is no non-member, or there are fewer than two
            members.
    """
    scores, patients, is_member = _checked(scores, patients, is_member)
    scores, patients = scores[is_member], patients[is_member]
    names = np.random.default_rng(seed).permutation(np.unique(patients))
    if len(names) < 2:
        raise InputError("the scores hold one member patient; give two or more to compare members with members")
    return assess(scores, patients, np.isin(patients, names[: len(names) // 2]), seed=seed)


def roc(scores: ArrayLike, is_member: ArrayLike) -> list[list[float]]:
    """Returns the ROC curve over patches as a list of at most 60 points [FPR, TPR] from [0, 0] to [1, 1].

    Half of the points lie at evenly spaced FPR; the other half lie at logarithmically spaced FPR, so many are low.

    Args:
        scores: the attack's score of each patch, (n,).
        is_member: whether each patch belongs to a member, (n,) booleans.
    """
    scores, patients, is_member = _checked(scores, np.zeros(np.shape(scores), int), is_member)
    true, false = (rates[0] for rates in curves_of(scores, patients, is_member).rates((np.ones((1, 1)),) * 2))
    half = (N_POINTS - 2) // 2
    wanted = np.concatenate([np.linspace(0, 1, half), np.geomspace(1 / (~is_member).sum(), 1, half)])
    at = np.unique(np.concatenate([[0], np.searchsorted(false, wanted, side="right") - 1, [len(false) - 1]]))
    return np.stack([false, true], axis=1)[at].tolist()


def patient_score(scores: np.ndarray) -> float:
    """Returns a patient's score: the mean of the highest quarter (at least one) of the patient's patch scores (n,)."""
    return float(np.sort(scores)[-math.ceil(len(scores) / 4) :].mean())


def _checked(scores: ArrayLike, patients: ArrayLike, is_member: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, patients = np.asarray(scores, dtype=float), np.asarray(patients)
    is_member = np.asarray(is_member, dtype=bool)
    shapes = scores.shape, patients.shape, is_member.shape
    if scores.ndim != 1 or len(set(shapes)) > 1:
        raise InputError(f"scores, patients and is_member have shapes {shapes}; give each as one value for each patch")
    if wrong := int((~np.isfinite(scores)).sum()):
        raise InputError(f"{wrong} of {len(scores)} scores are NaN or infinite; give finite scores")
    if not is_member.any() or is_member.all():
        raise InputError(f"{is_member.sum()} of {len(scores)} patches belong to members; give both members and others")
    return scores, patients, is_member


def _patient_scores(scores: np.ndarray, patients: np.ndarray, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of the members, (m,), and of the non-members, (n,), computed from the scores of patches.

    Args:
        scores: the attack's score of each patch, (patches,).
        patients: patient index of each patch, (patches,).
        is_member: whether each patch belongs to a member, (patches,) booleans.
    """

    def of(group: np.ndarray) -> np.ndarray:
        return np.array([patient_score(scores[group & (patients == one)]) for one in np.unique(patients[group])])

    return of(is_member), of(~is_member)


def _by_unit(scores: ArrayLike, patients: ArrayLike, is_member: ArrayLike) -> dict[str, Curves]:
    """Returns the patients' ROC curves with patches as units ("patch") and with patients as units ("patient")."""
    checked = _checked(scores, patients, is_member)
    members, non_members = _patient_scores(*checked)
    patient = np.arange(len(members) + len(non_members))
    of_patients = curves_of(np.concatenate([members, non_members]), patient, patient < len(members))
    return {"patch": curves_of(*checked), "patient": of_patients}
