"""Thresholds chosen from data: the intensity baseline of a cohort, and the one that binarises generated labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tofgan_monai.errors import InputError

N_CANDIDATES = 1024
PROBABILITIES = tuple(round(0.05 * step, 2) for step in range(1, 20))  # 0.05, 0.10, ... 0.95

Volume = np.ndarray | Callable[[], np.ndarray]


@dataclass(frozen=True)
class ThresholdBaseline:
    """What thresholding alone reaches: the floor that a segmentation network has to beat.

    Attributes:
        threshold: the one intensity, shared by all heads, that gives the highest mean DSC: vessels are `image >=
            threshold`.
        dsc: the DSC of each head at that threshold.
        own_dsc: the DSC of each head at the threshold that is best for that head: a more generous floor.
    """

    threshold: float
    dsc: tuple[float, ...]
    own_dsc: tuple[float, ...]

    @property
    def mean_dsc(self) -> float:
        """Mean over heads at the shared threshold."""
        return float(np.mean(self.dsc))


def best_threshold(images: Sequence[Volume], labels: Sequence[Volume]) -> ThresholdBaseline:
    """The single global intensity threshold with the highest mean DSC over all heads, and that DSC per head.

    It is chosen on the very heads it is scored on: no threshold could do better. Exact where the heads have at most
    1,024 different vessel intensities; else the best of 1,024 of them. One head is in memory at a time if the volumes
    are given as functions that load them.

    Args:
        images: arrays of any shape, or functions without arguments that return one.
        labels: binary arrays of the same shapes, in the same order, or functions.

    Raises:
        InputError: no heads, or no vessel in any of them.
    """
    if not images or len(images) != len(labels):
        raise InputError(f"{len(images)} images and {len(labels)} labels; as many labels as images are needed")
    candidates = _candidates(images, labels)
    curves = np.stack([_dice_curve(*_load(*pair), candidates) for pair in zip(images, labels, strict=True)])
    best = int(curves.mean(axis=0).argmax())
    return ThresholdBaseline(
        float(candidates[best]), tuple(curves[:, best].tolist()), tuple(curves.max(axis=1).tolist())
    )


def dice_at(
    probability: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = PROBABILITIES
) -> tuple[float, ...]:
    """DSC at each threshold of a vessel probability, from one pass over it; vessels are `probability >= threshold`.

    Thresholds are taken in the probability's own precision, as MONAI's AsDiscrete does, and where neither prediction
    nor truth holds a vessel the DSC is 1, as in `tofgan_monai.metrics.segmentation.overlap`.

    Args:
        probability: floating point, of any shape.
        truth: of the same shape, above 0 where there is vessel.
        thresholds: ascending.

    Raises:
        InputError: shapes differ, no thresholds, or thresholds that do not ascend.
    """
    probability, label = _load(probability, truth)
    candidates = np.asarray(thresholds, dtype=probability.dtype)
    if not candidates.size or not (np.diff(candidates) > 0).all():
        raise InputError(f"thresholds {tuple(thresholds)}; give at least one, in ascending order")
    return tuple(_dice_curve(probability, label, candidates).tolist())


def _load(image: Volume, label: Volume) -> tuple[np.ndarray, np.ndarray]:
    image, label = (volume() if callable(volume) else volume for volume in (image, label))
    image, label = np.asarray(image), np.asarray(label) > 0
    if image.shape != label.shape:
        raise InputError(f"image of shape {image.shape} and label of shape {label.shape}; they must be equal")
    return image, label


def _candidates(images: Sequence[Volume], labels: Sequence[Volume]) -> np.ndarray:
    """Vessel intensities, evenly drawn: the best threshold is always one, as a lower one adds false positives alone."""
    pooled = []
    for pair in zip(images, labels, strict=True):
        image, label = _load(*pair)
        pooled.append(_thinned(image[label]))
    candidates = _thinned(np.concatenate(pooled))
    if not candidates.size:
        raise InputError("no label holds a vessel: there is no threshold to find")
    return candidates


def _thinned(values: np.ndarray) -> np.ndarray:
    values = np.unique(values)
    if values.size <= N_CANDIDATES:
        return values
    return values[np.linspace(0, values.size - 1, N_CANDIDATES).round().astype(int)]


def _dice_curve(image: np.ndarray, label: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    n_predicted = _n_from(image[image >= candidates[0]], candidates)
    n_hit = _n_from(image[label & (image >= candidates[0])], candidates)
    total = n_predicted + np.count_nonzero(label)
    return np.where(total > 0, 2 * n_hit / np.maximum(total, 1), 1.0)


def _n_from(values: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """How many values are at or above each candidate."""
    bins = np.bincount(np.searchsorted(candidates, values, side="right"), minlength=candidates.size + 1)
    return bins[::-1].cumsum()[::-1][1:]
