"""What the segmentation bundle needs beside MONAI: windows inside the brain, and a Dice of pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.inferers import SliceInferer
from monai.transforms import MapTransform, generate_spatial_bounding_box
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from tofgan_monai.volumes.patch_grid import PATCH_SIZE

_logger = logging.getLogger(__name__)
BACKGROUND_LOGIT = -20.0


class BrainWindowInferer(SliceInferer):
    """Logits (1, 1, X, Y, Z) of a volume in RAS order, from 96x96 windows of its axial slices.

    Only windows in the box round the voxels of each slice above the volume's minimum are computed, and of these only
    such as are not constant: outside a skull-stripped brain the logit is -20.

    Args:
        overlap: share of a window that it has in common with its neighbour, 0 to 0.9.
        batch_size: windows that the network sees at once.
    """

    def __init__(self, overlap: float = 0.25, batch_size: int = 16) -> None:
        super().__init__(
            roi_size=(PATCH_SIZE, PATCH_SIZE), sw_batch_size=batch_size, overlap=overlap, mode="gaussian", spatial_dim=2
        )

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """The network's logits on `inputs` (1, 1, X, Y, Z)."""
        self.cval = low = float(inputs.min())  # what a slice narrower than a window is padded with
        logits = torch.full_like(inputs, BACKGROUND_LOGIT)
        for z in range(inputs.shape[-1]):  # a box for each: near its top a brain is narrow
            start, end = generate_spatial_bounding_box(inputs[0, :, :, :, z], select_fn=lambda pixels: pixels > low)
            if all(stop > begin for begin, stop in zip(start, end, strict=True)):
                box: Any = (..., *map(slice, start, end), slice(z, z + 1))
                inside: Any = super().__call__(
                    inputs[box], lambda windows: _on_varied(network, windows), *args, **kwargs
                )
                logits[box] = inside
        return logits


def _on_varied(network: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    varied = windows.amax((1, 2, 3)) > windows.amin((1, 2, 3))
    logits = torch.full_like(windows, BACKGROUND_LOGIT)
    if varied.any():
        logits[varied] = network(windows[varied].contiguous(memory_format=torch.channels_last))
    return logits


class NameBySubjectd(MapTransform):
    """Predictions that SaveImaged names after their `subject`, where there is one: a cohort's files may share a name.

    Args:
        keys: of the predictions, MetaTensors.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary, its predictions renamed."""
        out = dict(data)
        if "subject" in out:
            for key in self.key_iterator(out):
                out[key].meta["filename_or_obj"] = f"{out['subject']}.nii.gz"
        return out


class PooledDice:
    """Callable: Dice of a network on pairs, all their voxels taken as one; a warning where it finds no vessel at all.

    Args:
        network: image (B, 1, 96, 96) to logits.
        pairs: a data set of dictionaries with `image` and `label`.
        threshold: of the probability.
        n: at most so many pairs, drawn once.
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
        """The Dice, 0 to 1; 1 where neither has a vessel."""
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
            _logger.warning(
                "the network finds no vessel at all in the validation pairs: it answers background everywhere"
            )
        return 2 * both / (found + true) if found + true else 1.0
