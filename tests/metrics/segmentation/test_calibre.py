"""Calibres of digital cylinders and DSC by calibre: closed forms, brute force, the empty cases, anisotropic voxels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from tests.helpers.tubes import random_tree
from tofgan_monai import InputError
from tofgan_monai.metrics.segmentation.calibre import calibre_mm, dsc_by_calibre
from tofgan_monai.metrics.segmentation.overlap import dice
from tofgan_monai.phantom import simulate_head

SPACINGS_MM = [(0.5, 0.7, 0.7), (0.5, 0.5, 0.7)]
SHAPE = (31, 31, 31)


def cylinder(
    diameter_mm: float, spacing_mm: tuple[float, ...], *, direction: np.ndarray, through_mm: np.ndarray
) -> np.ndarray:
    """The voxels whose middle lies in an endless cylinder; positions are from the middle of the volume."""
    steps = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij"), axis=-1)
    away = steps * np.array(spacing_mm) - through_mm
    along = direction / np.linalg.norm(direction)
    return np.linalg.norm(away - (away @ along)[..., None] * along, axis=-1) <= diameter_mm / 2


def middle_of(calibre: np.ndarray, vessel: np.ndarray) -> float:
    """Mean calibre of the vessel's voxels, away from where the volume cuts it off."""
    inner = (slice(8, -8),) * 3
    return float(calibre[inner][vessel[inner]].mean())


@pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("diameter_mm", [0.8, 1.2, 2.0, 2.5, 3.1])
def test_about_a_voxels_middle_it_is_twice_the_first_step_out_of_the_cylinder(
    diameter_mm: float, axis: int, spacing_mm: tuple[float, ...]
) -> None:
    vessel = cylinder(diameter_mm, spacing_mm, direction=np.eye(3)[axis], through_mm=np.zeros(3))
    across = [edge for other, edge in enumerate(spacing_mm) if other != axis]
    steps = [math.hypot(i * across[0], j * across[1]) for i, j in itertools.product(range(9), repeat=2)]
    expected = 2 * min(step for step in steps if step > diameter_mm / 2)
    calibre = calibre_mm(vessel, spacing_mm)
    assert calibre.dtype == np.float32 and calibre.shape == SHAPE
    assert middle_of(calibre, vessel) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("spacing_mm", SPACINGS_MM)
@pytest.mark.parametrize("diameter_mm", [1.0, 1.5, 2.0, 3.0, 4.0])
def test_cylinders_anywhere_have_their_diameter_without_bias(diameter_mm: float, spacing_mm: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    errors = []
    for index in range(18):
        direction = np.eye(3)[index % 3] if index < 6 else rng.normal(size=3)
        through_mm = rng.uniform(-0.5, 0.5, 3) * spacing_mm
        vessel = cylinder(diameter_mm, spacing_mm, direction=direction, through_mm=through_mm)
        errors.append(middle_of(calibre_mm(vessel, spacing_mm), vessel) - diameter_mm)
    assert abs(np.mean(errors)) < 0.25
    assert np.abs(errors).max() < 0.7


BETWEEN = (132, 396, 484, 490, 706, 942)  # tubes whose axis passes between voxels


@pytest.mark.parametrize("seed", [*range(0, 40, 2), *BETWEEN])
def test_tubes_have_their_radius_within_half_a_voxel(seed: int) -> None:
    tube = random_tree(seed)
    radius_mm = float(np.median(calibre_mm(tube.label, tube.spacing_mm)[tube.label])) / 2
    if tube.is_round:
        assert radius_mm == pytest.approx(tube.radius_mm, abs=max(tube.spacing_mm) / 2)


def test_every_voxel_has_the_calibre_of_the_nearest_vessel() -> None:
    thick = cylinder(3.0, (0.5,) * 3, direction=np.eye(3)[0], through_mm=np.array([0, -4.0, 0]))
    thin = cylinder(0.8, (0.5,) * 3, direction=np.eye(3)[0], through_mm=np.array([0, 4.0, 0]))
    calibre = calibre_mm(thick | thin, (0.5,) * 3)[8:-8]
    assert (calibre[:, :15] > 2.5).all() and (calibre[:, 17:] == 1.0).all()


def test_no_vessel_and_nothing_but_vessel_have_a_calibre_too() -> None:
    assert (calibre_mm(np.zeros((4, 5, 6)), (1, 1, 1)) == 0).all()
    assert calibre_mm(np.ones((3, 4, 12)), (1, 1, 1)) == pytest.approx(13.0)
    with pytest.raises(InputError, match="other than 0 and 1"):
        calibre_mm(np.full((4, 5, 6), 2), (1, 1, 1))


def small_and_large() -> tuple[np.ndarray, np.ndarray]:
    """A thin and a thick bar along X, each of 20 x 1 x 1 and 20 x 5 x 5 voxels."""
    thin, thick = np.zeros((2, 24, 24, 24), bool)
    thin[2:22, 3, 3] = True
    thick[2:22, 12:17, 12:17] = True
    return thin, thick


def test_each_class_has_the_dice_of_its_own_vessels() -> None:
    thin, thick = small_and_large()
    prediction = thin | thick
    prediction[2:12, 3, 3] = False  # half of the thin one is missed: 2 * 10 / (10 + 20)
    prediction[2:22, 17, 12:17] = True  # a layer too much on the thick one: 2 * 500 / (600 + 500)
    found = dsc_by_calibre(prediction, thin | thick, (0.5, 0.5, 0.5))
    assert found == pytest.approx((2 / 3, 10 / 11))
    tensors = [torch.from_numpy(volume.astype(np.float32)) for volume in (prediction, thin | thick)]
    assert dsc_by_calibre(*tensors, (0.5, 0.5, 0.5)) == found


def test_false_positives_count_against_the_vessel_they_lie_next_to() -> None:
    thin, thick = small_and_large()
    prediction = thin | thick
    prediction[2:22, 3, 5] = True
    small, large = dsc_by_calibre(prediction, thin | thick, (0.5, 0.5, 0.5))
    assert (small, large) == pytest.approx((2 / 3, 1.0))


def test_classes_without_true_voxels_have_no_dice() -> None:
    thin, thick = small_and_large()
    empty = np.zeros_like(thin)
    assert dsc_by_calibre(thin, thick, (0.5,) * 3) == (None, 0.0)
    assert dsc_by_calibre(empty, thin, (0.5,) * 3) == (0.0, None)
    assert dsc_by_calibre(thin, empty, (0.5,) * 3) == dsc_by_calibre(empty, empty, (0.5,) * 3) == (None, None)
    assert dsc_by_calibre(thick, thin | thick, (0.5,) * 3, (1.5, 9.0)) == (0.0, 1.0, None)
    assert dsc_by_calibre(thick, thick, (0.5,) * 3, ()) == (1.0,)


@pytest.mark.parametrize("edges_mm", [(2.0, 1.5), (1.5, 1.5), (1.5, math.inf), (math.nan,)])
def test_edges_must_ascend(edges_mm: tuple[float, ...]) -> None:
    thin, _ = small_and_large()
    with pytest.raises(InputError, match="ascend"):
        dsc_by_calibre(thin, thin, (0.5,) * 3, edges_mm)


@pytest.mark.parametrize("source", ["A", "B"])
def test_heads_hold_a_good_share_of_both_classes_and_the_box_changes_nothing(source: str) -> None:
    head = simulate_head(source, 20000, small=True)
    truth = head.label > 0
    spacing_mm = np.linalg.norm(head.affine[:3, :3], axis=0).tolist()
    calibre = calibre_mm(truth, spacing_mm)
    assert 0.45 < (calibre[truth] >= 1.5).mean() < 0.7
    found = np.random.default_rng(0).random(truth.shape) > np.where(calibre < 1.5, 0.6, 0.2)
    prediction = truth & found
    expected = [dice(prediction[those & truth], truth[those & truth]) for those in (calibre < 1.5, calibre >= 1.5)]
    assert dsc_by_calibre(prediction, truth, spacing_mm) == pytest.approx(expected, abs=2e-3)  # equally near vessels


def test_nearest_is_nearest_in_millimetres() -> None:
    truth = np.zeros((24, 24, 12), bool)
    truth[6, 12, 2:10] = True  # thin: 7 steps of 0.5 mm from (13, 12)
    truth[10:17, 17:20, 2:10] = True  # thick: its middle is 6 steps of 1.5 mm from there
    calibre = calibre_mm(truth, (0.5, 1.5, 0.5))
    assert calibre[13, 12, 6] == 1.0
    assert calibre[13, 16, 6] > 1.5
