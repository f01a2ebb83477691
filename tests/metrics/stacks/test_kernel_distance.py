"""The kernel distance (KID): closed forms, the sum as it is written, its bias and its standard error."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tofgan_monai import InputError
from tofgan_monai.metrics.stacks.kernel_distance import kernel_distance


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def as_written(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased estimate, kernel by kernel."""

    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    def within(x):
        return np.mean([kernel(x[i], x[j]) for i, j in product(range(len(x)), repeat=2) if i != j])

    return within(a) + within(b) - 2 * np.mean([kernel(x, y) for x, y in product(a, b)])


def test_of_two_points_it_is_the_kernels_own_distance():
    a, b = np.full((4, 2), 1.0), np.full((5, 2), -1.0)  # k(a, a) = k(b, b) = 2^3, k(a, b) = 0
    assert kernel_distance(a, b).value == pytest.approx(16)
    assert kernel_distance(a, a) == kernel_distance(np.zeros((3, 2)), np.zeros((3, 2)))
    assert kernel_distance(a, a).value == kernel_distance(a, a).standard_error == 0


@pytest.mark.parametrize(("n_a", "n_b"), [(3, 3), (8, 13), (20, 20)])
def test_it_is_the_sum_as_it_is_written(n_a, n_b):
    a, b = draw(n_a, 6, seed=0), draw(n_b, 6, seed=1, shift=0.2)
    found = kernel_distance(a.astype(np.float32), b.astype(np.float32))
    assert found.value == pytest.approx(as_written(a, b), rel=1e-4)
    assert kernel_distance(b, a).value == pytest.approx(as_written(a, b))


def test_of_one_dimension_it_estimates_the_difference_of_three_moments():
    n = 1500  # (x y + 1)^3 = 1 + 3 x y + 3 (x y)^2 + (x y)^3
    found = kernel_distance(draw(n, 1, seed=2), draw(n, 1, seed=3, shift=0.5))
    moments = np.array([0.5, 0.25, 0.5**3 + 3 * 0.5])  # by how much those of N(0.5, 1) exceed those of N(0, 1)
    expected = [3, 3, 1] @ moments**2
    assert abs(found.value - expected) < 2 * found.standard_error < expected


def test_it_is_unbiased_and_knows_its_error():
    alike = [kernel_distance(draw(40, 4, seed=s), draw(40, 4, seed=1000 + s)) for s in range(150)]
    values = np.array([found.value for found in alike])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(150) and values.min() < 0 < values.max()
    shifted = [kernel_distance(draw(40, 4, seed=s), draw(40, 4, seed=1000 + s, shift=1)) for s in range(150)]
    spread = np.std([found.value for found in shifted])
    assert 0.8 * spread < np.mean([found.standard_error for found in shifted]) < 1.3 * spread


def test_the_subsets_are_drawn_by_the_seed():
    a, b = draw(30, 4, seed=0), draw(30, 4, seed=1)
    first, again, other = (kernel_distance(a, b, seed=seed) for seed in (1, 1, 2))
    assert first == again and first.value == other.value and first.standard_error != other.standard_error


@pytest.mark.parametrize(("a", "b"), [((2, 4), (9, 4)), ((9, 4), (9, 5)), ((9,), (9,))])
def test_bad_features_are_named(a, b):
    with pytest.raises(InputError, match="or more are needed"):
        kernel_distance(np.zeros(a), np.zeros(b))
