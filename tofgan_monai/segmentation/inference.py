"""Inference parts of the segmentation bundle that MONAI lacks: windows inside the brain, and the Dice of pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.inferers import SliceInferer
from monai.transforms import generate_spatial_bounding_box
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from tofgan_monai.volumes.patch_grid import PATCH_SIZE

_logger = logging.getLogger(__name__)
BACKGROUND_LOGIT = -20.0


class BrainWindowInferer(SliceInferer):
    """Computes the logits (1, 1, X, Y, Z) of a volume in RAS order from 96x96 windows of its axial slices.

    In each slice, windows are computed only in the box round the voxels above the volume's minimum, and constant
    windows are skipped. All other logits are -20, so that the outside of a skull-stripped brain costs nothing.

    Args:
        overlap: the share of a window that overlaps with its neighbour, 0 to 0.9.
        batch_size: number of windows that the network processes at once.
    """

    def __init__(self, overlap: float = 0.25, batch_size: int = 16) -> None:
        super().__init__(
            roi_size=(PATCH_SIZE, PATCH_SIZE), sw_batch_size=batch_size, overlap=overlap, mode="gaussian", spatial_dim=2
        )

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """The network's logits (1, 1, X, Y, Z) for `inputs` of the same shape."""
        self.cval = low = float(inputs.min())  # the padding of a slice that is narrower than a window
        logits = torch.full_like(inputs, BACKGROUND_LOGIT)
        for z in range(inputs.shape[-1]):  # a box for each slice, as a brain is narrow near its top
            start, end = generate_spatial_bounding_box(inputs[0, :, :, :, z], select_fn=lambda pixels: pixels > low)
            if all(stop > begin for begin, stop in zip(start, end, strict=True)):
                box: Any = (..., *map(slice, start, end), slice(z, z + 1))
                inside: Any = super().__call__(inputs[box], partial(_on_varied, network), *args, **kwargs)
                logits[box] = inside
        return logits


def _on_varied(network: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    """The logits of windows (B, 1, 96, 96); the network does not process constant windows."""
    varied = windows.amax((1, 2, 3)) > windows.amin((1, 2, 3))
    logits = torch.full_like(windows, BACKGROUND_LOGIT)
    if varied.any():
        logits[varied] = network(windows[varied].contiguous(memory_format=torch.channels_last))
    return logits


class PooledDice:
    """A callable that returns the Dice of a network on pairs, with the voxels of all pairs pooled.

    It logs a warning if the network finds no vessel in any pair.

    Args:
        network: from images (B, 1, 96, 96) to logits.
        pairs: a data set of dictionaries with `image` and `label`.
        threshold: of the probability.
        n: largest number of pairs, which are drawn once.
        seed: of the draw.
    """

    def __init__(
        self, network: nn.Module, pairs: Dataset, *, threshold: float = 0.5, n: int = 512, seed: int = 0
    ) -> None:
        total = len(pairs)  # type: ignore[arg-type]
        which = np.random.default_rng(seed).permutation(total)[:n]
        self.network, self.loader = network, DataLoader(Subset(pairs, which.tolist()), batch_size=32)
        self.logit = float(np.log(threshold / (1 - threshold)))

    @torch.no_grad()
    def __call__(self) -> float:
        """The Dice, 0 to 1; 1 if neither predictions nor labels have a vessel."""
        training, device = self.network.training, next(self.network.parameters()).device
        self.network.eval()
        both = found = true = 0.0
        for batch in self.loader:
            image = batch["image"].to(device, memory_format=torch.channels_last)
            prediction, label = self.network(image).cpu() > self.logit, batch["label"] > 0
            both += float((prediction & label).sum())
            found += float(prediction.sum())
            true += float(label.sum())
        self.network.train(training)
        if true and not found:
            _logger.warning("the network finds no vessel at all in the validation pairs: it predicts background only")
        return 2 * both / (found + true) if found + true else 1.0
