"""Parts of the segmentation bundles: inferers for the windows that matter, and the Dice of a network on pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.inferers import SliceInferer, SlidingWindowInferer
from monai.transforms import generate_spatial_bounding_box
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from tofgan_monai.volumes.patch_grid import PATCH_SIZE
from tofgan_monai.volumes.transforms.air import BLOCK, has_head, head_blocks, tissue_level

_logger = logging.getLogger(__name__)
BACKGROUND_LOGIT = -20.0


class BrainWindowInferer(SliceInferer):
    """MONAI inferer that computes the logits (1, 1, X, Y, Z) of a volume from 96x96 windows of its axial slices.

    The volume must be in RAS order. In each slice, windows cover only the box around the voxels above the volume's
    minimum, and the network does not process constant windows. All other logits are -20. So the background of a
    skull-stripped volume takes no time.

    Args:
        overlap: the fraction of a window that overlaps with the next window, 0 to 0.9.
        batch_size: number of windows that the network processes at the same time.
    """

    def __init__(self, overlap: float = 0.25, batch_size: int = 16) -> None:
        super().__init__(
            roi_size=(PATCH_SIZE, PATCH_SIZE), sw_batch_size=batch_size, overlap=overlap, mode="gaussian", spatial_dim=2
        )

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Returns the logits (1, 1, X, Y, Z) that the network gives for a volume `inputs` of the same shape."""
        self.cval = low = float(inputs.min())  # the padding of a slice that is narrower than a window
        logits = torch.full_like(inputs, BACKGROUND_LOGIT)
        for z in range(inputs.shape[-1]):  # a box for each slice, as a brain is narrow near its top
            start, end = generate_spatial_bounding_box(inputs[0, :, :, :, z], select_fn=lambda pixels: pixels > low)
            if all(stop > begin for begin, stop in zip(start, end, strict=True)):
                box: Any = (..., *map(slice, start, end), slice(z, z + 1))
                inside: Any = super().__call__(inputs[box], partial(_on_varied, network), *args, **kwargs)
                logits[box] = inside
        return logits


class HeadWindowInferer(SlidingWindowInferer):
    """MONAI inferer that computes the logits (1, 1, X, Y, Z) of a volume from overlapping 3D windows.

    Windows cover only the box around the head, or around the brain of a skull-stripped volume, and the network does not
    process windows of air (see `head_blocks`). All other logits are -20. A volume that is smaller than a window is
    padded with its minimum.

    Args:
        roi_size: size of a window in voxels. An edge of 0 spans the box, and is rounded up to a multiple of 16.
        overlap: the fraction of a window that overlaps with the next window, for all axes or for each axis.
        batch_size: number of windows that the network processes at the same time.
    """

    def __init__(
        self, roi_size: Sequence[int] = (96, 96, 24), overlap: float | Sequence[float] = 0.25, batch_size: int = 2
    ) -> None:
        super().__init__(roi_size=tuple(roi_size), sw_batch_size=batch_size, overlap=overlap, mode="gaussian")
        self.window = tuple(roi_size)

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Returns the logits (1, 1, X, Y, Z) that the network gives for a volume `inputs` of the same shape."""
        self.cval = black = float(inputs.min())
        level = tissue_level(inputs, black)
        logits = torch.full_like(inputs, BACKGROUND_LOGIT)
        head = head_blocks(torch.as_tensor(inputs), black, level)[0, 0].nonzero().cpu()
        if len(head):
            starts, stops = head.amin(0) * torch.tensor(BLOCK), (head.amax(0) + 1) * torch.tensor(BLOCK)
            box: Any = (..., *map(slice, starts.tolist(), stops.tolist()))
            edges = inputs[box].shape[2:]
            self.roi_size = [edge or -(-n // 16) * 16 for edge, n in zip(self.window, edges, strict=True)]
            predict = partial(_on_some, network, partial(has_head, black=black, level=level))
            inside: Any = super().__call__(inputs[box], predict, *args, **kwargs)
            logits[box] = inside
        return logits


def _on_some(network: Callable[[Tensor], Tensor], chosen: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    """Returns the logits of windows (B, 1, X, Y, Z); windows that are not chosen get the logit -20."""
    which = chosen(windows)
    logits = torch.full_like(windows, BACKGROUND_LOGIT)
    if which.any():
        logits[which] = network(windows[which])
    return logits


def _on_varied(network: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    """Returns the logits of windows (B, 1, 96, 96); constant windows get the logit -20 without the network."""
    varied = windows.amax((1, 2, 3)) > windows.amin((1, 2, 3))
    logits = torch.full_like(windows, BACKGROUND_LOGIT)
    if varied.any():
        logits[varied] = network(windows[varied].contiguous(memory_format=torch.channels_last))
    return logits


class PooledDice:
    """Computes the Dice between a network's predictions and the labels of pairs, with the pixels of all pairs pooled.

    An instance is a function without arguments that returns the Dice of the network's present weights. It logs a
    warning if the network finds no vessel in any pair. The pairs are patches of slices or windows of volumes.

    Args:
        network: network from images (B, 1, 96, 96) or (B, 1, X, Y, Z) to logits of the same shape.
        pairs: data set of dictionaries with `image` and `label`.
        threshold: the vessel probability above which a pixel is vessel.
        n: the largest number of pairs that are used; these are drawn once, at the beginning.
        seed: seed for the draw of the pairs.
        batch_size: number of pairs that the network processes at the same time.
    """

    def __init__(
        self,
        network: nn.Module,
        pairs: Dataset,
        *,
        threshold: float = 0.5,
        n: int = 512,
        seed: int = 0,
        batch_size: int = 32,
    ) -> None:
        total = len(pairs)  # type: ignore[arg-type]
        which = np.random.default_rng(seed).permutation(total)[:n]
        self.network, self.loader = network, DataLoader(Subset(pairs, which.tolist()), batch_size=batch_size)
        self.logit = float(np.log(threshold / (1 - threshold)))

    @torch.no_grad()
    def __call__(self) -> float:
        """Returns the Dice, from 0 to 1; it is 1 if neither the predictions nor the labels have a vessel."""
        training, device = self.network.training, next(self.network.parameters()).device
        self.network.eval()
        both = found = true = 0.0
        for batch in self.loader:
            image = batch["image"].to(device)
            if image.ndim == 4:
                image = image.contiguous(memory_format=torch.channels_last)
            prediction, label = self.network(image).cpu() > self.logit, batch["label"] > 0
            both += float((prediction & label).sum())
            found += float(prediction.sum())
            true += float(label.sum())
        self.network.train(training)
        if true and not found:
            _logger.warning("the network finds no vessel in the validation pairs; train longer or check the labels")
        return 2 * both / (found + true) if found + true else 1.0
