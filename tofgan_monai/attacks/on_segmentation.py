"""Attacks on a segmentation network: was it trained on this patient's patches?

Every attack gives a score for each query pair, higher = more like a member. Queries are pairs (n, 2, 96, 96), image in
[-1, 1], label in {-1, +1}, float16 or float32, on disk or in memory. Networks give logits (B, 1, 96, 96) of images
(B, 1, 96, 96), and are asked in evaluation mode.
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

CHUNK = 32


def loss_score(network: nn.Module, queries: np.ndarray) -> np.ndarray:
    """Scores (n,): minus the loss of the bundle's training, Dice and cross-entropy, of each patch by itself.

    Source: Yeom et al. 2018, arXiv:1709.01604.
    """
    return -_of_each_patch(network, queries, _training_loss)


def confidence_score(network: nn.Module, queries: np.ndarray) -> np.ndarray:
    """Scores (n,): minus the mean modified entropy of each patch's voxels, 0 where the network is sure and right.

    Source: Song and Mittal 2021, arXiv:2003.10595, eq. 8, of two classes.
    """
    return -_of_each_patch(network, queries, _modified_entropy)


def lira_score(network: nn.Module, shadows: Sequence[nn.Module], queries: np.ndarray) -> np.ndarray:
    """Scores (n,): by how many standard deviations the network is surer of a patch than networks that never saw it.

    The likelihood ratio attack, offline. A patch's confidence is exp(-cross-entropy), the geometric mean of the true
    classes' probabilities, on the logit scale; the Dice is no likelihood, and all but constant without a vessel.
    Each patch has its own mean over the shadows; the deviation is one for all, as a few shadows tell no more.

    Args:
        network: the one attacked.
        shadows: two or more, trained alike on reference patients: on no member and no non-member.
        queries: (n, 2, 96, 96).

    Raises:
        InputError: fewer than two shadows.

    Source: Carlini et al. 2022, arXiv:2112.03570, section V-C and VI-C.
    """
    if len(shadows) < 2:
        raise InputError(f"{len(shadows)} shadow networks; train two or more on reference patients")
    attacked, *others = [_of_each_patch(one, queries, _confidence) for one in (network, *shadows)]
    unseen = np.stack(others)  # (shadows, n)
    deviation = np.sqrt(unseen.var(axis=0, ddof=1).mean()) if len(attacked) else 1.0
    return (attacked - unseen.mean(axis=0)) / (deviation or 1.0)  # 0: shadows that are all the same


def weights_file(weights: str | os.PathLike) -> Path:
    """The `.pt` file that is named, or that of a bundle's name or folder."""
    return Path(weights) if Path(weights).suffix == ".pt" else bundle_path(weights) / "models" / "model.pt"


def load_unet(weights: str | os.PathLike) -> HalfUNet:
    """The half U-Net of these weights, as wide as they are.

    Args:
        weights: a `.pt` file, as a training's `best.pt`, or a segmentation bundle's name or folder.

    Raises:
        InputError: no such file or bundle, or weights of another network.
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
    """What `figure` makes of logits and labels in {0, 1}, (B, 1, 96, 96) each; (n,) in float64."""
    network = copy.deepcopy(network).eval()
    device = next(network.parameters()).device
    values = [np.empty(0)]
    for start in tqdm(range(0, len(queries), CHUNK), desc="asking the network", disable=None):
        pairs = torch.from_numpy(np.asarray(queries[start : start + CHUNK], dtype=np.float32))
        images = pairs[:, :1].to(device, memory_format=torch.channels_last)
        values.append(figure(network(images).cpu().double(), (pairs[:, 1:] > 0).double()).numpy())
    return np.concatenate(values)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean((1, 2, 3))


def _training_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """As the bundle's `loss`, of batches of one."""
    found = logits.sigmoid()
    both, sizes = (found * labels).sum((1, 2, 3)), (found + labels).sum((1, 2, 3))
    return 1 - (2 * both + 1) / (sizes + 1) + _cross_entropy(logits, labels)


def _modified_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    for_truth = torch.where(labels > 0, logits, -logits)
    # -(1 - p) log p, of the true class, and the same of the other one: its probability is 1 - p.
    return (-2 * (-for_truth).sigmoid() * F.logsigmoid(for_truth)).mean((1, 2, 3))


def _confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(-cross-entropy)."""
    return -_cross_entropy(logits, labels).clamp_min(1e-12).expm1().log()
