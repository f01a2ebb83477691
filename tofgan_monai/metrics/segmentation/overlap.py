"""Overlap of a predicted and a true vessel tree: Dice (DSC) and the 95th percentile of the Hausdorff distance (95HD).

The empty-case rule, the same everywhere in this package (MONAI alone gives NaN and leaves such patients out of the
mean):

| prediction | truth | DSC | 95HD |
|---|---|---|---|
| empty | empty | 1 | 0 mm |
| empty | vessels | 0 | the volume's diagonal in mm |
| vessels | empty | 0 | the volume's diagonal in mm |

No surface can be farther away than the diagonal, so an empty prediction is never better than a wrong one. Every patient
counts in every mean, and the number of empty ones stands beside it.
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

from tofgan_monai.errors import InputError

PERCENTILE = 95
SCORES = ("dsc", "hd95_mm")


@dataclass(frozen=True)
class Overlap:
    """Scores of one patient; `empty` names what held no vessel: "", "prediction", "truth" or "both"."""

    dsc: float
    hd95_mm: float
    empty: str


@dataclass(frozen=True)
class Summary:
    """Mean over `n` patients with the sample standard deviation (None for one patient) and the count of empty cases."""

    mean: float
    sd: float | None
    n: int
    n_empty: int


def summarise(scores: Sequence[float], empties: Sequence[bool]) -> Summary:
    """Mean, sample standard deviation (n - 1), count and number of empty cases; empty cases are in the mean.

    Raises:
        InputError: no score.
    """
    if not scores:
        raise InputError("no patient was scored: there is nothing to average")
    sd = statistics.stdev(scores) if len(scores) > 1 else None
    return Summary(statistics.fmean(scores), sd, len(scores), sum(map(bool, empties)))


def overlap(
    prediction: np.ndarray | torch.Tensor, truth: np.ndarray | torch.Tensor, *, spacing_mm: Sequence[float]
) -> Overlap:
    """DSC (0 to 1, higher is better) and 95HD in mm (lower is better) of two binary volumes (X, Y, Z).

    Both come from MONAI. Its 95HD takes, for each surface voxel of one, the distance to the nearest surface voxel of
    the other, the 95th percentile of these distances, the same the other way round, and the larger of the two. The
    paper's eq. 6 speaks of all voxels of the vessel tree, not of surface voxels only, and of an average over voxels:
    figures of the two are alike in form, not comparable in the second digit.

    Args:
        prediction: vessels as 1 or True.
        truth: the same, of the same shape.
        spacing_mm: the edges of a voxel along X, Y and Z.

    Raises:
        InputError: shapes differ, or values other than 0 and 1.

    Source: Kossen et al. 2021, eq. 5 and 6; the empty cases are decided in this module's docstring.
    """
    prediction, truth = as_binary(prediction, "prediction"), as_binary(truth, "truth")
    check_geometry(prediction.shape, truth.shape, spacing_mm)
    empty = _what_is_empty(prediction, truth)
    if empty == "both":
        return Overlap(1.0, 0.0, empty)
    if empty:
        return Overlap(0.0, diagonal_mm(truth.shape, spacing_mm), empty)
    # Outside the box that holds both, neither score can change: halves the time on a whole volume.
    box = bounding_box(prediction | truth)
    pair = _batched(prediction[box], truth[box])
    dsc = compute_dice(*pair, include_background=True, ignore_empty=False)
    distance = compute_hausdorff_distance(
        *pair, include_background=True, percentile=PERCENTILE, spacing=[float(edge) for edge in spacing_mm]
    )
    return Overlap(float(dsc), float(distance), empty)


def dice(prediction: np.ndarray | torch.Tensor, truth: np.ndarray | torch.Tensor) -> float:
    """DSC of two binary arrays of the same shape, by the same rule and without the cost of a distance.

    Raises:
        InputError: shapes differ, or values other than 0 and 1.
    """
    prediction, truth = as_binary(prediction, "prediction"), as_binary(truth, "truth")
    if prediction.shape != truth.shape:
        raise InputError(f"prediction of shape {prediction.shape} and truth of shape {truth.shape}; they must be equal")
    return float(compute_dice(*_batched(prediction, truth), include_background=True, ignore_empty=False))


def diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Length of the volume's space diagonal: the 95HD of a patient of whom prediction or truth is empty."""
    return math.hypot(*(n * edge for n, edge in zip(shape, spacing_mm, strict=True)))


class OverlapMetric(CumulativeIterationMetric):
    """DSC or 95HD per patient as a MONAI metric, by the empty-case rule of this module; never NaN.

    Takes binary batch-first tensors (B, 1, X, Y, Z), or lists of channel-first ones as an evaluator's decollated output
    has them. `aggregate` gives the mean over patients, `summary` also standard deviation, count and number of empty
    cases. The buffer is (n, 2): the score, and 1 where prediction or truth was empty. In a config,
    `monai.handlers.IgniteMetricHandler` carries it.

    Args:
        score: "dsc" or "hd95_mm".
        spacing_mm: of all volumes; by default each truth's own, from its MetaTensor.

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
            raise InputError("an overlap needs a truth beside the prediction")
        if y_pred.shape[1] != 1 or y.shape[1] != 1:
            raise InputError(f"{y_pred.shape[1]} and {y.shape[1]} channels; a vessel tree is one binary channel")
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
            raise InputError("95HD in mm needs the voxels' spacing: pass spacing_mm, or a truth that is a MetaTensor")
        result = overlap(prediction, truth, spacing_mm=spacing_mm)
        return result.hd95_mm, float(bool(result.empty))

    def summary(self) -> Summary:
        """Mean, standard deviation, count and number of empty cases of all patients so far, over all ranks."""
        buffer = self.get_buffer()
        if not isinstance(buffer, torch.Tensor):
            raise InputError("no patient was scored: there is nothing to average")
        return summarise(buffer[:, 0].tolist(), buffer[:, 1].tolist())

    def aggregate(self) -> torch.Tensor:
        """Mean over all patients, empty cases included."""
        return torch.tensor(self.summary().mean)


def spacing_of(volume: torch.Tensor, index: int = 0) -> tuple[float, ...] | None:
    """Voxel edges in mm of a MetaTensor, or of one of a batch; None for a plain tensor."""
    if not isinstance(volume, MetaTensor):
        return None
    affine = volume.affine if volume.affine.ndim == 2 else volume.affine[index]
    return tuple(float(edge) for edge in torch.linalg.norm(affine[:3, :3].double(), dim=0))


def _batched(prediction: np.ndarray, truth: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = (torch.from_numpy(np.ascontiguousarray(volume))[None, None] for volume in (prediction, truth))
    return first, second  # (1, 1, X, Y, Z) each


def as_binary(volume: np.ndarray | torch.Tensor, name: str) -> np.ndarray:
    """The volume as bool; InputError where it holds other values than 0 and 1."""
    array = volume.detach().cpu().numpy() if isinstance(volume, torch.Tensor) else np.asarray(volume)
    if array.dtype == bool:
        return array
    vessels = array == 1
    if not (vessels | (array == 0)).all():
        raise InputError(
            f"the {name} holds values other than 0 and 1 (from {array.min()} to {array.max()}); binarise it"
        )
    return vessels


def check_geometry(prediction: tuple[int, ...], truth: tuple[int, ...], spacing_mm: Sequence[float]) -> None:
    """Raises InputError where shapes differ, or are not three-dimensional with three positive spacings."""
    problems = []
    if prediction != truth:
        problems.append(f"prediction of shape {prediction} and truth of shape {truth}; they must be equal")
    if len(truth) != 3 or len(spacing_mm) != 3:
        problems.append(f"a volume of {len(truth)} dimensions and {len(spacing_mm)} spacings; three of each are needed")
    if not all(math.isfinite(edge) and edge > 0 for edge in spacing_mm):
        problems.append(f"spacing {tuple(spacing_mm)} mm; positive numbers are needed")
    if problems:
        raise InputError(problems)


def _what_is_empty(prediction: np.ndarray, truth: np.ndarray) -> str:
    if prediction.any():
        return "" if truth.any() else "truth"
    return "prediction" if truth.any() else "both"


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds all True voxels of a mask that has some."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(box)
