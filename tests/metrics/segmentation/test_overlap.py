"""DSC and 95HD: closed forms, MONAI as the oracle, the empty cases, anisotropic voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import DiceMetric, HausdorffDistanceMetric

from tofgan_monai import InputError, OverlapMetric, overlap
from tofgan_monai.metrics.segmentation.overlap import Overlap, diagonal_mm, dice, precision_and_recall, summarise

SPACING_MM = (0.5, 0.6, 0.7)
SHAPE = (20, 24, 16)


def blob(*corner: int, size: int = 4, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A cube of ones."""
    volume = np.zeros(shape, dtype=np.uint8)
    volume[tuple(slice(start, start + size) for start in corner)] = 1
    return volume


def random_tree(seed: int, share: float = 0.02) -> np.ndarray:
    """Scattered voxels that reach the volume's border."""
    return (np.random.default_rng(seed).random(SHAPE) < share).astype(np.uint8)


def test_same_volumes_overlap_wholly() -> None:
    assert overlap(blob(3, 3, 3), blob(3, 3, 3), spacing_mm=SPACING_MM) == Overlap(1.0, 0.0, "")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_points_lie_their_distance_apart_in_mm(axis: int) -> None:
    truth, prediction = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    truth[5, 5, 5] = True
    prediction[tuple(5 + 7 * (other == axis) for other in range(3))] = True
    result = overlap(prediction, truth, spacing_mm=SPACING_MM)
    assert result.dsc == 0
    assert result.hd95_mm == pytest.approx(7 * SPACING_MM[axis], rel=1e-6)


def test_the_larger_of_both_directions_counts() -> None:
    truth = blob(2, 2, 2)
    prediction = truth | blob(14, 18, 10)
    there = overlap(prediction, truth, spacing_mm=SPACING_MM)
    back = overlap(truth, prediction, spacing_mm=SPACING_MM)
    assert there == back
    assert there.hd95_mm > 5


@pytest.mark.parametrize("seed", range(5))
def test_monai_on_the_uncropped_volume_agrees(seed: int) -> None:
    prediction, truth = random_tree(seed), random_tree(seed + 100, share=0.005)
    tensors = [torch.from_numpy(volume)[None, None] for volume in (prediction, truth)]
    distance = HausdorffDistanceMetric(include_background=True, percentile=95)(*tensors, spacing=SPACING_MM)
    dsc = DiceMetric(include_background=True)(*tensors)
    result = overlap(prediction, truth, spacing_mm=SPACING_MM)
    assert result.hd95_mm == distance.item()
    assert result.dsc == dsc.item() == dice(prediction, truth)


def test_empty_volumes_follow_the_rule_and_are_never_nan() -> None:
    empty, full = np.zeros(SHAPE, bool), blob(3, 3, 3)
    diagonal = math.sqrt(sum((n * edge) ** 2 for n, edge in zip(SHAPE, SPACING_MM, strict=True)))
    assert diagonal_mm(SHAPE, SPACING_MM) == pytest.approx(diagonal)
    assert overlap(empty, empty, spacing_mm=SPACING_MM) == Overlap(1.0, 0.0, "both")
    assert overlap(empty, full, spacing_mm=SPACING_MM) == Overlap(0.0, pytest.approx(diagonal), "prediction")
    assert overlap(full, empty, spacing_mm=SPACING_MM) == Overlap(0.0, pytest.approx(diagonal), "truth")
    assert [dice(empty, empty), dice(empty, full), dice(full, empty)] == [1, 0, 0]
    assert precision_and_recall(empty, empty) == (1, 1)
    assert precision_and_recall(empty, full) == precision_and_recall(full, empty) == (0, 0)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="other than 0 and 1"):
        overlap(np.where(blob(1, 1, 1), 0.7, 0), blob(1, 1, 1), spacing_mm=SPACING_MM)
    with pytest.raises(InputError, match="must be equal"):
        overlap(blob(1, 1, 1), blob(1, 1, 1, shape=(20, 24, 17)), spacing_mm=SPACING_MM)
    with pytest.raises(InputError, match="positive"):
        overlap(blob(1, 1, 1), blob(1, 1, 1), spacing_mm=(0.5, 0, 0.7))
    with pytest.raises(InputError, match="unknown"):
        OverlapMetric("iou")


@pytest.mark.parametrize("score", ["dsc", "hd95_mm"])
def test_the_metric_averages_patients_and_counts_the_empty_ones(score: str) -> None:
    truths = [blob(3, 3, 3), blob(5, 5, 5), blob(2, 2, 2)]
    predictions = [blob(4, 3, 3), blob(5, 5, 5), np.zeros(SHAPE, np.uint8)]
    affine = torch.diag(torch.tensor([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0], dtype=torch.float64))
    metric = OverlapMetric(score)
    for prediction, truth in zip(predictions, truths, strict=True):  # as an evaluator's decollated output
        metric([torch.from_numpy(prediction)[None]], [MetaTensor(torch.from_numpy(truth)[None], affine=affine)])
    pairs = zip(predictions, truths, strict=True)
    expected = [getattr(overlap(prediction, truth, spacing_mm=SPACING_MM), score) for prediction, truth in pairs]
    summary = metric.summary()
    assert metric.aggregate().item() == pytest.approx(np.mean(expected), rel=1e-6)
    assert summary.sd == pytest.approx(np.std(expected, ddof=1), rel=1e-6)
    assert (summary.n, summary.n_empty) == (3, 1)
    batch = OverlapMetric(score, spacing_mm=SPACING_MM)
    batch(*(torch.from_numpy(np.stack(volumes))[:, None] for volumes in (predictions, truths)))
    assert torch.equal(batch.get_buffer(), metric.get_buffer())
    metric.reset()
    with pytest.raises(InputError, match="nothing to average"):
        metric.summary()


def test_the_metric_asks_for_a_spacing_and_one_channel() -> None:
    volume = torch.from_numpy(blob(3, 3, 3))[None, None]
    with pytest.raises(InputError, match="spacing_mm"):
        OverlapMetric("hd95_mm")(volume, volume)
    with pytest.raises(InputError, match="2 and 2 channels"):
        OverlapMetric("dsc")(volume.repeat(1, 2, 1, 1, 1), volume.repeat(1, 2, 1, 1, 1))


def test_one_patient_has_no_standard_deviation() -> None:
    summary = summarise([0.8], [False])
    assert (summary.mean, summary.sd, summary.n, summary.n_empty) == (0.8, None, 1, 0)
