"""The generator and the critic for 96x96 image-label pairs, as in the paper (Kossen et al. 2021).

Source: Kossen et al. 2021; Radford et al. 2016, arXiv:1511.06434.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from tofgan_monai.errors import InputError

Norm = Literal["batch", "instance", "spectral"]

_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,  # without affine weights
    "spectral": lambda channels: nn.Identity(),  # a parametrization normalises the weights instead
}


def _initialise(module: nn.Module, std: float) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, std)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, std)
        nn.init.zeros_(module.bias)


def _finish(network: nn.Module, norm: Norm, std: float) -> None:
    """Initialises the weights; then, if `norm` is "spectral", adds spectral norm to all convolutions except the last.

    The initial values would not reach the weights in the other order.
    """
    network.apply(lambda module: _initialise(module, std))
    if norm == "spectral":
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
        for convolution in convolutions[:-1]:
            spectral_norm(convolution)


def _norm(norm: Norm, channels: int) -> nn.Module:
    if norm not in _NORMS:
        raise InputError(f"norm {norm!r} is unknown; choose one of {', '.join(_NORMS)}")
    return _NORMS[norm](channels)


class Generator(nn.Sequential):
    """Network that makes pairs (B, 2, 96, 96) in [-1, 1] from latents (B, latent_dim[, 1, 1]).

    Channel 0 of a pair is the image and channel 1 the label. The network has six transposed convolutions with kernel 5
    and no bias. The edge grows 1 -> 3 -> 6 -> 12 -> 24 -> 48 -> 96 pixels; the channels decrease from 16w to w, then 2.

    Args:
        latent_dim: length of a latent.
        width: w, the number of channels of the last hidden layer; 96 in the paper.
        norm: the norm of the hidden layers, `batch` (as in the paper), `instance` or `spectral`.
        init_std: standard deviation of the initial weights.
        initial_output: mean output of the untrained network, for image and label. Pairs are mostly dark background. A
            network with a dark initial output need not learn this first; otherwise it may learn to ignore its latents.

    Raises:
        InputError: the norm is unknown.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        width: int = 96,
        norm: Norm = "batch",
        init_std: float = 0.02,
        initial_output: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        channels = [latent_dim, 16 * width, 8 * width, 4 * width, 2 * width, width]
        layers: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise(channels)):
            stride, padding, output_padding = (2, 2, 1) if i else (1, 1, 0)
            convolution = nn.ConvTranspose2d(n_in, n_out, 5, stride, padding, output_padding, bias=False)
            layers += [convolution, _norm(norm, n_out), nn.ReLU(inplace=True)]
        last = nn.ConvTranspose2d(width, 2, 5, 2, 2, 1, bias=False)
        super().__init__(*layers, last, nn.Tanh())
        self.latent_dim, self.width, self.norm, self.init_std = latent_dim, width, norm, init_std
        self.initial_output = initial_output
        _finish(self, norm, init_std)
        # Each output pixel sums 25 / 4 taps of each channel; after BatchNorm and ReLU a channel's mean is 0.4.
        last.weight.data += torch.tensor(initial_output).atanh()[:, None, None] / (6.25 * 0.4 * width)

    def forward(self, latents: Tensor) -> Tensor:
        """Returns pairs (B, 2, 96, 96) for latents (B, latent_dim[, 1, 1])."""
        x = latents.reshape(latents.shape[0], -1, 1, 1)
        for layer in self:  # not super().forward, which TorchScript cannot compile
            x = layer(x)
        return x


class MinibatchDiscrimination(nn.Module):
    """Layer that compares each sample with the rest of its batch; it maps features (B, C, H, W) to logits (B, 1).

    A logit is a weighted sum of the sample's closeness to all other samples. So the critic can recognise fakes that
    resemble one another.

    Args:
        channels: C, the number of channels of the features.
        n_closeness: the number of closeness values for each pair of samples.
        kernel_dim: the length of the vectors whose L1 distance gives one closeness value.

    Source: Salimans et al. 2016, arXiv:1606.03498, section 3.2.
    """

    def __init__(self, channels: int, n_closeness: int = 200, kernel_dim: int = 100) -> None:
        super().__init__()
        self.project = nn.Linear(channels, n_closeness * kernel_dim, bias=False)
        self.head = nn.Linear(n_closeness, 1, bias=False)
        self.kernel_dim = kernel_dim

    def forward(self, features: Tensor) -> Tensor:
        """Returns logits (B, 1) for features (B, C, H, W)."""
        rows = self.project(features.mean((2, 3))).unflatten(1, (-1, self.kernel_dim))  # (B, n_closeness, kernel_dim)
        closeness = torch.cdist(rows.transpose(0, 1), rows.transpose(0, 1), p=1).neg().exp()  # (n_closeness, B, B)
        return self.head(closeness.sum(-1).T - 1)  # without the sample's closeness to itself


class Critic(nn.Module):
    """Network that returns logits (B, 1) for pairs (B, 2, 96, 96); in the DCGAN the critic is the discriminator.

    The network has six convolutions with kernel 5, stride 2 and no bias. The edge shrinks 96 -> 48 -> 24 -> 12 -> 6 ->
    3 -> 1 pixels; the channels grow from w to 16w, then 1. There is no sigmoid, as the DCGAN's loss works on logits.

    Args:
        width: w, the number of channels of the first layer; 96 in the paper.
        norm: the norm of the layers, `batch` (DCGAN), `instance` (WGAN-GP) or `spectral` (WGAN-GP-SN). Spectral norm
            acts on all convolutions except the last.
        init_std: standard deviation of the initial weights.
        minibatch_discrimination: whether the logit of a sample also depends on its closeness to the other samples of
            its batch (see `MinibatchDiscrimination`); an option for the DCGAN.

    Raises:
        InputError: the norm is unknown.
    """

    def __init__(
        self,
        width: int = 96,
        norm: Norm = "batch",
        init_std: float = 0.02,
        minibatch_discrimination: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.norm, self.init_std = width, norm, init_std
        self.minibatch_discrimination = minibatch_discrimination
        channels = [2, width, 2 * width, 4 * width, 8 * width, 16 * width]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(channels):
            convolution = nn.Conv2d(n_in, n_out, 5, stride=2, padding=2, bias=False)
            layers += [convolution, _norm(norm, n_out), nn.LeakyReLU(0.2, inplace=True)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(16 * width, 1, 5, stride=2, padding=1, bias=False)
        _finish(self, norm, init_std)
        self.minibatch = MinibatchDiscrimination(16 * width) if minibatch_discrimination else None

    def features(self, pairs: Tensor) -> Tensor:
        """Returns the output (B, 16w, 3, 3) of the last hidden layer for pairs (B, 2, 96, 96), for feature matching."""
        return self.body(pairs)

    def forward(self, pairs: Tensor) -> Tensor:
        """Returns logits (B, 1) for pairs (B, 2, 96, 96)."""
        return self.judge(self.features(pairs))

    def judge(self, features: Tensor) -> Tensor:
        """Returns logits (B, 1) for features (B, 16w, 3, 3), which the method `features` has computed from pairs."""
        logits = self.head(features).flatten(1)
        return logits if self.minibatch is None else logits + self.minibatch(features)
