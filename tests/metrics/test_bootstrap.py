"""Bootstrap intervals: closed forms, coverage by simulation, crossed levels, SciPy as the oracle of p."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tofgan_monai import InputError
from tofgan_monai.metrics.bootstrap import (
    Interval,
    Paired,
    hierarchical_difference,
    jackknife_interval,
    mean_interval,
    paired_difference,
)

Z95 = 1.959964


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def width(interval: Interval | Paired) -> float:
    return interval.high - interval.low


def test_constant_scores_have_an_interval_of_no_width() -> None:
    result = mean_interval([0.7] * 9)
    assert (result.value, result.low, result.high) == pytest.approx((0.7, 0.7, 0.7), abs=1e-12)
    assert result.n == 9


def test_one_patient_is_told_by_n() -> None:
    assert mean_interval([0.25]) == Interval(0.25, 0.25, 0.25, 1)


def test_two_patients_reach_from_one_to_the_other() -> None:
    # The resampled mean is 0, 1/2 or 1 with probability 1/4, 1/2, 1/4: both ends lie outside the middle 95%.
    assert mean_interval([0.0, 1.0]) == Interval(0.5, 0.0, 1.0, 2)


@pytest.mark.parametrize("n", [40, 200])
def test_half_the_width_is_the_known_standard_error(n: int) -> None:
    scores = normal(n)
    error = scores.std() / math.sqrt(n)  # the resamples' variance divides by n, not by n - 1
    assert width(mean_interval(scores)) / (2 * Z95) == pytest.approx(error, rel=0.04)


def test_runs_are_averaged_first() -> None:
    scores = normal(3, 20)
    assert mean_interval(scores) == mean_interval(scores.mean(0))
    assert mean_interval(scores).n == 20


def test_an_interval_moves_and_scales_with_the_scores() -> None:
    scores = normal(15)
    result, moved = mean_interval(scores), mean_interval(5 + 3 * scores)
    assert (moved.low, moved.high) == pytest.approx((5 + 3 * result.low, 5 + 3 * result.high))


@pytest.mark.parametrize(("n", "lowest", "highest"), [(10, 0.85, 0.95), (40, 0.90, 0.98)])
def test_the_intervals_cover_the_mean_about_95_times_in_100(n: int, lowest: float, highest: float) -> None:
    # Narrow for few patients, as the module says: 0.90 and 0.94, known here to within 0.03.
    intervals = (mean_interval(normal(n, seed=trial), trial, n_resamples=1000) for trial in range(500))
    assert lowest < np.mean([i.low <= 0 <= i.high for i in intervals]) < highest


def test_the_seed_decides() -> None:
    table = normal(3, 2, 12)
    for function in (mean_interval, hierarchical_difference):
        scores = table[0] if function is mean_interval else table
        assert function(scores, seed=1) == function(scores, seed=1)
        assert function(scores, seed=1) != function(scores, seed=2)
    assert paired_difference(table[0], table[1], seed=1) == paired_difference(table[0], table[1], seed=1)


def test_a_paired_difference_is_the_interval_of_the_differences() -> None:
    a, b = 0.8 + normal(14) / 20, 0.7 + normal(14, seed=1) / 20
    result, interval = paired_difference(a, b), mean_interval(a - b)
    assert (result.value, result.low, result.high, result.n) == (interval.value, interval.low, interval.high, 14)
    assert result.value == pytest.approx(a.mean() - b.mean())


def test_p_is_scipys() -> None:
    a, b = normal(14), normal(14, seed=1) + 0.5
    assert paired_difference(a, b).p == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert paired_difference(b, a).p == paired_difference(a, b).p


def test_p_of_five_that_all_grew_by_hand() -> None:
    # All five ranks on one side: 2 of the 2^5 equally likely sign patterns are as extreme.
    assert paired_difference([2, 4, 6, 8, 10], [1, 2, 3, 4, 5]).p == pytest.approx(2 / 32)


def test_p_where_there_is_nothing_to_rank() -> None:
    assert paired_difference([0.4, 0.6], [0.4, 0.6]) == Paired(0.0, 0.0, 0.0, 1.0, 2)
    assert paired_difference([0.4], [0.3]).p is None
    assert paired_difference([0.4], [0.4]).p is None


def test_rounding_is_no_difference() -> None:
    runs = np.array([[0.1, 0.3], [0.2, 0.1], [0.3, 0.2]])
    assert (runs.mean(0) != runs[::-1].mean(0)).any()
    assert paired_difference(runs, runs[::-1]).p == 1.0


def test_models_may_have_other_numbers_of_runs() -> None:
    a, b = normal(3, 14), normal(2, 14, seed=1)
    assert paired_difference(a, b) == paired_difference(a.mean(0), b.mean(0))


def test_a_level_that_does_not_vary_adds_nothing() -> None:
    patients = normal(40)
    alone = mean_interval(patients)
    for draws, seeds in ((1, 1), (5, 1), (1, 4), (5, 4)):
        crossed = hierarchical_difference(np.tile(patients, (draws, seeds, 1)))
        assert (crossed.value, crossed.low, crossed.high) == pytest.approx((alone.value, alone.low, alone.high))
        assert crossed.n == 40


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_level_counts_alike(axis: int) -> None:
    effect = np.moveaxis(np.broadcast_to(normal(30)[:, None, None], (30, 4, 5)), 0, axis)
    assert width(hierarchical_difference(effect)) == pytest.approx(width(mean_interval(normal(30))), rel=0.05)


def test_the_levels_variances_add() -> None:
    draws, seeds, patients = normal(30), normal(25, seed=1), normal(40, seed=2)
    table = draws[:, None, None] + seeds[:, None] + patients
    error = math.sqrt(draws.var() / 30 + seeds.var() / 25 + patients.var() / 40)
    assert width(hierarchical_difference(table)) / (2 * Z95) == pytest.approx(error, rel=0.05)


def test_draws_that_differ_widen_the_interval() -> None:
    table = normal(6, 1, 1) + 0.1 * normal(6, 3, 40, seed=1)
    crossed = hierarchical_difference(table)
    assert crossed.value == pytest.approx(table.mean())
    assert width(crossed) > 2 * width(mean_interval(table.ravel()))  # all cells as if independent
    assert width(crossed) > 2 * width(mean_interval(table.mean((0, 1))))  # draws and seeds averaged


def test_three_draws_that_differ_give_their_range() -> None:
    result = hierarchical_difference(np.broadcast_to(np.array([0.0, 1.0, 5.0])[:, None, None], (3, 3, 10)))
    assert (result.low, result.high) == pytest.approx((0, 5))


def test_crossed_intervals_cover_the_mean() -> None:
    hits = 0
    for trial in range(300):
        parts = [0.3 * normal(10, 1, 1, seed=trial), 0.3 * normal(1, 10, 1, seed=1000 + trial)]
        table = sum(parts) + 0.4 * normal(20, seed=2000 + trial) + 0.5 * normal(10, 10, 20, seed=3000 + trial)
        result = hierarchical_difference(table, trial, n_resamples=1000)
        hits += result.low <= 0 <= result.high
    assert 0.89 < hits / 300 < 0.98


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    scores = normal(7, seed=3)
    mean, half = scores.mean(), stats.t.ppf(0.975, 6) * scores.std(ddof=1) / math.sqrt(7)
    result = jackknife_interval(mean, [np.delete(scores, i).mean() for i in range(7)])
    assert (result.low, result.high, result.n) == pytest.approx((mean - half, mean + half, 7))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "no patient"),
        (lambda: mean_interval(np.zeros((3, 0))), "no patient"),
        (lambda: mean_interval([0.5, math.nan]), "1 of 2 numbers are NaN or infinite, the first at index (1,)"),
        (lambda: mean_interval([0.5, math.inf]), "infinite"),
        (lambda: mean_interval(np.zeros((2, 2, 2))), "(2, 2, 2)"),
        (lambda: mean_interval(0.5), "shape ()"),
        (lambda: mean_interval([[1, 2], [3]]), "unequal lengths"),
        (lambda: mean_interval(["a"]), "not a table of numbers"),
        (lambda: paired_difference([1, 2], [1, 2, 3]), "a has 2 patients and b 3"),
        (lambda: paired_difference([1, 2], [1, math.nan]), "b: 1 of 2"),
        (lambda: paired_difference([], []), "a has shape (0,)"),
        (lambda: jackknife_interval(0.5, [0.5]), "two patients"),
        (lambda: jackknife_interval(0.5, [[0.5, 0.6]]), "shape (1, 2)"),
        (lambda: jackknife_interval(0.5, [0.5, math.nan]), "1 of 2"),
        (lambda: hierarchical_difference(np.zeros((3, 4))), "draws, seeds and test patients"),
        (lambda: hierarchical_difference(np.zeros((3, 0, 4))), "no patient"),
        (lambda: hierarchical_difference(np.full((1, 1, 2), math.nan)), "2 of 2"),
    ],
)
def test_input_errors_say_what_is_wrong(call, message: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value)
