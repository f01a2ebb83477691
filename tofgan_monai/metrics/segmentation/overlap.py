"""Functions for the overlap of a predicted and a true vessel tree: Dice (DSC) and 95% Hausdorff distance (95HD).

If the prediction or the truth has no vessel, the table below gives the scores everywhere in this package. (MONAI alone
returns NaN and leaves such patients out of the mean.)

| prediction | truth | DSC | 95HD |
|---|---|---|---|
| empty | empty | 1 | 0 mm |
| empty | vessels | 0 | the volume's diagonal in mm |
| vessels | empty | 0 | the volume's diagonal in mm |

No surface can be farther away than the length of the diagonal, so an empty prediction is never better than a wrong
prediction. Every patient counts in every mean, and the number of empty cases is reported with the mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.metrics import CumulativeIterationMetric, compute_dice, compute_hausdorff_distance
from nibabel.affines import voxel_sizes
from scipy import ndimage

from tofgan_monai.errors import InputError

PERCENTILE = 95
SCORES = ("dsc", "hd95_mm")

Volume = np.ndarray | torch.Tensor


@dataclass(frozen=True)
class Overlap:
    """DSC and 95HD of one patient; `empty` names the volume without vessels: "", "prediction", "truth" or "both"."""

    dsc: float
    hd95_mm: float
    empty: str


@dataclass(frozen=True)
class Summary:
    """Mean score over `n` patients, its sample standard deviation (None for one patient), and number of empty cases."""

    mean: float
    sd: float | None
    n: int
    n_empty: int


def summarise(scores: Sequence[float], empties: Sequence[bool]) -> Summary:
    """Returns the mean of the patients' scores, their sample standard deviation (n - 1) and the number of empty cases.

    The mean includes the empty cases (patients without a vessel in the prediction or the truth).

    >>> summarise([0.5, 0.75, 1.0], [False, False, True])
    Summary(mean=0.75, sd=0.25, n=3, n_empty=1)

    Raises:
        InputError: no score.
    """
    if not scores:
        raise InputError(
            "no patient was scored, so there is nothing to average; give the scores of at least one patient"
        )
    sd = statistics.stdev(scores) if len(scores) > 1 else None
    return Summary(statistics.fmean(scores), sd, len(scores), sum(map(bool, empties)))


def overlap(prediction: Volume, truth: Volume, *, spacing_mm: Sequence[float]) -> Overlap:
    """Returns DSC (0 to 1, higher is better) and 95HD in mm (lower is better) of two binary volumes (X, Y, Z).

    MONAI computes both. For the 95HD, MONAI takes the distance from each surface voxel of the prediction to the nearest
    surface voxel of the truth, and the 95th percentile of these distances. MONAI does the same from the truth to the
    prediction; the result is the larger of the two percentiles. Eq. 6 of the paper uses all voxels of the vessel tree
    instead of surface voxels, and an average over voxels. The two figures are similar, but their second digits cannot
    be compared.

    >>> truth, prediction = np.zeros((2, 9, 9, 9))
    >>> truth[2, 4, 4] = prediction[5, 4, 4] = 1
    >>> overlap(prediction, truth, spacing_mm=(0.5, 0.5, 0.7))
    Overlap(dsc=0.0, hd95_mm=1.5, empty='')

    Args:
        prediction: vessels as 1 or True.
        truth: the true vessels as 1 or True, of the same shape.
        spacing_mm: the edges of a voxel along X, Y and Z.

    Raises:
        InputError: shapes that differ or are not three-dimensional, or values other than 0 and 1.

    Source: Kossen et al. 2021, eq. 5 and 6; this module's docstring states the rule for empty volumes.
    """
    prediction, truth = binary_pair(prediction, truth, spacing_mm)
    empty = _what_is_empty(prediction, truth)
    if (distance_mm := distance_if_empty_mm(prediction, truth, spacing_mm)) is not None:
        return Overlap(float(empty == "both"), distance_mm, empty)
    pair, edges = as_batches(prediction, truth), [float(edge) for edge in spacing_mm]
    dsc = compute_dice(*pair, include_background=True, ignore_empty=False)
    distance = compute_hausdorff_distance(*pair, include_background=True, percentile=PERCENTILE, spacing=edges)
    return Overlap(float(dsc), float(distance), empty)


def dice(prediction: Volume, truth: Volume) -> float:
    """DSC of two binary arrays of the same shape, from 0 to 1; higher is better, and 1 if both arrays are empty.

    >>> dice(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0]))
    0.5

    Raises:
        InputError: shapes that differ, or values other than 0 and 1.
    """
    prediction, truth = as_binary(prediction, "prediction"), as_binary(truth, "truth")
    if prediction.shape != truth.shape:
        raise InputError(
            f"prediction has shape {prediction.shape} and truth has shape {truth.shape}; the shapes must be equal"
        )
    return float(compute_dice(*_batched(prediction, truth), include_background=True, ignore_empty=False))


def precision_and_recall(prediction: Volume, truth: Volume) -> tuple[float, float]:
    """Share of the prediction that is in the truth, and share of the truth that is predicted; 1 is best.

    A share of an empty volume is 1 if the other volume is empty as well, and else 0.

    >>> precision_and_recall(np.array([1, 1, 0, 1, 1]), np.array([0, 1, 1, 0, 0]))
    (0.25, 0.5)

    Raises:
        InputError: values other than 0 and 1.
    """
    prediction, truth = as_binary(prediction, "prediction"), as_binary(truth, "truth")
    both = float((prediction & truth).sum())
    if not (n_found := float(prediction.sum())) or not (n_true := float(truth.sum())):
        empty = float(prediction.sum() == truth.sum())
        return empty, empty
    return both / n_found, both / n_true


def diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Length in mm of a volume's space diagonal: the 95HD of a patient if only prediction or only truth is empty."""
    return math.hypot(*(n * edge for n, edge in zip(shape, spacing_mm, strict=True)))


class OverlapMetric(CumulativeIterationMetric):
    """MONAI metric that computes the DSC or the 95HD of each patient; never NaN, see this module's table.

    The metric takes binary tensors (B, 1, X, Y, Z), or lists of tensors (1, X, Y, Z) as in the decollated output of an
    evaluator. `aggregate` returns the mean over patients; `summary` adds standard deviation, count and number of empty
    cases. The buffer is (n, 2): for each patient the score, and 1 if prediction or truth was empty, else 0. In a
    configuration, `monai.handlers.IgniteMetricHandler` wraps this metric.

    Args:
        score: "dsc" or "hd95_mm".
        spacing_mm: voxel edges in mm of all volumes; by default the spacing of each truth, which must be a MetaTensor.

    Raises:
        InputError: another score; 95HD of plain tensors without a spacing; more than one channel; see `overlap`.
    """

    def __init__(self, score: str = "dsc", *, spacing_mm: Sequence[float] | None = None) -> None:
        super().__init__()
        if score not in SCORES:
            raise InputError(f"score {score!r} is unknown; choose one of {', '.join(SCORES)}")
        self.score = score
        self.spacing_mm = spacing_mm

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        if y is None:
            raise InputError("OverlapMetric got no truth; pass the truth as `y` after the prediction")
        if y_pred.shape[1] != 1 or y.shape[1] != 1:
            raise InputError(
                f"prediction and truth have {y_pred.shape[1]} and {y.shape[1]} channels; give one binary channel each"
            )
        rows = [self._score(y_pred[index, 0], y[index, 0], spacing_of(y, index)) for index in range(len(y))]
        return torch.tensor(rows, dtype=torch.float32)  # (B, 2)

    def _score(
        self, prediction: torch.Tensor, truth: torch.Tensor, own_spacing_mm: Sequence[float] | None
    ) -> tuple[float, float]:
        if self.score == "dsc":
            is_empty = not bool(prediction.any()) or not bool(truth.any())
            return dice(prediction, truth), float(is_empty)
        spacing_mm = self.spacing_mm or own_spacing_mm
        if spacing_mm is None:
            raise InputError(
                "the spacing is missing, which 95HD in mm needs; pass spacing_mm, or a MetaTensor as truth"
            )
        result = overlap(prediction, truth, spacing_mm=spacing_mm)
        return result.hd95_mm, float(bool(result.empty))

    def summary(self) -> Summary:
        """Summary of the scores of all patients since the last reset, from all ranks (processes)."""
        buffer = self.get_buffer()
        rows = buffer if isinstance(buffer, torch.Tensor) else torch.empty(0, 2)
        return summarise(rows[:, 0].tolist(), rows[:, 1].tolist())

    def aggregate(self) -> torch.Tensor:
        """Mean score over all patients since the last reset, with the empty cases, as a tensor ()."""
        return torch.tensor(self.summary().mean)


def spacing_of(volume: torch.Tensor, index: int = 0) -> tuple[float, ...] | None:
    """Voxel edges in mm of a MetaTensor, or of the volume number `index` in a batched one; None for a plain tensor."""
    if not isinstance(volume, MetaTensor):
        return None
    affine = volume.affine if volume.affine.ndim == 2 else volume.affine[index]
    return tuple(voxel_sizes(affine.double().cpu().numpy()).tolist())


def as_batches(prediction: np.ndarray, truth: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops two volumes to the box that holds the vessels of both, and returns them as tensors (1, 1, X, Y, Z).

    The crop changes neither the overlap nor a surface distance, and it halves the time for a whole volume.
    """
    box = bounding_box(prediction | truth)
    return _batched(prediction[box], truth[box])


def _batched(prediction: np.ndarray, truth: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = (torch.from_numpy(np.ascontiguousarray(volume))[None, None] for volume in (prediction, truth))
    return first, second


def as_binary(volume: Volume, name: str) -> np.ndarray:
    """Converts a volume of 0 and 1 to a bool array of the same shape.

    Raises:
        InputError: values other than 0 and 1; the message names the volume by the argument `name`.
    """
    array = volume.detach().cpu().numpy() if isinstance(volume, torch.Tensor) else np.asarray(volume)
    if array.dtype == bool:
        return array
    vessels = array == 1
    if not (vessels | (array == 0)).all():
        limits = f"from {array.min()} to {array.max()}"
        raise InputError(f"the {name} holds values other than 0 and 1 ({limits}); binarise it")
    return vessels


def binary_pair(
    prediction: Volume, truth: Volume, spacing_mm: Sequence[float] = (1, 1, 1)
) -> tuple[np.ndarray, np.ndarray]:
    """Checks values, shapes and spacing of prediction and truth, and returns both as bool arrays (X, Y, Z).

    Raises:
        InputError: values other than 0 and 1, shapes that differ or are not three-dimensional, a spacing that is not
            three positive numbers.
    """
    prediction, truth = as_binary(prediction, "prediction"), as_binary(truth, "truth")
    problems = []
    if prediction.shape != truth.shape:
        problems.append(
            f"prediction has shape {prediction.shape} and truth has shape {truth.shape}; the shapes must be equal"
        )
    if truth.ndim != 3 or len(spacing_mm) != 3:
        problems.append(f"the volume has {truth.ndim} dimensions and {len(spacing_mm)} spacings; give three of each")
    if not all(math.isfinite(edge) and edge > 0 for edge in spacing_mm):
        problems.append(f"spacing {tuple(spacing_mm)} mm is not positive and finite; give positive numbers")
    if problems:
        raise InputError(problems)
    return prediction, truth


def distance_if_empty_mm(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]) -> float | None:
    """Distance in mm if a volume is empty (0 for two empty volumes, else the diagonal); None if neither is empty."""
    if empty := _what_is_empty(prediction, truth):
        return 0.0 if empty == "both" else diagonal_mm(truth.shape, spacing_mm)
    return None


def _what_is_empty(prediction: np.ndarray, truth: np.ndarray) -> str:
    if prediction.any():
        return "" if truth.any() else "truth"
    return "prediction" if truth.any() else "both"


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Smallest box that holds all True voxels of a mask, as slices; the mask must have at least one True voxel."""
    return ndimage.find_objects(mask.view(np.uint8))[0]
