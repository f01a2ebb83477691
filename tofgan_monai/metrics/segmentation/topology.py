"""Whether a predicted vessel tree hangs together as the true one does: clDice and Betti numbers.

A DSC hardly sees a vessel that is cut through, or two that are fused; a neurologist does. Empty cases: clDice is 1
where both are empty and 0 where one is; Betti numbers of nothing are 0, so their errors need no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from scipy import ndimage
from skimage.measure import euler_number
from skimage.morphology import skeletonize

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.overlap import as_binary, bounding_box

SCORES = ("cl_dice", "betti_0_error", "betti_1_error", "betti_2_error")
TOUCHING = np.ones((3, 3, 3), bool)  # vessel voxels are neighbours by faces, edges or corners; background's by faces


def cl_dice(prediction: np.ndarray | torch.Tensor, truth: np.ndarray | torch.Tensor) -> float:
    """Centreline Dice of two binary volumes (X, Y, Z); 0 to 1, higher is better.

    The harmonic mean of the share of the prediction's centreline that lies in the truth, and of the truth's in the
    prediction. Centrelines are by thinning, in voxels, whatever their size in mm.

    Raises:
        InputError: shapes differ, are not three-dimensional, or values other than 0 and 1.

    Source: Shit et al. 2021, CVPR, arXiv:2003.07311, eq. 1 to 3.
    """
    prediction, truth = _pair(prediction, truth)
    if not prediction.any() or not truth.any():
        return float(prediction.any() == truth.any())
    box = bounding_box(prediction | truth)
    prediction, truth = prediction[box], truth[box]
    precision = _share_inside(skeletonize(prediction), truth)
    sensitivity = _share_inside(skeletonize(truth), prediction)
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def betti_numbers(volume: np.ndarray | torch.Tensor) -> tuple[int, int, int]:
    """Components, loops and cavities of a binary volume (X, Y, Z); vessel voxels touch by corners too.

    Raises:
        InputError: not three-dimensional, or values other than 0 and 1.

    Source: Hatcher 2002, Algebraic Topology, theorem 2.44: the Euler number is components - loops + cavities.
    """
    vessels, _ = _pair(volume, volume)
    if not vessels.any():
        return 0, 0, 0
    vessels = np.pad(vessels[bounding_box(vessels)], 1)
    components = ndimage.label(vessels, TOUCHING)[1]
    cavities = ndimage.label(~vessels)[1] - 1  # all that is outside is one
    return components, components + cavities - int(euler_number(vessels, connectivity=3)), cavities


def betti_errors(prediction: np.ndarray | torch.Tensor, truth: np.ndarray | torch.Tensor) -> tuple[int, int, int]:
    """Absolute differences of the two volumes' components, loops and cavities; 0 where they agree in number.

    Raises:
        InputError: see `cl_dice`.
    """
    pairs = zip(*map(betti_numbers, _pair(prediction, truth)), strict=True)
    components, loops, cavities = (abs(a - b) for a, b in pairs)
    return components, loops, cavities


class TopologyMetric(CumulativeIterationMetric):
    """clDice or one of the three Betti errors per patient, as a MONAI metric; never NaN.

    Takes binary batch-first tensors (B, 1, X, Y, Z), or lists of channel-first ones as an evaluator's decollated output
    has them; `aggregate` gives the mean over patients.

    Args:
        score: "cl_dice", "betti_0_error" (components), "betti_1_error" (loops) or "betti_2_error" (cavities).

    Raises:
        InputError: another score; more than one channel; see `cl_dice`.
    """

    def __init__(self, score: str = "cl_dice") -> None:
        super().__init__()
        if score not in SCORES:
            raise InputError(f"score {score!r} is unknown; choose one of {', '.join(SCORES)}")
        self.score = score

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        if y is None:
            raise InputError("a topology needs a truth beside the prediction")
        if y_pred.shape[1] != 1 or y.shape[1] != 1:
            raise InputError(f"{y_pred.shape[1]} and {y.shape[1]} channels; a vessel tree is one binary channel")
        scores = [self._score(prediction, truth) for prediction, truth in zip(y_pred[:, 0], y[:, 0], strict=True)]
        return torch.tensor(scores, dtype=torch.float32)[:, None]  # (B, 1)

    def _score(self, prediction: torch.Tensor, truth: torch.Tensor) -> float:
        if self.score == "cl_dice":
            return cl_dice(prediction, truth)
        return float(betti_errors(prediction, truth)[SCORES.index(self.score) - 1])

    def aggregate(self) -> torch.Tensor:
        """Mean over all patients.

        Raises:
            InputError: no patient was scored.
        """
        buffer = self.get_buffer()
        if not isinstance(buffer, torch.Tensor):
            raise InputError("no patient was scored: there is nothing to average")
        return buffer.mean()


def _pair(*volumes: np.ndarray | torch.Tensor) -> Sequence[np.ndarray]:
    prediction, truth = (as_binary(volume, name) for volume, name in zip(volumes, ("prediction", "truth"), strict=True))
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise InputError(f"volumes of shape {prediction.shape} and {truth.shape}; two equal ones (X, Y, Z) are needed")
    return prediction, truth


def _share_inside(line: np.ndarray, volume: np.ndarray) -> float:
    return float((line & volume).sum() / line.sum())
