"""Best single intensity threshold of a cohort, as a baseline for networks; DSC at several thresholds."""

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
    """DSC that one intensity threshold reaches without a network; a segmentation network has to be better.

    Attributes:
        threshold: the intensity that gives the highest mean DSC when used for all heads; vessels are
            `image >= threshold`.
        dsc: the DSC of each head at that threshold.
    """

    threshold: float
    dsc: tuple[float, ...]


def best_threshold(images: Sequence[Volume], labels: Sequence[Volume]) -> ThresholdBaseline:
    """Searches for the intensity threshold with the highest mean DSC over all heads; returns it with each head's DSC.

    The function chooses and scores the threshold on the same heads, so no other threshold is better on these heads. The
    result is exact if the vessels of all heads have at most 1,024 different intensities. Otherwise the function tries
    1,024 of these intensities. If you give functions that load the volumes, only one head at a time is in memory.

    >>> image, label = np.array([1, 5, 7, 9]), np.array([0, 0, 1, 1])
    >>> best_threshold([image], [label])
    ThresholdBaseline(threshold=7.0, dsc=(1.0,))

    Args:
        images: one array of any shape for each head, or a function without arguments that returns this array.
        labels: one array for each head, of the image's shape, vessels above 0; or a function that returns this array.

    Raises:
        InputError: no heads, or no vessel in any head.
    """
    if not images or len(images) != len(labels):
        raise InputError(f"{len(images)} images and {len(labels)} labels were given; give one label for each image")
    candidates = _candidates(images, labels)
    curves = np.stack([_dice_curve(*_load(*pair), candidates) for pair in zip(images, labels, strict=True)])
    best = int(curves.mean(axis=0).argmax())
    return ThresholdBaseline(float(candidates[best]), tuple(curves[:, best].tolist()))


def dice_at(
    probability: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = PROBABILITIES
) -> tuple[float, ...]:
    """Tuple of the DSC at each threshold of a vessel probability map; vessels are `probability >= threshold`.

    The function reads the map once for all thresholds. It rounds each threshold to the data type of the probabilities,
    as MONAI's AsDiscrete does. The DSC is 1 if neither prediction nor truth holds a vessel, as in
    `tofgan_monai.metrics.segmentation.overlap`.

    >>> dice_at(np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 1]), thresholds=(0.25, 0.5))
    (0.8, 1.0)

    Args:
        probability: the probability of a vessel at each voxel, floating point, of any shape.
        truth: label of the same shape, vessels above 0.
        thresholds: at least one number, in ascending order.

    Raises:
        InputError: shapes that differ, no thresholds, or thresholds that do not ascend.
    """
    probability, label = _load(probability, truth)
    candidates = np.asarray(thresholds, dtype=probability.dtype)
    if not candidates.size or not (np.diff(candidates) > 0).all():
        raise InputError(
            f"thresholds {tuple(thresholds)} are empty or do not ascend; give at least one, in ascending order"
        )
    return tuple(_dice_curve(probability, label, candidates).tolist())


def _load(image: Volume, label: Volume) -> tuple[np.ndarray, np.ndarray]:
    image, label = (volume() if callable(volume) else volume for volume in (image, label))
    image, label = np.asarray(image), np.asarray(label) > 0
    if image.shape != label.shape:
        raise InputError(f"image has shape {image.shape} and label has shape {label.shape}; the shapes must be equal")
    return image, label


def _candidates(images: Sequence[Volume], labels: Sequence[Volume]) -> np.ndarray:
    """Sorted array of at most 1,024 intensities that vessels of the heads have; these are the thresholds to try.

    The best threshold is one of the vessel intensities: between two neighbouring ones, a lower threshold only adds
    false positives.
    """
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
    """Array of the number of values at or above each candidate threshold."""
    bins = np.bincount(np.searchsorted(candidates, values, side="right"), minlength=candidates.size + 1)
    return bins[::-1].cumsum()[::-1][1:]
