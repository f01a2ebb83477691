"""Membership inference attacks on a segmentation network.

A query is a real image-label pair; the attack must decide whether the network was trained on this pair. Each attack
returns one score for each of n queries, (n,). A higher score means more like a pair of a training patient (member).
Queries have shape (n, 2, 96, 96), with the image in [-1, 1] and the label in {-1, +1}, in float16 or float32, on disk
or in memory. Networks return logits (B, 1, 96, 96) for images (B, 1, 96, 96) and run in evaluation mode. A shadow model
is a network that was trained like the attacked one on patients who are neither members nor held-out patients.
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
    """Returns the negative loss of the network on each query as its score, (n,).

    The loss is Dice loss plus cross-entropy, as in the training of the segmentation bundle.

    Args:
        network: the attacked segmentation network; the function does not change it.
        queries: pairs whose membership the attack must decide, (n, 2, 96, 96).

    Source: Yeom et al. 2018, arXiv:1709.01604.
    """
    return -_of_each_patch(network, queries, _training_loss)


def confidence_score(network: nn.Module, queries: np.ndarray) -> np.ndarray:
    """Returns the negative mean modified entropy of the pixels of each query as its score, (n,).

    The score is 0 if the network is certain and right in every pixel, and negative otherwise.

    Args:
        network: the attacked segmentation network; the function does not change it.
        queries: pairs whose membership the attack must decide, (n, 2, 96, 96).

    Source: Song and Mittal 2021, arXiv:2003.10595, eq. 8, for two classes.
    """
    return -_of_each_patch(network, queries, _modified_entropy)


def lira_score(network: nn.Module, shadows: Sequence[nn.Module], queries: np.ndarray) -> np.ndarray:
    """Returns the score of each query by the offline likelihood-ratio attack (LiRA), (n,).

    The score is the network's confidence on the query minus the mean confidence of the shadow models, in standard
    deviations. The shadow models were not trained on the query. Confidence is exp(-cross-entropy) on the logit scale;
    exp(-cross-entropy) is the geometric mean of the probabilities that the network gives to the true classes. The Dice
    is left out, because it is not a likelihood and hardly varies in patches without a vessel. Each query has its own
    mean over the shadow models. All queries share one standard deviation, because a few shadow models are too few to
    estimate a standard deviation for each query.

    Args:
        network: the attacked segmentation network; the function does not change it.
        shadows: two or more shadow models, trained like the attacked network on neither members nor non-members.
        queries: pairs whose membership the attack must decide, (n, 2, 96, 96).

    Raises:
        InputError: there are fewer than two shadow models.

    Source: Carlini et al. 2022, arXiv:2112.03570, section V-C and VI-C.
    """
    if len(shadows) < 2:
        raise InputError(f"LiRA has {len(shadows)} shadow models; train two or more on reference patients (`--shadow`)")
    attacked, *others = [_of_each_patch(one, queries, _confidence) for one in (network, *shadows)]
    unseen = np.stack(others)  # (shadows, n)
    deviation = np.sqrt(unseen.var(axis=0, ddof=1).mean()) if len(attacked) else 1.0
    return (attacked - unseen.mean(axis=0)) / (deviation or 1.0)  # the deviation is 0 if all shadow models are equal


def weights_file(weights: str | os.PathLike) -> Path:
    """Returns the path of a network's weights file.

    Args:
        weights: a `.pt` file, which is returned, or the name or folder of a bundle, whose models/model.pt is returned.
    """
    return Path(weights) if Path(weights).suffix == ".pt" else bundle_path(weights) / "models" / "model.pt"


def load_unet(weights: str | os.PathLike) -> HalfUNet:
    """Returns a half U-Net with the given weights, in evaluation mode; the weights determine the width of the network.

    Args:
        weights: a `.pt` file, such as `best.pt` of a training run, or the name or folder of a segmentation bundle.

    Raises:
        InputError: there is no such file or bundle, or the file holds weights of another kind of network.
    """
    path = weights_file(weights)
    content = load_weights(path)
    try:
        network = HalfUNet(len(content["down.0.0.weight"]))
        network.load_state_dict(content)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: the file does not hold the weights of a half U-Net; give best.pt of a segmentation training or a "
            "segmentation bundle"
        ) from error
    return network.eval()


@torch.no_grad()
def _of_each_patch(network: nn.Module, queries: np.ndarray, figure: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
    """Runs a network on the queries and returns one value of `figure` for each query, (n,) in float64.

    Args:
        network: the segmentation network; the function does not change it.
        queries: image-label pairs, (n, 2, 96, 96).
        figure: function that computes (B,) values from logits and from labels in {0, 1}, (B, 1, 96, 96) each.
    """
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
    """Returns the training loss of the segmentation bundle for each patch, (B,), as if each patch were a batch."""
    found = logits.sigmoid()
    both, sizes = (found * labels).sum((1, 2, 3)), (found + labels).sum((1, 2, 3))
    return 1 - (2 * both + 1) / (sizes + 1) + _cross_entropy(logits, labels)


def _modified_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    for_truth = torch.where(labels > 0, logits, -logits)
    # The true class has probability p. The true class and the other class each add the term -(1 - p) log p.
    return (-2 * (-for_truth).sigmoid() * F.logsigmoid(for_truth)).mean((1, 2, 3))


def _confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the logit log(p / (1 - p)) of p = exp(-cross-entropy) for each patch, (B,)."""
    return -_cross_entropy(logits, labels).clamp_min(1e-12).expm1().log()
