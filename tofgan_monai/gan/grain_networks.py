"""A generator and a critic without norms for 96x96 image-label pairs; the generator adds noise to each pixel.

The noise is the second part of a latent, so the same latent always gives the same pair. Bilinear upsampling before a
convolution, and kernels that are a multiple of their stride, leave no grid of pixels in the pairs.

Sources: Odena et al. 2016, doi:10.23915/distill.00003 (the checkerboard); Karras et al. 2019, arXiv:1812.04948,
section 3.2 (noise for each pixel); He et al. 2015, arXiv:1502.01852 (initial weights).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tofgan_monai.errors import InputError

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)
SLOPE = 0.2  # of the leaky ReLU
NOISY_EDGES = (24, 48)  # of the hidden layers that add noise; the output adds it too
NOISE_DIM = sum(edge**2 for edge in (*NOISY_EDGES, 96))


def initialised(layer: Layer, slope: float = SLOPE) -> Layer:
    """Returns the layer with He's initial weights for a leaky ReLU of this slope; 1 if no activation follows."""
    nn.init.kaiming_normal_(layer.weight, slope)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class NoisyBlock(nn.Module):
    """Layer of the generator: it doubles the edge, convolves, and adds noise; (B, n_in, h, w) -> (B, n_out, 2h, 2w).

    Args:
        n_in: the number of channels that go in.
        n_out: the number of channels that come out.
        noisy: whether a noise map is added, each channel with a strength that is learnt and starts at 0.
    """

    def __init__(self, n_in: int, n_out: int, *, noisy: bool) -> None:
        super().__init__()
        self.convolution = initialised(nn.Conv2d(n_in, n_out, 3, padding=1))
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)
        self.noisy = noisy
        self.strength = nn.Parameter(torch.zeros(n_out, 1, 1)) if noisy else None

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Returns the features for features x; the noise (B, 1, 2h, 2w) has an effect only if the layer is noisy."""
        x = self.convolution(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
        strength = self.strength
        if strength is not None:
            x = x + strength * noise
        return self.activation(x)


class GrainGenerator(nn.Module):
    """Network that makes pairs (B, 2, 96, 96) in [-1, 1] from latents (B, latent_dim[, 1, 1]), with grain.

    Channel 0 of a pair is the image and channel 1 the label. A latent is a code and then the noise: one map for each of
    the layers of 24 and 48 pixels and one for the output, 12,096 values. A linear layer makes 3x3 pixels of the
    code. Five layers double the edge bilinearly and convolve with kernel 3: 3 -> 6 -> 12 -> 24 -> 48 -> 96 pixels;
    the channels decrease from 16w to w / 2. The last convolution gives the image, the label, and for each pixel of the
    image the strength of its noise. There is no norm, so pairs do not depend on the others of their batch.

    Args:
        latent_dim: length of a latent, which is the length of a code plus 12,096.
        width: w, the number of channels at 48 pixels.
        initial_output: mean output of the untrained network, for image and label; pairs are mostly dark background.

    Raises:
        InputError: latent_dim leaves no code beside the noise.
    """

    def __init__(
        self, latent_dim: int = 100 + NOISE_DIM, width: int = 16, initial_output: tuple[float, float] = (-0.6, -0.95)
    ) -> None:
        super().__init__()
        if latent_dim <= NOISE_DIM:
            raise InputError(
                f"latent_dim = {latent_dim} leaves no code beside the noise of {NOISE_DIM} values; "
                f"give {NOISE_DIM} and the length of the code, such as {NOISE_DIM + 100}"
            )
        self.latent_dim, self.width, self.initial_output = latent_dim, width, initial_output
        self.code_dim = latent_dim - NOISE_DIM
        channels = [16 * width, 8 * width, 4 * width, 2 * width, width, max(1, width // 2)]
        self.first = initialised(nn.Linear(self.code_dim, channels[0] * 9))
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)
        edges = [6, 12, 24, 48, 96]
        self.blocks = nn.ModuleList(
            NoisyBlock(n_in, n_out, noisy=edge in NOISY_EDGES)
            for edge, (n_in, n_out) in zip(edges, pairwise(channels), strict=True)
        )
        self.last = initialised(nn.Conv2d(channels[-1], 3, 3, padding=1), slope=1.0)
        with torch.no_grad():
            self.last.weight[2] *= 0.1  # the grain starts fine
        self.last.bias = nn.Parameter(torch.tensor([*initial_output, 0.0]).atanh())

    def forward(self, latents: Tensor) -> Tensor:
        """Returns pairs (B, 2, 96, 96) for latents (B, latent_dim[, 1, 1])."""
        latents = latents.flatten(1)
        x = self.activation(self.first(latents[:, : self.code_dim])).unflatten(1, (-1, 3, 3))
        noise, start, edge = latents[:, :1], self.code_dim, 3
        for block in self.blocks:
            edge = 2 * edge
            if block.noisy:
                noise = latents[:, start : start + edge * edge].unflatten(1, (1, edge, edge))
                start += edge * edge
            x = block(x, noise)
        image, label, strength = self.last(x).split(1, dim=1)
        grain = latents[:, start:].unflatten(1, (1, edge, edge))
        return torch.cat([image + strength * grain, label], dim=1).tanh()


class PlainCritic(nn.Module):
    """Network that returns logits (B, 1) for pairs (B, 2, 96, 96); it has no norm.

    Five convolutions with kernel 4 and stride 2, each followed by a leaky ReLU: 96 -> 48 -> 24 -> 12 -> 6 -> 3 pixels;
    the channels grow from w to 16w. The kernel is a multiple of the stride, so each pixel lies in equally many windows.
    A last convolution gives the logit.

    Args:
        width: w, the number of channels of the first layer.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([2, width, 2 * width, 4 * width, 8 * width, 16 * width]):
            convolution = initialised(nn.Conv2d(n_in, n_out, 4, stride=2, padding=1))
            layers += [convolution, nn.LeakyReLU(SLOPE, inplace=True)]
        self.body = nn.Sequential(*layers)
        self.head = initialised(nn.Conv2d(16 * width, 1, 3, bias=False), slope=1.0)  # a bias cancels in pairs

    def features(self, pairs: Tensor) -> Tensor:
        """Returns the output (B, 16w, 3, 3) of the last hidden layer for pairs (B, 2, 96, 96)."""
        return self.body(pairs)

    def forward(self, pairs: Tensor) -> Tensor:
        """Returns logits (B, 1) for pairs (B, 2, 96, 96)."""
        return self.judge(self.features(pairs))

    def judge(self, features: Tensor) -> Tensor:
        """Returns logits (B, 1) for features (B, 16w, 3, 3), which the method `features` has computed from pairs."""
        return self.head(features).flatten(1)
