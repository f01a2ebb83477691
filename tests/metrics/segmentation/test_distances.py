"""Average distances: closed forms, oracles, the empty cases, anisotropic voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import SurfaceDistanceMetric
from scipy import ndimage

from tofgan_monai import InputError
from tofgan_monai.metrics.segmentation.distances import average_hausdorff_mm, average_surface_distance_mm
from tofgan_monai.metrics.segmentation.overlap import diagonal_mm

SPACING_MM = (0.5, 0.6, 0.7)
SHAPE = (20, 24, 16)
BOTH = pytest.mark.parametrize("distance_mm", [average_surface_distance_mm, average_hausdorff_mm])


def point(*index: int) -> np.ndarray:
    volume = np.zeros(SHAPE, bool)
    volume[index] = True
    return volume


def scattered(seed: int, share: float = 0.02) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE) < share


@BOTH
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_points_lie_their_distance_apart(distance_mm, axis: int) -> None:
    other = point(*(5 + 7 * (i == axis) for i in range(3)))
    assert distance_mm(point(5, 5, 5), other, spacing_mm=SPACING_MM) == pytest.approx(7 * SPACING_MM[axis], rel=1e-6)


def test_one_point_more_counts_as_one_of_its_side() -> None:
    truth = point(5, 5, 5)
    prediction = truth | point(11, 5, 5)  # 3 mm away: directed means 1.5 and 0 mm
    assert average_hausdorff_mm(prediction, truth, spacing_mm=SPACING_MM) == pytest.approx(1.5)
    assert average_hausdorff_mm(truth, prediction, spacing_mm=SPACING_MM) == pytest.approx(1.5)
    assert average_surface_distance_mm(prediction, truth, spacing_mm=SPACING_MM) == pytest.approx(3 / 3)


@pytest.mark.parametrize("seed", range(4))
def test_other_libraries_agree_on_whole_volumes(seed: int) -> None:
    prediction, truth = scattered(seed), scattered(seed + 10, 0.005)
    maps = [ndimage.distance_transform_edt(~volume, SPACING_MM) for volume in (truth, prediction)]
    directed = [field[volume].mean() for field, volume in zip(maps, (prediction, truth), strict=True)]
    assert average_hausdorff_mm(prediction, truth, spacing_mm=SPACING_MM) == pytest.approx(max(directed), rel=1e-9)
    tensors = [torch.from_numpy(volume)[None, None] for volume in (prediction, truth)]
    metric = SurfaceDistanceMetric(include_background=True, symmetric=True)
    expected = metric(*tensors, spacing=SPACING_MM).item()
    assert average_surface_distance_mm(prediction, truth, spacing_mm=SPACING_MM) == pytest.approx(expected, rel=1e-6)


@BOTH
def test_empty_volumes_follow_the_rule(distance_mm) -> None:
    empty, full = np.zeros(SHAPE, bool), point(3, 3, 3)
    diagonal = diagonal_mm(SHAPE, SPACING_MM)
    found = [distance_mm(*pair, spacing_mm=SPACING_MM) for pair in ((empty, empty), (empty, full), (full, empty))]
    assert found == [0, diagonal, diagonal]


@BOTH
def test_bad_input_is_named(distance_mm) -> None:
    with pytest.raises(InputError, match="must be equal"):
        distance_mm(point(1, 1, 1), point(1, 1, 1)[1:], spacing_mm=SPACING_MM)
    with pytest.raises(InputError, match="positive"):
        distance_mm(point(1, 1, 1), point(1, 1, 1), spacing_mm=(0.5, 0, 1))
