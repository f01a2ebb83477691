"""Parts of the segmentation bundles: inferers for the windows that matter, and the Dice of a network on pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import Inferer
from monai.transforms import generate_spatial_bounding_box
from monai.utils import convert_to_tensor, ensure_tuple_rep
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from tofgan_monai.volumes.patch_grid import PATCH_SIZE
from tofgan_monai.volumes.transforms.air import BLOCK, has_head, head_blocks, tissue_level

_logger = logging.getLogger(__name__)
BACKGROUND_LOGIT = -20.0

Box = tuple[slice, ...]


class BrainWindowInferer(Inferer):
    """MONAI inferer that computes the logits (1, 1, X, Y, Z) of a volume from 96x96 windows of its axial slices.

    The volume must be in RAS order. In each slice, windows cover only the box around the voxels above the volume's
    minimum, and the network does not process constant windows. All other logits are -20. So the background of a
    skull-stripped volume takes no time. A batch holds windows of several slices.

    Args:
        overlap: the fraction of a window that overlaps with the next window, 0 to 0.9.
        batch_size: number of windows that the network processes at the same time.
    """

    def __init__(self, overlap: float = 0.25, batch_size: int = 16) -> None:
        self.overlap, self.batch_size = overlap, batch_size

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Returns the logits (1, 1, X, Y, Z) that the network gives for a volume `inputs` of the same shape."""
        low = float(inputs.min())
        boxes = []
        for z in range(inputs.shape[-1]):  # a box for each slice, as a brain is narrow near its top
            start, end = generate_spatial_bounding_box(inputs[0, :, :, :, z], select_fn=lambda pixels: pixels > low)
            if all(stop > begin for begin, stop in zip(start, end, strict=True)):
                boxes.append((*map(slice, start, end), slice(z, z + 1)))
        windows = _Windows(inputs, low, (PATCH_SIZE, PATCH_SIZE, 1), (self.overlap, self.overlap, 0))
        predict = partial(_on_slices, partial(network, *args, **kwargs))
        return windows.blended(boxes, predict, lambda window: bool(window.max() > window.min()), self.batch_size)


class HeadWindowInferer(Inferer):
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
        self.roi_size, self.overlap, self.batch_size = tuple(roi_size), ensure_tuple_rep(overlap, 3), batch_size

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Returns the logits (1, 1, X, Y, Z) that the network gives for a volume `inputs` of the same shape."""
        black = float(inputs.min())
        level = tissue_level(inputs, black)
        head = head_blocks(torch.as_tensor(inputs), black, level)[0, 0].nonzero().cpu()
        if not len(head):
            return torch.full_like(inputs, BACKGROUND_LOGIT)
        starts, stops = head.amin(0) * torch.tensor(BLOCK), (head.amax(0) + 1) * torch.tensor(BLOCK)
        ends = torch.minimum(stops, torch.tensor(inputs.shape[2:]))
        size = [edge or -(-int(n) // 16) * 16 for edge, n in zip(self.roi_size, ends - starts, strict=True)]
        windows = _Windows(inputs, black, size, self.overlap)
        box = tuple(map(slice, starts.tolist(), ends.tolist()))
        chosen = partial(has_head, black=black, level=level)
        predict = partial(network, *args, **kwargs)
        return windows.blended([box], predict, lambda window: bool(chosen(window[None])), self.batch_size)


class _Windows:
    """Overlapping windows of a volume (1, 1, X, Y, Z), as MONAI's `sliding_window_inference` places and weights them.

    Args:
        volume: the volume.
        black: intensity of the voxels of a window that are outside its box.
        size: size of a window in voxels, three edges.
        overlap: the fraction of a window that overlaps with the next window, for each axis.
    """

    def __init__(self, volume: Tensor, black: float, size: Sequence[int], overlap: Sequence[float]) -> None:
        self.like, self.volume = volume, convert_to_tensor(volume)
        self.black, self.size = black, tuple(size)
        self.steps = [max(int(n * (1 - share)), 1) for n, share in zip(size, overlap, strict=True)]

    def blended(
        self,
        boxes: Sequence[Box],
        predict: Callable[[Tensor], Tensor],
        chosen: Callable[[Tensor], bool],
        batch_size: int,
    ) -> Tensor:
        """Returns the mean of the windows' logits for each voxel of the boxes, and -20 for all other voxels.

        Args:
            boxes: boxes that windows cover; no two share a voxel.
            predict: function from windows (B, 1, X, Y, Z) to their logits of the same shape.
            chosen: whether a window (1, X, Y, Z) is predicted; the other windows have the logit -20.
            batch_size: number of windows that are predicted at the same time.
        """
        places = [place for box in boxes for place in self._places(box)]
        wanted = [chosen(self._cut(*place)) for place in places]
        predicted = self._predicted(
            [place for place, is_wanted in zip(places, wanted, strict=True) if is_wanted], predict, batch_size
        )
        edges = tuple(n for n in self.size if n > 1)
        gaussian = compute_importance_map(edges, "gaussian", 0.125, self.volume.device).reshape(self.size)
        background = torch.full_like(gaussian, BACKGROUND_LOGIT)
        total, weight = torch.zeros_like(self.volume[0, 0]), torch.zeros_like(self.volume[0, 0])
        for (inside, part), is_wanted in zip(places, wanted, strict=True):
            logits = next(predicted)[0] if is_wanted else background
            total[inside] += logits[part] * gaussian[part]
            weight[inside] += gaussian[part]
        result = torch.full_like(self.like, BACKGROUND_LOGIT)
        for box in boxes:
            result[0, 0][box] = total[box] / weight[box]
        return result

    def _places(self, box: Box) -> list[tuple[Box, Box]]:
        """Returns the place of each window in the volume, cut to the box, and which part of the window that is."""
        axes = []
        for side, n, step in zip(box, self.size, self.steps, strict=True):
            rest = side.stop - side.start - n  # what the first window leaves; a shorter box is in the window's middle
            firsts = [min(i * step, rest) for i in range(-(-rest // step) + 1)] if rest > 0 else [-(-rest // 2)]
            starts = [side.start + first for first in firsts]
            axes.append(
                [
                    (
                        slice(max(start, side.start), min(start + n, side.stop)),
                        slice(max(side.start - start, 0), min(side.stop - start, n)),
                    )
                    for start in starts
                ]
            )
        return [(tuple(a for a, _ in place), tuple(b for _, b in place)) for place in product(*axes)]

    def _cut(self, inside: Box, part: Box) -> Tensor:
        """Returns the window (1, X, Y, Z) of a place."""
        window = self.volume.new_full((1, *self.size), self.black)
        window[(0, *part)] = self.volume[(0, 0, *inside)]
        return window

    def _predicted(
        self, places: Sequence[tuple[Box, Box]], predict: Callable[[Tensor], Tensor], batch_size: int
    ) -> Iterator[Tensor]:
        """Yields the logits (1, X, Y, Z) of the window of each place."""
        firsts = range(0, len(places), batch_size)
        for first in tqdm(firsts, desc="windows", leave=False, disable=None):  # shown in a terminal alone
            yield from predict(torch.stack([self._cut(*place) for place in places[first : first + batch_size]]))


def _on_slices(network: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    """Returns the logits of windows (B, 1, 96, 96, 1) of slices that a network for (B, 1, 96, 96) gives."""
    return network(windows[..., 0].contiguous(memory_format=torch.channels_last))[..., None]


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
