"""The half U-Net, which is the segmentation network of the paper (Kossen et al. 2021)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class _ConvBlock(nn.Sequential):
    def __init__(self, n_in: int, n_out: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(n_out, n_out, 3, padding=1),
            nn.ReLU(inplace=True),
        )


class HalfUNet(nn.Module):
    """U-Net that returns vessel logits (B, 1, H, W) for images (B, 1, H, W); H and W must be multiples of 16.

    Images may have any intensities: the first layer normalises each image to zero mean and unit variance. So images
    should have the size of the training images, 96x96. The five levels of the network have w, 2w, 4w, 8w and 16w
    channels, and two 3x3 convolutions each.

    Args:
        width: w, the number of channels of the first level; 32 in the paper (half of Ronneberger's 64).
        dropout: dropout rate between the two convolutions of each level.
        activation: module without weights that is applied to the logits. With `nn.Sigmoid()`, the network returns
            probabilities.

    Source: Livne et al. 2019, doi:10.3389/fnins.2019.00097; Ronneberger et al. 2015, arXiv:1505.04597.
    """

    def __init__(self, width: int = 32, dropout: float = 0.0, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        channels = [width * 2**level for level in range(5)]
        self.normalise = nn.InstanceNorm2d(1)
        self.down = nn.ModuleList(_ConvBlock(n_in, n_out, dropout) for n_in, n_out in pairwise([1, *channels]))
        self.up = nn.ModuleList(_ConvBlock(n + n // 2, n // 2, dropout) for n in reversed(channels[1:]))
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(width, 1, 1)
        self.activation = activation or nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """Returns the logits (B, 1, H, W) for images (B, 1, H, W), after the activation if one was given."""
        low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
        # Scale to [0, 1] first, so that the 1e-5 in the norm is small whatever the image's unit.
        x = self.normalise((image - low) / (high - low).clamp_min(1e-30))
        skips = []
        for i, block in enumerate(self.down):
            x = block(self.pool(x) if i else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = block(torch.cat([skips.pop(), self.upsample(x)], dim=1))
        return self.activation(self.head(x))
