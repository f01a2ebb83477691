"""MiFID by hand: where it divides, and where not."""

from __future__ import annotations

import numpy as np
import pytest

from tofgan_monai.metrics.stacks.memorisation import mifid


def test_mifid_divides_where_the_features_are_memorised() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.normal(size=(2, 60, 5)).round(2)
    found = mifid(members + 1e-3, members, others, tau=0.1)
    assert found["members"]["distance"] < 1e-3
    assert found["members"]["mifid"] == pytest.approx(found["members"]["frechet"] / found["members"]["distance"])
    assert found["members"]["frechet"] < found["non_members"]["frechet"]
    far = mifid(members, others, others, tau=0.0)["members"]
    assert far["mifid"] == far["frechet"]


def test_the_cosine_distance_by_hand() -> None:
    synthetic, reals = np.array([[3.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 1.0], [-5.0, 0.0]])
    # The sign does not count: the first is the second real's likeness, the other lies at 45 degrees from the first.
    assert mifid(synthetic, reals, reals)["members"]["distance"] == pytest.approx((0 + 1 - np.sqrt(0.5)) / 2)


def test_exact_copies_have_the_best_distance_and_no_division_by_zero() -> None:
    members = np.random.default_rng(0).normal(size=(20, 3))
    assert np.isfinite(list(mifid(members, members, members)["members"].values())).all()
