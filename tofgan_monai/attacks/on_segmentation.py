"""Membership inference attacks on a segmentation network: was it trained on this patient's patches?

Each attack gives a score (n,) to each query pair; a higher score means more like a training patient's (member's) pair.
Queries are pairs (n, 2, 96, 96) with the image in [-1, 1] and the label in {-1, +1}, float16 or float32, on disk or in
memory. Networks return logits (B, 1, 96, 96) for images (B, 1, 96, 96) and run in evaluation mode.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from tqdm import tqdm

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.errors import InputError
from tofgan_monai.segmentation.networks import HalfUNet
from tofgan_monai.training.weights import load_weights

CHUNK = 32  # pairs in a batch


def loss_score(network: nn.Module, queries: np.ndarray) -> np.ndarray:
    """Scores (n,): minus the network's loss on each patch, Dice plus cross-entropy as in the bundle's training.

    Source: Yeom et al. 2018, arXiv:1709.01604.
    """
    return -_of_each_patch(network, queries, _training_loss)


def confidence_score(network: nn.Module, queries: np.ndarray) -> np.ndarray:
    """Scores (n,): minus the mean modified entropy of each patch's pixels; 0 where the network is certain and right.

    Source: Song and Mittal 2021, arXiv:2003.10595, eq. 8, for two classes.
    """
    return -_of_each_patch(network, queries, _modified_entropy)


def lira_score(network: nn.Module, shadows: Sequence[nn.Module], queries: np.ndarray) -> np.ndarray:
    """Scores (n,) of the offline likelihood-ratio attack (LiRA), in standard deviations above the shadow models.

    The score says how much more confident the network is of a patch than networks that never saw the patch. The
    confidence is exp(-cross-entropy), which is the geometric mean of the true classes' probabilities, on the logit
    scale. The Dice is left out: it is no likelihood and hardly varies without a vessel. Each patch has its own mean
    over the shadow models. All patches share one standard deviation, because few shadow models cannot tell more.

    Args:
        network: the attacked network.
        shadows: two or more shadow models, trained alike on reference patients: on no member and no non-member.
        queries: (n, 2, 96, 96).

    Raises:
        InputError: fewer than two shadow models.

    Source: Carlini et al. 2022, arXiv:2112.03570, section V-C and VI-C.
    """
    if len(shadows) < 2:
        raise InputError(f"{len(shadows)} shadow models; train two or more on reference patients")
    attacked, *others = [_of_each_patch(one, queries, _confidence) for one in (network, *shadows)]
    unseen = np.stack(others)  # (shadows, n)
    deviation = np.sqrt(unseen.var(axis=0, ddof=1).mean()) if len(attacked) else 1.0
    return (attacked - unseen.mean(axis=0)) / (deviation or 1.0)  # the deviation is 0 if all shadow models are equal


def weights_file(weights: str | os.PathLike) -> Path:
    """The path of weights: the named `.pt` file, or models/model.pt of a bundle given by name or folder."""
    return Path(weights) if Path(weights).suffix == ".pt" else bundle_path(weights) / "models" / "model.pt"


def load_unet(weights: str | os.PathLike) -> HalfUNet:
    """The half U-Net with the given weights; they determine its width.

    Args:
        weights: a `.pt` file, such as a training's `best.pt`, or the name or folder of a segmentation bundle.

    Raises:
        InputError: there is no such file or bundle, or the weights belong to another network.
    """
    path = weights_file(weights)
    content = load_weights(path)
    try:
        network = HalfUNet(len(content["down.0.0.weight"]))
        network.load_state_dict(content)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{path}: not the weights of a half U-Net; give a training's best.pt or a bundle") from error
    return network.eval()


@torch.no_grad()
def _of_each_patch(network: nn.Module, queries: np.ndarray, figure: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
    """The figure (n,) in float64 of each patch, computed from logits and labels in {0, 1}, (B, 1, 96, 96) each."""
    network = copy.deepcopy(network).eval()
    device = next(network.parameters()).device
    values = [np.empty(0)]
    for start in tqdm(range(0, len(queries), CHUNK), desc="network on patches", disable=None):
        pairs = torch.from_numpy(np.asarray(queries[start : start + CHUNK], dtype=np.float32))
        images = pairs[:, :1].to(device, memory_format=torch.channels_last)
        values.append(figure(network(images).cpu().double(), (pairs[:, 1:] > 0).double()).numpy())
    return np.concatenate(values)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean((1, 2, 3))


def _training_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The training loss of the segmentation bundle, (B,), as for batches of one patch."""
    found = logits.sigmoid()
    both, sizes = (found * labels).sum((1, 2, 3)), (found + labels).sum((1, 2, 3))
    return 1 - (2 * both + 1) / (sizes + 1) + _cross_entropy(logits, labels)


def _modified_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    for_truth = torch.where(labels > 0, logits, -logits)
    # The true class, of probability p, and the other class add the same term, -(1 - p) log p.
    return (-2 * (-for_truth).sigmoid() * F.logsigmoid(for_truth)).mean((1, 2, 3))


def _confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """The logit log(p / (1 - p)) of p = exp(-cross-entropy)."""
    return -_cross_entropy(logits, labels).clamp_min(1e-12).expm1().log()
