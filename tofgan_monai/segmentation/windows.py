"""Windows of heads, for the training and the validation of a 3D network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform
from monai.utils import CommonKeys
from torch import Tensor
from torch.utils.data import Dataset

from tofgan_monai.segmentation.heads import HeadSource, StoredHead
from tofgan_monai.volumes.transforms.air import BLOCK

_TRIES = 1000


class RandHeadWindow(Randomizable, Transform):
    """MONAI transform that cuts a random window from a `StoredHead`: a dict with `image` and `label`, float32.

    Both have the shape (1, *size). Where the head is smaller than the window, the image is padded with the head's
    smallest intensity and the label with 0.

    Args:
        size: size of the window in voxels.
        vessel_share: share of the windows that have a vessel voxel at their centre (next to it at a border of the
            volume). The other windows have their centre anywhere in the head.
        strip_share: share of the windows that are skull-stripped: outside the brain mask, the image has the head's
            smallest intensity, and the label is 0. The centres of these windows are in the brain. A head without a mask
            is never stripped.
    """

    def __init__(
        self, size: Sequence[int] = (96, 96, 24), vessel_share: float = 0.67, strip_share: float = 0.5
    ) -> None:
        self.size, self.vessel_share, self.strip_share = tuple(size), vessel_share, strip_share

    def __call__(self, head: StoredHead) -> dict[str, Tensor]:
        """Returns the window."""
        stripped = bool(self.R.random_sample() < self.strip_share) and head.has_mask
        on_vessel = bool(self.R.random_sample() < self.vessel_share)
        centre = self._vessel(head, stripped) if on_vessel else None
        centre = self._anywhere(head, stripped) if centre is None else centre
        starts = [
            min(max(at - edge // 2, 0), max(n - edge, 0))
            for at, edge, n in zip(centre, self.size, head.image.shape, strict=True)
        ]
        box = tuple(slice(start, start + edge) for start, edge in zip(starts, self.size, strict=True))
        image, marks = head.image[box].astype(np.float32), np.array(head.marks[box])
        if stripped:
            image[marks < 2] = head.black
            marks[marks < 2] = 0
        padding = [(0, edge - n) for edge, n in zip(self.size, image.shape, strict=True)]
        image = np.pad(image, padding, constant_values=head.black)
        label = np.pad((marks & 1).astype(np.float32), padding)
        return {CommonKeys.IMAGE: torch.from_numpy(image)[None], CommonKeys.LABEL: torch.from_numpy(label)[None]}

    def _vessel(self, head: StoredHead, stripped: bool) -> Sequence[int] | None:
        """Returns a random vessel voxel, in the brain if the head is stripped; None if none is found."""
        for _ in range(_TRIES if len(head.vessels) else 0):
            index = head.vessels[self.R.randint(len(head.vessels))]
            voxel = np.unravel_index(int(index), head.marks.shape)
            if not stripped or head.marks[voxel] & 2:
                return [int(at) for at in voxel]
        return None

    def _anywhere(self, head: StoredHead, stripped: bool) -> Sequence[int]:
        """Returns a random voxel of the head, or of the brain if the head is stripped."""
        voxel = [0, 0, 0]
        for _ in range(_TRIES):
            voxel = [int(self.R.randint(n)) for n in head.marks.shape]
            block = tuple(at // edge for at, edge in zip(voxel, BLOCK, strict=True))
            if head.marks[tuple(voxel)] & 2 if stripped else head.blocks[block]:
                break
        return voxel


class FixedWindows(Dataset):
    """Data set of `n` windows of heads that are drawn at random and are the same each time.

    Args:
        heads: the heads, which take turns.
        window: transform that cuts a window from a head.
        n: number of windows.
        seed: seed for the draws.
    """

    def __init__(
        self, heads: HeadSource, window: Callable[[StoredHead], dict[str, Any]], n: int, seed: int = 0
    ) -> None:
        self.heads, self.window, self.n, self.seed = heads, window, n, seed

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.n:
            raise IndexError(index)
        if isinstance(self.window, Randomizable):
            self.window.set_random_state(seed=int(np.random.SeedSequence([self.seed, index]).generate_state(1)[0]))
        return self.window(self.heads[index % len(self.heads)])
