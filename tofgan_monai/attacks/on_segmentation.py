"""Membership inference attacks on a segmentation network.

A query is a real image-label pair, or a window of a real head; the attack must decide whether the network was trained
on it. An attack on a 2D network has pairs (n, 2, 96, 96) as queries, an attack on a 3D network has windows
(n, 2, X, Y, Z), with the image in [-1, 1] and the label in {-1, +1}, in float16 or float32, on disk or in memory. The
networks return logits of the same shape as their images and run in evaluation mode. `figures` runs a network on the
queries. The attacks compute from these figures one score for each query, (n,). A higher score means more like a pair
of a training patient (member). A shadow model is a network that was trained like the attacked one on patients who are
neither members nor held-out patients.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from tqdm import tqdm

from tofgan_monai.errors import InputError

VOXELS = 32 * 96 * 96  # number of pixels or voxels in a batch, which always holds at least one query


class Figures(NamedTuple):
    """What a segmentation network shows on each of n queries.

    Attributes:
        loss: Dice loss plus cross-entropy, as in the training of the segmentation bundles, as if each query were a
            batch, (n,).
        entropy: mean modified entropy of the pixels or voxels, (n,); 0 if the network is certain and right in each.
        confidence: exp(-cross-entropy) on the logit scale, (n,). exp(-cross-entropy) is the geometric mean of the
            probabilities that the network gives to the true classes.
    """

    loss: np.ndarray
    entropy: np.ndarray
    confidence: np.ndarray

    def of(self, rows: np.ndarray) -> Figures:
        """Returns the figures of some queries, which are given by their indices."""
        return Figures(*(values[rows] for values in self))


@torch.no_grad()
def figures(network: nn.Module, queries: np.ndarray) -> Figures:
    """Runs a segmentation network on the queries; returns its figures, (n,) in float64 each.

    Args:
        network: the segmentation network; the function does not change it.
        queries: pairs (n, 2, 96, 96) or windows (n, 2, X, Y, Z).
    """
    network = copy.deepcopy(network).eval()
    device = next(network.parameters()).device
    layout = torch.channels_last if queries.ndim == 4 else torch.contiguous_format
    n = max(1, VOXELS // int(np.prod(queries.shape[2:])))
    found = [np.empty((3, 0))]
    for start in tqdm(range(0, len(queries), n), desc="network on patches", disable=None):
        pairs = torch.from_numpy(np.asarray(queries[start : start + n], dtype=np.float32))
        images = pairs[:, :1].to(device, memory_format=layout)
        logits, labels = network(images).cpu().double(), (pairs[:, 1:] > 0).double()
        found.append(torch.stack([of(logits, labels) for of in (_training_loss, _entropy, _confidence)]).numpy())
    return Figures(*np.concatenate(found, axis=1))


def loss_score(network: Figures) -> np.ndarray:
    """Returns the negative loss of the network on each query as its score, (n,).

    Args:
        network: figures of the attacked network.

    Source: Yeom et al. 2018, arXiv:1709.01604.
    """
    return -network.loss


def confidence_score(network: Figures) -> np.ndarray:
    """Returns the negative mean modified entropy of each query as its score, (n,).

    The score is 0 if the network is certain and right in every pixel or voxel, and negative otherwise.

    Args:
        network: figures of the attacked network.

    Source: Song and Mittal 2021, arXiv:2003.10595, eq. 8, for two classes.
    """
    return -network.entropy


def lira_score(network: Figures, shadows: Sequence[Figures]) -> np.ndarray:
    """Returns the score of each query by the offline likelihood-ratio attack (LiRA), (n,).

    The score is the network's confidence on the query minus the mean confidence of the shadow models, in standard
    deviations. The shadow models were not trained on the query. The Dice is left out of the confidence, because it is
    not a likelihood and hardly varies in patches without a vessel. Each query has its own mean over the shadow models.
    All queries share one standard deviation, because a few shadow models are too few to estimate a standard deviation
    for each query.

    Args:
        network: figures of the attacked network.
        shadows: figures of two or more shadow models on the same queries.

    Raises:
        InputError: there are fewer than two shadow models.

    Source: Carlini et al. 2022, arXiv:2112.03570, section V-C and VI-C.
    """
    if len(shadows) < 2:
        raise InputError(f"LiRA has {len(shadows)} shadow models; train two or more on reference patients (`--shadow`)")
    unseen = np.stack([shadow.confidence for shadow in shadows])  # (shadows, n)
    deviation = np.sqrt(unseen.var(axis=0, ddof=1).mean()) if unseen.size else 1.0
    # The deviation is 0 if all shadow models are equal.
    return (network.confidence - unseen.mean(axis=0)) / (deviation or 1.0)


def network_scores(network: Figures, shadows: Sequence[Figures]) -> dict[str, np.ndarray]:
    """Runs the attacks on a segmentation network; returns a dict from the attack's name to its scores (n,).

    Args:
        network: figures of the attacked network.
        shadows: figures of the shadow models on the same queries; LiRA is left out if there are fewer than two.
    """
    scores = {"loss": loss_score(network), "confidence": confidence_score(network)}
    return {**scores, "LiRA": lira_score(network, shadows)} if len(shadows) > 1 else scores


def _mean(values: Tensor) -> Tensor:
    """Returns the mean of each query, (B,)."""
    return values.mean(tuple(range(1, values.ndim)))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return _mean(F.binary_cross_entropy_with_logits(logits, labels, reduction="none"))


def _training_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the training loss of the segmentation bundles for each query, (B,), as if each query were a batch."""
    found, axes = logits.sigmoid(), tuple(range(1, logits.ndim))
    both, sizes = (found * labels).sum(axes), (found + labels).sum(axes)
    return 1 - (2 * both + 1) / (sizes + 1) + _cross_entropy(logits, labels)


def _entropy(logits: Tensor, labels: Tensor) -> Tensor:
    for_truth = torch.where(labels > 0, logits, -logits)
    # The true class has probability p. The true class and the other class each add the term -(1 - p) log p.
    return _mean(-2 * (-for_truth).sigmoid() * F.logsigmoid(for_truth))


def _confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the logit log(p / (1 - p)) of p = exp(-cross-entropy) for each query, (B,)."""
    return -_cross_entropy(logits, labels).clamp_min(1e-12).expm1().log()
