"""clDice and Betti numbers: closed forms, oracles, the empty cases."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from skimage.morphology import ball

from tests.helpers.tubes import random_tree
from tofgan_monai import InputError, cl_dice
from tofgan_monai.metrics.segmentation.topology import betti_errors, betti_numbers

SHAPE = (24, 20, 16)


def tube(start: int, stop: int, *, at: tuple[int, int] = (8, 8), radius: int = 2) -> np.ndarray:
    """A straight vessel along X."""
    y, z = np.ogrid[: SHAPE[1], : SHAPE[2]]
    disc = (y - at[0]) ** 2 + (z - at[1]) ** 2 <= radius**2
    volume = np.zeros(SHAPE, bool)
    volume[start:stop] = disc
    return volume


def ring() -> np.ndarray:
    volume = np.zeros(SHAPE, bool)
    volume[4:12, 4:12, 5:8] = True
    volume[7:9, 7:9] = False
    return volume


def shell() -> np.ndarray:
    volume = np.zeros(SHAPE, bool)
    volume[3:14, 3:14, 3:14] = ball(5)
    volume[8, 8, 8] = False
    return volume


def scattered(seed: int, share: float) -> np.ndarray:
    return np.random.default_rng(seed).random((9, 8, 7)) < share


def euler_by_cells(volume: np.ndarray) -> int:
    """Corners - edges + faces - cubes of the solid voxels' union, counted one by one."""
    cells = set()
    for voxel in np.argwhere(volume):
        for offset in product((-1, 0, 1), repeat=3):
            cells.add(tuple(2 * voxel + offset))
    n_odd = [sum(coordinate % 2 == 0 for coordinate in cell) for cell in cells]  # even: along the voxel's extent
    return sum((-1) ** n for n in n_odd)


@pytest.mark.parametrize(
    ("volume", "numbers"),
    [
        (tube(2, 20), (1, 0, 0)),
        (tube(2, 9) | tube(12, 20), (2, 0, 0)),
        (ring(), (1, 1, 0)),
        (shell(), (1, 0, 1)),
        (np.zeros(SHAPE, bool), (0, 0, 0)),
        (np.ones(SHAPE, bool), (1, 0, 0)),
    ],
)
def test_shapes_of_known_topology(volume: np.ndarray, numbers: tuple[int, int, int]) -> None:
    assert betti_numbers(volume) == numbers


def test_voxels_that_touch_at_a_corner_are_one() -> None:
    volume = np.zeros(SHAPE, bool)
    volume[5, 5, 5] = volume[6, 6, 6] = True
    assert betti_numbers(volume) == (1, 0, 0)


@pytest.mark.parametrize(("seed", "share"), [(0, 0.05), (1, 0.2), (2, 0.4), (3, 0.7)])
def test_betti_numbers_sum_to_the_euler_number_counted_by_cells(seed: int, share: float) -> None:
    volume = scattered(seed, share)
    components, loops, cavities = betti_numbers(volume)
    assert components - loops + cavities == euler_by_cells(volume)
    assert min(components, loops, cavities) >= 0


def test_a_cut_vessel_is_one_error_that_the_dice_hardly_sees() -> None:
    truth, prediction = tube(2, 22), tube(2, 11) | tube(12, 22)
    assert betti_errors(prediction, truth) == (1, 0, 0)
    assert 2 * (prediction & truth).sum() / (prediction.sum() + truth.sum()) > 0.97
    assert betti_errors(truth, truth) == (0, 0, 0)


def check_half_and_twin(truth: np.ndarray, half: np.ndarray) -> None:
    """clDice is 1 for a copy; from c = 2 s / (1 + s), one share is 0.5 if the other is 1."""
    assert cl_dice(truth, truth.copy()) == 1
    twins, one = np.concatenate([truth, truth]), np.concatenate([truth, np.zeros_like(truth)])
    recall, precision = (c / (2 - c) for c in (cl_dice(half, truth), cl_dice(twins, one)))
    assert (recall, precision) == pytest.approx((0.5, 0.5), abs=0.05)


SHORT = (141, 189, 309, 330, 357, 408, 489)  # trees whose axis has 25 to 49 voxels: 0.05 are one or two of them
FLAT = (482, 497, 570)  # tubes and trees that are wider than thick in voxels, or a diagonal of two voxels


@pytest.mark.parametrize("seed", [*range(12), *SHORT, *FLAT])
def test_half_of_a_random_tree_has_a_recall_of_a_half_and_a_twin_that_precision(seed: int) -> None:
    tree = random_tree(seed)
    check_half_and_twin(tree.label, tree.half())


@pytest.mark.parametrize("width", range(1, 9))
def test_tubes_of_every_width_are_found_by_halves(width: int) -> None:
    truth = np.zeros((80, 16, 16), bool)
    truth[10:70, 4 : 4 + width, 4 : 4 + width] = True
    check_half_and_twin(truth, truth & (np.arange(80) < 40)[:, None, None])


def test_a_thicker_vessel_keeps_its_centreline() -> None:
    assert cl_dice(tube(2, 20, radius=3), tube(2, 20, radius=1)) > 0.95
    assert cl_dice(tube(2, 20, at=(4, 4), radius=1), tube(2, 20, at=(14, 10), radius=1)) == 0


def test_empty_volumes_follow_the_rule() -> None:
    empty = np.zeros(SHAPE, bool)
    assert [cl_dice(empty, empty), cl_dice(empty, ring()), cl_dice(ring(), empty)] == [1, 0, 0]
    assert betti_errors(empty, ring()) == (1, 1, 0)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="other than 0 and 1"):
        cl_dice(0.5 * ring(), ring())
    with pytest.raises(InputError, match="must be equal"):
        betti_errors(ring(), ring()[1:])
    with pytest.raises(InputError, match="2 dimensions"):
        betti_numbers(ring()[0])
