"""Measures of tubes of known size in mm: straight, bent, branching, on both sides, in voxels of unequal edges."""

from __future__ import annotations

import math
from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest

from tests.helpers.tubes import draw, random_tree
from tofgan_monai import InputError
from tofgan_monai.metrics.segmentation.measures import Measures, calibre_names, vessel_measures

SPACINGS_MM = [(0.5, 0.5, 0.7), (0.7, 0.5, 0.5), (0.4, 0.4, 1.0)]
TOTAL = "total", "all"


def drawn(segments, spacing_mm, *, flat=False):
    """A label of tubes, and its affine in the millimetres of the tubes."""
    label, low = draw(segments, spacing_mm, flat=flat)
    return label, nib.affines.from_matvec(np.diag(spacing_mm), low)


def direction(seed):
    """Three are nearly parallel to the voxels' edges; along the edges, a tube's voxels have another volume."""
    vector = np.eye(3)[seed] + (0.07, 0.11, 0.13) if seed < 3 else np.random.default_rng(seed).normal(size=3)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
@pytest.mark.parametrize("radius_mm", [1.0, 1.6, 2.4])
@pytest.mark.parametrize("seed", range(6))
def test_straight_tubes(seed, radius_mm, spacing_mm):
    tube = (np.zeros(3), 30 * direction(seed), radius_mm)
    found = vessel_measures(*drawn([tube], spacing_mm, flat=True))[TOTAL]
    assert found.volume_mm3 == pytest.approx(math.pi * radius_mm**2 * 30, rel=0.05)
    assert found.length_mm == pytest.approx(30, rel=0.08)
    assert found.mean_radius_mm == pytest.approx(radius_mm, abs=max(spacing_mm) / 4)
    assert found.max_radius_mm == pytest.approx(radius_mm, abs=max(spacing_mm) / 2)
    assert found.tortuosity == pytest.approx(1, abs=0.06) and found.branch_points == 0


@pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
@pytest.mark.parametrize(("radius_mm", "bend_mm"), [(0.8, 15), (1.2, 12), (1.5, 20)])
@pytest.mark.parametrize("seed", range(3))
def test_half_circles(seed, radius_mm, bend_mm, spacing_mm):
    turns = np.linspace(0, np.pi, 60)
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    points = bend_mm * np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1) @ axes
    label, affine = drawn([(a, b, radius_mm) for a, b in pairwise(points)], spacing_mm)
    found, length_mm = vessel_measures(label, affine)[TOTAL], np.pi * bend_mm
    ends_mm3 = 4 / 3 * math.pi * radius_mm**3  # both ends are round, and reach beyond the half circle by the radius
    assert found.volume_mm3 == pytest.approx(math.pi * radius_mm**2 * length_mm + ends_mm3, rel=0.05)
    assert found.length_mm == pytest.approx(length_mm + 2 * radius_mm, rel=0.05)
    assert found.mean_radius_mm == pytest.approx(radius_mm, abs=max(spacing_mm) / 4)
    assert found.tortuosity == pytest.approx((length_mm + 2 * radius_mm) / (2 * bend_mm), rel=0.15)


@pytest.mark.parametrize("seed", range(1, 40, 2))
def test_trees_have_their_length_and_their_branch_points(seed):
    tree = random_tree(seed)
    found = vessel_measures(tree.label, np.diag([*tree.spacing_mm, 1]))[TOTAL]
    assert found.length_mm == pytest.approx(tree.length_mm, rel=0.06)
    assert found.branch_points == tree.n_ends - 2
    assert found.tortuosity == pytest.approx(1, abs=0.04)


def fork(spacing_mm=(0.5, 0.5, 0.7)):
    """A thick trunk in the plane x = 0 that divides into a thick branch to the right and a thin one to the left."""
    knot = np.array([0.0, 0, 20])
    arms = [(knot, knot + np.array(arm), radius) for arm, radius in (((16, 0, 12), 1.6), ((-20, 0, 15), 0.6))]
    return drawn([(np.zeros(3), knot, 1.6), *arms], spacing_mm)


def test_sides_and_calibres_add_up_and_hold_their_vessels():
    found = vessel_measures(*fork(), edges_mm=(2.0,))
    assert [name for side, name in found if side == "left"] == ["all", "below 2 mm", "2 mm and more"]
    for of in ("volume_mm3", "length_mm", "branch_points"):
        sides = sum(getattr(found[side, "all"], of) for side in ("left", "right"))
        classes = sum(getattr(found["total", name], of) for name in calibre_names((2.0,)))
        assert sides == pytest.approx(getattr(found[TOTAL], of)) == pytest.approx(classes)
    left, thin, thick = found["left", "below 2 mm"], found["total", "below 2 mm"], found["total", "2 mm and more"]
    assert left.length_mm == pytest.approx(25 - 1.6, rel=0.08)  # without what lies in the trunk
    assert thin.length_mm == pytest.approx(left.length_mm, rel=0.02) and thin.max_radius_mm < 1
    assert thick.length_mm == pytest.approx(1.6 + 20 + 20 + 1.6, rel=0.08)
    assert thick.mean_radius_mm == pytest.approx(1.6, abs=0.25)
    assert found["right", "below 2 mm"] == Measures(0.0, 0.0, None, None, None, 0)
    assert found[TOTAL].branch_points == thick.branch_points == 1


def test_the_midline_decides_and_the_order_of_the_axes_does_not():
    label, affine = fork()
    expected = vessel_measures(label, affine, midline=(1, 0, 0, -5))
    right = expected["right", "all"].length_mm
    assert right < vessel_measures(label, affine)["right", "all"].length_mm - 10
    turned = nib.Nifti1Image(label.astype(np.uint8), affine).as_reoriented([[2, -1], [0, 1], [1, -1]])
    found = vessel_measures(np.asarray(turned.dataobj), turned.affine, midline=(1, 0, 0, -5))
    assert found["right", "all"].volume_mm3 == pytest.approx(expected["right", "all"].volume_mm3)
    assert found["right", "all"].length_mm == pytest.approx(right, rel=0.02)


def test_the_memory_of_the_volume_does_not_matter_and_a_ring_has_no_tortuosity():
    turns = np.linspace(0, 2 * np.pi, 60)
    points = 9 * np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    label, affine = drawn([(a, b, 1.2) for a, b in pairwise(points)], (0.5, 0.5, 0.7))
    found = vessel_measures(label, affine)[TOTAL]
    assert found.length_mm == pytest.approx(2 * np.pi * 9, rel=0.05)
    assert found.tortuosity is None and found.branch_points == 0
    assert vessel_measures(np.asfortranarray(label), affine)[TOTAL] == found


def test_no_vessel_one_voxel_and_nothing_but_vessel():
    affine = np.diag([0.5, 0.5, 0.8, 1])
    label = np.zeros((9, 9, 9))
    assert set(vessel_measures(label, affine).values()) == {Measures(0.0, 0.0, None, None, None, 0)}
    label[4, 4, 4] = 1
    assert vessel_measures(label, affine)[TOTAL] == Measures(pytest.approx(0.2), pytest.approx(0.6), 0.5, 0.5, None, 0)
    full = vessel_measures(np.ones((3, 4, 12)), np.eye(4))[TOTAL]
    assert full.volume_mm3 == 144 and full.max_radius_mm == pytest.approx(13)


def test_a_vessel_that_leaves_the_volume_keeps_its_radius():
    label, affine = drawn([(np.zeros(3), np.array([0, 0, 30.0]), 2.0)], (0.5, 0.5, 0.7))
    cut = vessel_measures(label[:, :, 10:-10], affine)[TOTAL]
    assert cut.mean_radius_mm == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("edges_mm", [(2.0, 1.5), (1.5, 1.5), (math.nan,)])
def test_edges_must_ascend_and_labels_be_binary(edges_mm):
    with pytest.raises(InputError, match="ascend"):
        vessel_measures(np.zeros((4, 4, 4)), np.eye(4), edges_mm=edges_mm)
    with pytest.raises(InputError, match="other than 0 and 1"):
        vessel_measures(np.full((4, 4, 4), 2), np.eye(4))
