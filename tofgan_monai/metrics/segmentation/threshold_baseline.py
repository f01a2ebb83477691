"""The best single intensity threshold of a cohort, a baseline for networks, and the DSC at several thresholds."""

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
    """What a threshold alone achieves: a segmentation network has to be better.

    Attributes:
        threshold: the one intensity for all heads that gives the highest mean DSC; vessels are `image >= threshold`.
        dsc: the DSC of each head at that threshold.
    """

    threshold: float
    dsc: tuple[float, ...]

    @property
    def mean_dsc(self) -> float:
        """Mean DSC over the heads."""
        return float(np.mean(self.dsc))


def best_threshold(images: Sequence[Volume], labels: Sequence[Volume]) -> ThresholdBaseline:
    """The intensity threshold with the highest mean DSC over all heads, and the DSC of each head at that threshold.

    The threshold is chosen on the heads that are scored, so no other threshold is better on them. The result is exact
    if the heads have at most 1,024 different vessel intensities; otherwise it is the best of 1,024 of them. Give
    functions that load the volumes, and one head at a time is in memory.

    >>> image, label = np.array([1, 5, 7, 9]), np.array([0, 0, 1, 1])
    >>> best_threshold([image], [label])
    ThresholdBaseline(threshold=7.0, dsc=(1.0,))

    Args:
        images: arrays of any shape, or functions without arguments that return one.
        labels: arrays of the same shapes in the same order, vessels above 0, or functions.

    Raises:
        InputError: no heads, or no vessel in any head.
    """
    if not images or len(images) != len(labels):
        raise InputError(f"{len(images)} images and {len(labels)} labels; give one label for each image")
    candidates = _candidates(images, labels)
    curves = np.stack([_dice_curve(*_load(*pair), candidates) for pair in zip(images, labels, strict=True)])
    best = int(curves.mean(axis=0).argmax())
    return ThresholdBaseline(float(candidates[best]), tuple(curves[:, best].tolist()))


def dice_at(
    probability: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = PROBABILITIES
) -> tuple[float, ...]:
    """DSC at each threshold of a vessel probability, from one pass over it; vessels are `probability >= threshold`.

    A threshold is rounded to the probability's data type, as in MONAI's AsDiscrete. The DSC is 1 if neither prediction
    nor truth holds a vessel, as in `tofgan_monai.metrics.segmentation.overlap`.

    >>> dice_at(np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 1]), thresholds=(0.25, 0.5))
    (0.8, 1.0)

    Args:
        probability: floating point, of any shape.
        truth: of the same shape, vessels above 0.
        thresholds: ascending.

    Raises:
        InputError: shapes that differ, no thresholds, or thresholds that do not ascend.
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
    """Vessel intensities, evenly chosen. The best threshold is one of them: lower ones only add false positives."""
    pooled = []
    for pair in zip(images, labels, strict=True):
        image, label = _load(*pair)
        pooled.append(_thinned(image[label]))
    candidates = _thinned(np.concatenate(pooled))
    if not candidates.size:
        raise InputError("no label holds a vessel, so no threshold can be chosen; give labels with vessels")
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
