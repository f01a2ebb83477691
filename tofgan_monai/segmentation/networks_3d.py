"""The 3D network that segments the vessels of whole heads, a U-Net made of MONAI's blocks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetUpBlock
from torch import Tensor, nn

from tofgan_monai.errors import InputError

_NORM = ("instance", {"affine": True})


class VesselUNet3D(nn.Module):
    """U-Net that returns vessel logits (B, 1, X, Y, Z) for images (B, 1, X, Y, Z) in RAS order.

    Images may have any intensities: the first layer normalises each image to zero mean and unit variance. So images
    should have the size of the training windows. X and Y must be multiples of `in_plane_fold` * 2^(levels - 1), and Z a
    multiple of 2^(levels - 1).

    The levels have w, 2w, 4w ... channels and two 3x3x3 convolutions each, with instance norm and leaky ReLU, as in
    MONAI's DynUNet. Each level has half the resolution of the level above. From the first to the second level, Z keeps
    its resolution if nothing is folded, as slices are thicker than pixels.

    Args:
        width: w, the number of channels of the first level.
        levels: number of levels.
        in_plane_fold: f, 1 or 2. With 2, each 2x2 block of pixels in a slice becomes four channels before the U-Net,
            and the U-Net's four channels become a 2x2 block of logits. So the first level has half the resolution of
            the image in X and Y and takes a quarter of the time.
        dropout: dropout rate after each convolution.
        activation: module without weights that is applied to the logits. With `nn.Sigmoid()`, the network returns
            probabilities.

    Raises:
        InputError: `levels` is less than 2, or `in_plane_fold` is neither 1 nor 2.

    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, for the blocks; Shi et al. 2016, arXiv:1609.05158, for
    the folding.
    """

    def __init__(
        self,
        width: int = 16,
        levels: int = 4,
        in_plane_fold: int = 2,
        dropout: float = 0.0,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if levels < 2 or in_plane_fold not in (1, 2):
            raise InputError(
                f"levels {levels}, in_plane_fold {in_plane_fold}; give 2 or more levels, and a fold 1 or 2"
            )
        self.width, self.levels, self.in_plane_fold, self.dropout = width, levels, in_plane_fold, dropout
        folded = in_plane_fold**2
        channels = [width * 2**level for level in range(levels)]
        strides = [(2, 2, in_plane_fold), *[(2, 2, 2)] * (levels - 2)]
        options: dict[str, Any] = {"kernel_size": 3, "norm_name": _NORM, "dropout": dropout or None}
        self.normalise = nn.InstanceNorm3d(1)
        self.down = nn.ModuleList(
            UnetBasicBlock(3, n_in, n_out, stride=stride, **options)
            for (n_in, n_out), stride in zip(pairwise([folded, *channels]), [(1, 1, 1), *strides], strict=True)
        )
        self.up = nn.ModuleList(
            UnetUpBlock(3, low, high, stride=1, upsample_kernel_size=stride, **options)
            for (high, low), stride in reversed(list(zip(pairwise(channels), strides, strict=True)))
        )
        self.head = nn.Conv3d(width, folded, 1)
        self.activation = activation or nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """Returns the logits (B, 1, X, Y, Z) for images (B, 1, X, Y, Z), after the activation if one was given."""
        low, high = image.amin((2, 3, 4), keepdim=True), image.amax((2, 3, 4), keepdim=True)
        # Scale to [0, 1] first, so that the 1e-5 in the norm is small whatever the image's unit.
        x = self._folded(self.normalise((image - low) / (high - low).clamp_min(1e-30)))
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = block(x, skips.pop())
        return self.activation(self._unfolded(self.head(x)))

    def _folded(self, x: Tensor) -> Tensor:
        """Returns (B, f^2, X / f, Y / f, Z) for (B, 1, X, Y, Z)."""
        f = self.in_plane_fold
        blocks = x.reshape(x.shape[0], x.shape[2] // f, f, x.shape[3] // f, f, x.shape[4])
        return blocks.permute(0, 2, 4, 1, 3, 5).reshape(x.shape[0], f * f, x.shape[2] // f, x.shape[3] // f, x.shape[4])

    def _unfolded(self, x: Tensor) -> Tensor:
        """Returns (B, 1, f X, f Y, Z) for (B, f^2, X, Y, Z)."""
        f = self.in_plane_fold
        blocks = x.reshape(x.shape[0], f, f, x.shape[2], x.shape[3], x.shape[4]).permute(0, 3, 1, 4, 2, 5)
        return blocks.reshape(x.shape[0], 1, x.shape[2] * f, x.shape[3] * f, x.shape[4])
