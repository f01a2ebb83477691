"""Illnesses of the simulated arterial tree."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import pytest

from tofgan_monai.phantom import SOURCES
from tofgan_monai.phantom.anatomy import intracranial
from tofgan_monai.phantom.growth import grow
from tofgan_monai.phantom.illness import CLOSED_MM, fall_ill
from tofgan_monai.phantom.trunks import Branch, circle_of_willis

HEALTHY = {name: low for name, (low, _) in SOURCES["A"].items()}


def inner_skull(points: np.ndarray) -> np.ndarray:
    return intracranial(points.T)


@cache
def _grown() -> list[Branch]:
    rng = np.random.default_rng(0)
    return grow(circle_of_willis(HEALTHY, rng), HEALTHY, inner_skull, rng)


def tree() -> list[Branch]:
    return deepcopy(_grown())


def ill(**chances: float) -> list[Branch]:
    branches = tree()
    fall_ill(branches, HEALTHY | chances, inner_skull, np.random.default_rng(1))
    return branches


def volume(branches: list[Branch]) -> float:
    return float(sum((branch.radius_mm**2).sum() for branch in branches))


@pytest.mark.parametrize("source", "AB")
def test_the_sites_are_healthy(source: str) -> None:
    chances = {name: SOURCES[source][name][1] for name in ("stenoses", "occlusions", "moyamoya")}
    for before, after in zip(tree(), ill(**chances), strict=True):
        np.testing.assert_array_equal(before.radius_mm, after.radius_mm)


def test_a_stenosis_narrows_an_artery_over_a_few_mm() -> None:
    branches = ill(stenoses=1.0)
    for before, after in zip(tree(), branches, strict=True):
        lost = 1 - after.radius_mm / before.radius_mm
        if before.name.startswith(("m1", "carotid", "basilar")):
            assert 0.3 < lost.max() <= 0.95 and np.median(lost) < 0.1 + 0.4 * (len(lost) < 80)
        elif not before.name:
            assert lost.max() == 0


def test_an_occlusion_leaves_no_flow_in_an_artery_and_in_half_of_the_cases_in_what_it_feeds() -> None:
    before, after = tree(), ill(occlusions=0.3)
    named = [b.radius_mm.min() == CLOSED_MM for b in after if b.name]
    assert 0.1 < np.mean(named) < 0.7
    grown = [b.radius_mm.max() == CLOSED_MM for b in after if not b.name]
    assert 0.05 < np.mean(grown) < 0.95
    for branch in after:  # nothing flows behind a closed point that is not refilled
        parent = after[branch.parent]
        if not branch.name and not parent.name and parent.radius_mm.max() == CLOSED_MM:
            assert branch.radius_mm.max() == CLOSED_MM
    assert volume(after) < volume(before)


def test_moyamoya_narrows_the_carotid_ends_and_adds_thin_collaterals() -> None:
    before, after = tree(), ill(moyamoya=1.0)
    new = after[len(before) :]
    assert 40 <= len(new) <= 120
    assert all(0.19 <= b.radius_mm[0] <= 0.36 for b in new)
    for old, now in zip(before, after, strict=False):
        if old.name.startswith("carotid"):
            assert now.radius_mm[-1] < 0.45 * old.radius_mm[-1]
    starts = np.array([b.points_mm[0] for b in new])
    assert (inner_skull(starts) < 5).all() and (np.abs(starts[:, 1]) < 15).all()
