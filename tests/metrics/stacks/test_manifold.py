"""Precision, recall, density and coverage: known sets, the definitions in loops, degenerate sets."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tofgan_monai import InputError
from tofgan_monai.metrics.stacks.manifold import manifold


def draw(n: int, seed: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)) * scale


def as_defined(real: np.ndarray, synthetic: np.ndarray, k: int) -> dict[str, float]:
    def radii(points):
        return [sorted(np.linalg.norm(points - point, axis=1))[k] for point in points]  # the 0th is the point itself

    def in_balls(points, centres):  # (points, centres)
        distances = [[np.linalg.norm(p - c) for c in centres] for p in points]
        return np.array(distances) < np.array(radii(centres))

    of_real, of_synthetic = in_balls(synthetic, real), in_balls(real, synthetic)
    return {
        "precision": of_real.any(1).mean(),
        "recall": of_synthetic.any(1).mean(),
        "density": of_real.sum() / k / len(synthetic),
        "coverage": of_real.any(0).mean(),
    }


@pytest.mark.parametrize(("n", "m", "k"), [(40, 40, 5), (30, 50, 3), (7, 7, 5)])
def test_they_are_as_defined(n, m, k, capsys):
    real, synthetic = draw(n, seed=0), draw(m, seed=1, scale=1.3)
    assert manifold(real, synthetic, n_nearest=k) == pytest.approx(as_defined(real, synthetic, k))
    assert not capsys.readouterr().out


def test_copies_are_all_precise_and_cover_all_and_strangers_nothing():
    real = draw(50, seed=0)
    assert manifold(real, real) == pytest.approx(dict.fromkeys(("precision", "recall", "density", "coverage"), 1))
    assert set(manifold(real, real + 100).values()) == {0}


def test_a_collapsed_generator_is_precise_without_recall():
    real = draw(200, seed=0)
    collapsed = manifold(real, draw(200, seed=1, scale=0.1))
    assert collapsed["precision"] == 1 and collapsed["recall"] < 0.1 and collapsed["coverage"] < 0.2


def test_honest_draws_have_the_stated_density_and_coverage():
    found = manifold(draw(2000, seed=0), draw(2000, seed=1))
    assert found["density"] == pytest.approx(1, abs=0.05)
    assert found["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)


def test_equal_features_have_balls_that_hold_nothing():
    assert set(manifold(np.zeros((9, 4)), np.zeros((9, 4))).values()) == {0}


def test_bad_features_and_a_missing_package_are_named(monkeypatch):
    with pytest.raises(InputError, match="6 and 9 features; 7 or more"):
        manifold(draw(6, seed=0), draw(9, seed=0))
    with pytest.raises(InputError, match="are needed"):
        manifold(draw(9, seed=0), draw(9, seed=0)[:, :2])
    monkeypatch.setitem(sys.modules, "prdc", None)
    with pytest.raises(InputError, match=r"pip install tofgan-monai\[privacy\]"):
        manifold(draw(9, seed=0), draw(9, seed=0))
