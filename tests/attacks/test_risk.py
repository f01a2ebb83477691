"""Risk: closed forms of AUC, rates and epsilon, what few patients can show, and coverage by simulation."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy import stats

from tofgan_monai import InputError
from tofgan_monai.attacks.epsilon import epsilon_bound, epsilon_ceiling
from tofgan_monai.attacks.power import detectable_auc, required_patients
from tofgan_monai.attacks.risk import assess, excess, member_only, roc


def trial(n_members=40, n_others=40, n_patches=5, between=1.0, shift=0.0, seed=0):
    """Scores, patients and membership of patches that share a part of their score with their patient's others."""
    rng = np.random.default_rng(seed)
    of_patients = between * rng.normal(size=n_members + n_others)
    of_patients[:n_members] += shift
    patients = np.repeat(np.arange(len(of_patients)), n_patches)
    return of_patients[patients] + rng.normal(size=len(patients)), patients, patients < n_members


def area(scores, is_member) -> float:
    """The area under a ROC curve, by scipy's count of pairs in order."""
    return stats.mannwhitneyu(scores[is_member], scores[~is_member]).statistic / is_member.sum() ** 2


def test_auc_is_the_share_of_pairs_in_order_and_ties_count_half() -> None:
    found = assess([3, 1, 2, 1], [0, 1, 2, 3], [True, True, False, False])
    # (3, 2), (3, 1) in order, (1, 1) tied, (1, 2) not: 2.5 of 4
    assert found["patch"].auc.value == found["patient"].auc.value == 2.5 / 4
    scores, patients, is_member = trial(shift=0.7)
    assert assess(scores, patients, is_member)["patch"].auc.value == pytest.approx(area(scores, is_member))


def test_a_patients_score_is_the_mean_of_its_highest_quarter() -> None:
    # Of 8 patches two count: the member has (9 + 5) / 2 = 7, the others 6 and 8 each of one patch.
    scores = [9, 5, 0, 0, 0, 0, 0, 0, 6, 8]
    found = assess(scores, [0] * 8 + [0, 1], [True] * 8 + [False] * 2)["patient"]
    assert (found.auc.value, found.n_members, found.n_non_members) == (0.5, 1, 2)


def test_a_member_and_a_non_member_of_one_index_are_two_patients() -> None:
    scores, patients, is_member = trial()
    assert assess(scores, patients % 40, is_member) == assess(scores, patients, is_member)


def test_advantage_and_rates_by_hand() -> None:
    # 100 non-members score 0 to 99; half of 50 members score above 89.5, which 10 of them reach, the others below all.
    scores = np.r_[np.arange(100), np.full(25, 89.5), np.full(25, -1.0)]
    found = assess(scores, np.arange(150), np.arange(150) >= 100)["patch"]
    assert found.advantage.value == pytest.approx(0.4)
    assert found.tpr["0.1"].value == 0.5
    assert found.tpr["0.01"] is None  # 1000 non-members are needed
    assert assess(scores[1:], np.arange(149), np.arange(149) >= 99)["patch"].tpr["0.1"] is None


def test_patches_make_rates_estimable_that_patients_do_not() -> None:
    found = assess(*trial(20, 20, 50))
    assert all(found["patch"].tpr.values()) and not any(found["patient"].tpr.values())


@pytest.mark.parametrize("n", [1, 5, 6, 40])
def test_perfect_separation_shows_what_so_many_patients_can(n: int) -> None:
    found = assess(*trial(n, n, 3, shift=100))
    for risk in found.values():
        assert (risk.auc.value, risk.auc.high) == (1, 1)
        assert risk.auc.low == pytest.approx(0.025 ** (1 / n))
        assert (risk.auc.low > 0.5) == (n > 5)
        assert risk.epsilon == pytest.approx(risk.epsilon_ceiling)
    worst = assess(*trial(n, n, 3, shift=-100))["patch"].auc
    assert (worst.low, worst.high) == (0, pytest.approx(1 - 0.025 ** (1 / n)))


def test_equal_scores_tell_nothing() -> None:
    found = assess(np.zeros(200), np.arange(200) // 5, np.arange(200) < 100)
    for risk in found.values():
        assert (risk.auc.value, risk.auc.low, risk.auc.high) == (0.5, 0.5, 0.5)
        assert (risk.advantage.value, risk.advantage.low, risk.epsilon) == (0, 0, 0)


@pytest.mark.parametrize("between", [0.0, 3.0])
def test_null_intervals_hold_a_half_at_their_rate_however_alike_a_patients_patches_are(between: float) -> None:
    held = {"patch": 0, "patient": 0}
    for seed in range(100):
        found = assess(*trial(n_patches=3, between=between, seed=seed), seed=seed, n_resamples=300)
        for unit, risk in found.items():
            held[unit] += risk.auc.low <= 0.5 <= risk.auc.high
    assert all(0.89 <= count / 100 <= 0.99 for count in held.values()), held


def test_patches_of_a_patient_count_as_one_when_they_are_alike() -> None:
    def width(**changes) -> float:
        auc = assess(*trial(n_patches=20, **changes))["patch"].auc
        return auc.high - auc.low

    assert width(between=10) > 3 * width(between=0)


def test_higher_confidence_is_wider() -> None:
    narrow, wide = (assess(*trial(shift=2), confidence=level)["patient"] for level in (0.95, 0.99))
    assert wide.auc.low < narrow.auc.low and wide.auc.high > narrow.auc.high and wide.epsilon < narrow.epsilon


def test_epsilon_of_no_membership_is_seldom_above_zero() -> None:
    rng = np.random.default_rng(0)
    found = [epsilon_bound(rng.normal(size=40), rng.normal(size=40)) for _ in range(500)]
    assert np.mean(np.array(found) > 0) <= 0.05


def test_epsilon_holds_for_randomised_response() -> None:
    # Membership told truthfully with probability e / (1 + e) is exactly 1-private, in either direction.
    rng, truth = np.random.default_rng(0), math.e / (1 + math.e)
    found = []
    for _ in range(300):
        members, others = rng.random(200) < truth, rng.random(200) > truth
        found.append(epsilon_bound(members + 1e-3 * rng.random(200), others + 1e-3 * rng.random(200)))
    assert np.mean(np.array(found) > 1) <= 0.05
    assert np.median(found) > 0.3


def test_the_ceiling_grows_with_patients_and_is_clopper_and_pearsons() -> None:
    least = (0.05 / 12) ** (1 / 40)  # all of 40, Bonferroni over six two-sided bounds
    assert epsilon_ceiling(40, 40) == pytest.approx(math.log(least / (1 - least)))
    assert epsilon_ceiling(1, 1) == 0 < epsilon_ceiling(10, 10) < epsilon_ceiling(100, 100)


def test_excess_pairs_the_patients() -> None:
    scores, patients, is_member = trial(shift=2)
    same = excess(scores, 2 * scores + 1, patients, is_member)
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in same.values())
    noise = np.random.default_rng(1).normal(size=len(scores))
    found, risk = excess(scores, noise, patients, is_member), assess(scores, patients, is_member)
    control = assess(noise, patients, is_member)
    for unit in found:
        assert found[unit].value == pytest.approx(risk[unit].auc.value - control[unit].auc.value)
        assert 0 < found[unit].low < found[unit].value < found[unit].high


def test_members_split_at_random_hold_nothing() -> None:
    scores, patients, is_member = trial(shift=100)
    found = member_only(scores, patients, is_member, seed=0)
    assert (found["patient"].n_members, found["patient"].n_non_members) == (20, 20)
    assert all(risk.auc.low < 0.5 < risk.auc.high for risk in found.values())
    assert found != member_only(scores, patients, is_member, seed=1)


def test_the_roc_curve_is_thinned_and_keeps_its_ends() -> None:
    scores, _, is_member = trial(n_patches=50, shift=1)
    points = np.array(roc(scores, is_member))
    assert len(points) <= 60 and (points[0] == 0).all() and (points[-1] == 1).all()
    assert (np.diff(points, axis=0) >= 0).all()
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(area(scores, is_member), abs=0.01)
    assert roc([1, 0], [True, False]) == [[0, 0], [0, 1], [1, 1]]


def test_the_required_patients_suffice() -> None:
    n, rng = required_patients(0.75, n_intervals=6), np.random.default_rng(0)
    shift, found = math.sqrt(2) * stats.norm.ppf(0.75), 0
    for seed in range(100):
        scores = rng.normal(size=2 * n) + shift * (np.arange(2 * n) < n)
        level = 1 - 0.05 / 6
        risk = assess(scores, np.arange(2 * n), np.arange(2 * n) < n, seed=seed, n_resamples=1000, confidence=level)
        found += risk["patient"].auc.low > 0.5
    assert 0.7 < found / 100 < 0.95


def test_power_by_hand_and_its_limits() -> None:
    assert detectable_auc(2, 2) == 1.0  # not even all in order would show
    assert detectable_auc(10**6, 10**6) == pytest.approx(0.5, abs=2e-3)
    assert detectable_auc(20, 40) == pytest.approx(detectable_auc(40, 20), abs=0.02)
    assert required_patients(0.75) < required_patients(0.75, n_intervals=6) < required_patients(0.6)
    # Two-sided 5% and power 0.5: z = 1.96 standard errors at 0.5, of variance (2 n + 1) / (12 n^2)
    auc = detectable_auc(50, 50, power=0.5)
    assert auc == pytest.approx(0.5 + 1.959964 * math.sqrt(101 / (12 * 50**2)))


def test_2000_and_2000_patches_take_less_than_a_second() -> None:
    found = trial(n_patches=50)
    start = time.process_time()
    assess(*found)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: assess([1, 2], [0, 1], [True]), "shapes"),
        (lambda: assess([[1, 2]], [[0, 1]], [[True, False]]), "shapes"),
        (lambda: assess([1, math.nan], [0, 1], [True, False]), "1 of 2 scores"),
        (lambda: assess([1, 2], [0, 1], [True, True]), "2 of 2 patches belong to members"),
        (lambda: assess([], [], []), "0 of 0"),
        (lambda: excess([1, 2], [1], [0, 1], [True, False]), "shapes"),
        (lambda: member_only([1, 2], [0, 1], [True, False]), "one member patient"),
        (lambda: required_patients(0.5), "auc of 0.5"),
    ],
)
def test_input_errors_say_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value)
