"""Centrelines are never empty, keep objects and loops, and are as long as the vessels, at any width and place."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from scipy import ndimage

from tests.helpers.tubes import SPACINGS_MM, TOUCHING, draw, length_mm, n_ends, random_tree
from tofgan_monai import InputError
from tofgan_monai.metrics.segmentation.thinning import thin
from tofgan_monai.metrics.segmentation.topology import betti_numbers


def rod(start: tuple[int, ...], stop: tuple[int, ...], shape: tuple[int, ...] = (60, 24, 24)) -> np.ndarray:
    label = np.zeros(shape, bool)
    label[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return label


def checked(label: np.ndarray, spacing_mm: tuple[float, ...] = (1, 1, 1)) -> np.ndarray:
    """The centreline, after a check: one for each object, inside of it, with its loops and without cavities."""
    line = thin(label, spacing_mm)
    objects, n = ndimage.label(label, TOUCHING)
    assert line.dtype == bool and not (line & ~label).any()
    assert len(np.unique(objects[line])) == n
    assert betti_numbers(line) == (*betti_numbers(label)[:2], 0)
    return line


@pytest.mark.parametrize("seed", range(24))
def test_random_tubes_and_trees_keep_their_ends_and_their_length(seed: int) -> None:
    tree = random_tree(seed)
    line = checked(tree.label, tree.spacing_mm)
    assert n_ends(line) == tree.n_ends
    assert length_mm(line, tree.spacing_mm) == pytest.approx(tree.length_mm, rel=0.1)


@pytest.mark.parametrize("seed", [8, 26, 32, 38, 482, 659])
def test_a_vessel_that_is_wider_than_thick_has_no_spurs(seed: int) -> None:
    tree = random_tree(seed)  # in voxels of 0.4 x 0.4 x 1 mm, here thinned in cubic ones
    assert n_ends(checked(tree.label)) == tree.n_ends


def test_a_thin_oblique_vessel_reaches_its_ends() -> None:
    for seed in (141, 408, 588):
        tree = random_tree(seed)
        axis = tree.axis[tree.label[tuple(tree.axis.T)]]
        assert checked(tree.label).sum() >= 0.92 * len(axis)


@pytest.mark.parametrize("axis", range(3))
def test_of_two_rows_the_upper_one_is_kept_wherever_the_vessel_lies(axis: int) -> None:
    for offset, thickness in product(range(2), (1, 2)):
        first, last = 5 + offset, 6 + offset
        label = rod((5, first, first), (45, last + 1, first + thickness))
        upper = rod((5, last, first + thickness - 1), (45, last + 1, first + thickness))
        assert np.array_equal(thin(np.moveaxis(label, 0, axis)), np.moveaxis(upper, 0, axis))


@pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
@pytest.mark.parametrize("width", range(1, 9))
def test_straight_rods_of_every_width_keep_their_length(width: int, spacing_mm: tuple[float, ...]) -> None:
    for axis, offset in product(range(3), range(2)):
        label = rod((5 + offset, 5, 5 + offset), (95, 5 + width, 5 + offset + width), (100, 24, 24))
        line = checked(np.moveaxis(label, 0, axis), spacing_mm)
        assert n_ends(line) == 2
        assert length_mm(line, spacing_mm) == pytest.approx((90 - offset) * spacing_mm[axis], rel=0.1)


@pytest.mark.parametrize("width", [2, 4, 6])
def test_a_t_of_even_rods_keeps_its_free_arm(width: int) -> None:
    label = rod((5, 5, 5), (65, 5 + width, 5 + width), (70, 60, 20))
    label |= rod((33, 5, 5), (33 + width, 50, 5 + width), label.shape)
    assert n_ends(checked(label)) == 3


def test_a_tube_that_fills_its_volume_keeps_its_length() -> None:
    for width in range(1, 9):
        assert length_mm(checked(np.ones((width, 40, width), bool)), (1, 1, 1)) == pytest.approx(40, rel=0.1)


def test_a_ring_stays_a_ring() -> None:
    turns = np.linspace(0, 2 * np.pi, 40)
    points = 9 * np.stack([np.cos(turns), np.sin(turns), 0.3 * np.cos(turns)], axis=1)
    for radius, spacing_mm in zip((0.6, 2.0, 3.0), SPACINGS_MM, strict=True):
        label, _ = draw([(a, b, radius) for a, b in pairwise(points)], spacing_mm, flat=False)
        line = checked(label, spacing_mm)
        assert betti_numbers(line) == (1, 1, 0) and n_ends(line) == 0


@pytest.mark.parametrize("seed", range(8))
def test_noise_keeps_its_topology(seed: int) -> None:
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(20, 22, 24)), rng.uniform(0, 2))
    checked(field > np.quantile(field, rng.uniform(0.5, 0.95)), SPACINGS_MM[seed % 3])


def test_the_memory_order_and_a_margin_change_nothing() -> None:
    label = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(30, 31, 32)), 2) > 0.05
    line = thin(label, (0.5, 0.5, 0.7))
    assert np.array_equal(line, thin(np.asfortranarray(label), (0.5, 0.5, 0.7)))
    assert np.array_equal(np.pad(line, 2), thin(np.pad(label, 2), (0.5, 0.5, 0.7)))


def test_balls_and_single_voxels_keep_a_voxel() -> None:
    for radius, middle in product(np.arange(0.5, 6, 0.5), (7, 7.5)):
        label = np.linalg.norm(np.moveaxis(np.indices((15, 15, 15)), 0, -1) - middle, axis=-1) <= radius
        checked(label)


def test_a_centreline_passes_beside_a_cavity() -> None:
    label = rod((3, 3, 3), (50, 10, 10))
    label[20:30, 6, 6] = False
    assert betti_numbers(label) == (1, 0, 1)
    assert length_mm(checked(label), (1, 1, 1)) == pytest.approx(47, rel=0.1)


def test_an_object_in_a_cavity_keeps_its_own_centreline() -> None:
    label = rod((3, 3, 3), (30, 21, 21))
    label[5:28, 5:19, 5:19] = False
    label[8:25, 11:13, 11:13] = True
    line = thin(label)
    objects, n = ndimage.label(label, TOUCHING)
    assert n == 2 == ndimage.label(line, TOUCHING)[1] == len(np.unique(objects[line]))


def test_empty_labels_stay_empty_and_bad_ones_are_named() -> None:
    assert not thin(np.zeros((5, 6, 7))).any()
    with pytest.raises(InputError, match="4 dimensions"):
        thin(np.zeros((2, 2, 2, 2)))
    with pytest.raises(InputError, match=r"3 dimensions with spacing \(1, 1\) mm"):
        thin(np.zeros((2, 2, 2)), (1, 1))


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135])
@pytest.mark.parametrize("radius", [0.5, 1, 1.5, 2, 3.5])
def test_bars_in_a_slice_keep_their_length(radius: float, degrees: int) -> None:
    rows, columns = np.indices((96, 96)) - 40.5
    along = rows * np.cos(np.radians(degrees)) + columns * np.sin(np.radians(degrees))
    aside = columns * np.cos(np.radians(degrees)) - rows * np.sin(np.radians(degrees))
    label = (np.abs(aside) <= radius + 1e-6) & (np.abs(along) < 30)
    line = checked(label[..., None])
    assert length_mm(line, (1, 1, 1)) == pytest.approx(60, rel=0.1)
    assert np.array_equal(thin(label), line[..., 0])
