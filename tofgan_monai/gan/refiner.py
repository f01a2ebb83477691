"""A network that gives the plain image of a simulated head the look of patients' scans; its label stays as it is.

Sources: Shrivastava et al. 2017, arXiv:1612.07828 (a refiner of simulated images, which keeps their annotations); He et
al. 2015, arXiv:1502.01852 (initial weights).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tofgan_monai.gan.latents import SimulatedLatents
from tofgan_monai.volumes.patch_grid import PATCH_SIZE

SLOPE = 0.2  # of the leaky ReLU


def _initialised(convolution: nn.Conv2d) -> nn.Conv2d:
    """Returns the convolution with He's initial weights for a leaky ReLU."""
    nn.init.kaiming_normal_(convolution.weight, SLOPE)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _convolutions(*channels: int, halve: bool = False) -> nn.Sequential:
    """Returns 3x3 convolutions with leaky ReLUs; with `halve`, the first has kernel 4 and halves the edge."""
    layers: list[nn.Module] = []
    for i in range(len(channels) - 1):
        kernel, stride = (4, 2) if halve and i == 0 else (3, 1)
        layers.append(_initialised(nn.Conv2d(channels[i], channels[i + 1], kernel, stride=stride, padding=1)))
        layers.append(nn.LeakyReLU(SLOPE, inplace=True))
    return nn.Sequential(*layers)


class Refiner(nn.Module):
    """Network that makes pairs (B, 2, 96, 96) in [-1, 1] from latents (B, 27648[, 1, 1]) of `SimulatedLatents`.

    A latent is the image, the label and the noise of a patch, each 96 x 96 values. A U-Net on three levels (48, 24 and
    12 pixels, w to 4w channels) reads all three. It predicts for each pixel a change of the image and the strength of
    the noise that is added to the image. Weights that are not trained yet change almost nothing. The label passes
    through, so it always fits the anatomy of the image. There is no norm, so pairs do not depend on the others of their
    batch.

    Args:
        width: w, the number of channels at 48 pixels.
        prior: the latents; the weights hold whether their heads are small, and their voxel size. None for the default
            ones.
    """

    __jit_unused_properties__: ClassVar = ["prior"]

    def __init__(self, width: int = 24, prior: SimulatedLatents | None = None) -> None:
        super().__init__()
        self.width, self.latent_dim = width, 3 * PATCH_SIZE**2
        self.register_buffer("small_heads", torch.zeros((), dtype=torch.uint8))  # bundles may hold no bool
        self.register_buffer("spacing_mm", torch.zeros(3))
        self.prior = prior or SimulatedLatents()
        self.top = _convolutions(12, width, width)
        self.middle = _convolutions(width, 2 * width, 2 * width, halve=True)
        self.bottom = _convolutions(2 * width, 4 * width, 4 * width, 2 * width, halve=True)
        self.middle_again = _convolutions(4 * width, 2 * width, width)
        self.top_again = _convolutions(2 * width, width, width)
        self.last = _initialised(nn.Conv2d(width, 8, 3, padding=1))
        with torch.no_grad():
            self.last.weight *= 0.01

    @property
    def prior(self) -> SimulatedLatents:
        """The latents that these weights belong to."""
        spacing = self.get_buffer("spacing_mm").tolist()
        return SimulatedLatents(small=bool(self.get_buffer("small_heads")), spacing_mm=spacing)

    @prior.setter
    def prior(self, prior: SimulatedLatents) -> None:
        self.get_buffer("small_heads").fill_(prior.small)
        self.get_buffer("spacing_mm").copy_(torch.tensor(prior.spacing_mm))

    def forward(self, latents: Tensor) -> Tensor:
        """Returns pairs (B, 2, 96, 96) for latents (B, 27648[, 1, 1])."""
        given = latents.flatten(1).unflatten(1, (3, 96, 96))
        image, label, noise = given.split(1, dim=1)
        top = self.top(F.pixel_unshuffle(given, 2))  # (B, w, 48, 48)
        middle = self.middle(top)  # (B, 2w, 24, 24)
        bottom = self.bottom(middle)  # (B, 2w, 12, 12)
        middle = self.middle_again(torch.cat([middle, _doubled(bottom)], dim=1))
        top = self.top_again(torch.cat([top, _doubled(middle)], dim=1))
        change, strength = F.pixel_shuffle(self.last(top), 2).split(1, dim=1)
        image = image + change + strength * noise
        inside = image.clamp(-1.0, 1.0)
        if self.training:
            inside = inside + 0.02 * (image - inside)  # so that a pixel out of range still has a gradient
        return torch.cat([inside, label], dim=1)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
