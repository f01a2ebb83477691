"""Functions that save and load the weights of networks, and compute the digest that identifies them."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from tofgan_monai.errors import InputError
from tofgan_monai.files import sha256, write_whole
from tofgan_monai.training.foreign_weights import bare_weights, described, is_state_dict, kind_of_file


def save_weights(content: Any, path: str | os.PathLike) -> None:
    """Saves an object with tensors, such as a state dict, in torch's format; the file is written whole or not at all.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    write_whole(path, saved(content))  # torch.save into a file would raise another exception for a full disk


def saved(content: Any) -> memoryview:
    """Returns an object with tensors as bytes in torch's format, the same bytes that `save_weights` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def to_safetensors(weights: Mapping[str, Tensor]) -> bytes:
    """Returns a state dict as bytes in the safetensors format, with contiguous tensors in a fixed order, no metadata.

    State dicts with equal names, types, shapes and values give equal bytes, whatever their order or memory layout.
    """
    whole = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()}
    return safetensors.torch.save(whole)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Returns the digest that identifies a state dict, the SHA-256 of `to_safetensors`, as 64 hexadecimal digits.

    Data cards, manifests of stacks and audits identify weights by this digest. It is also the SHA-256 of the file
    `models/model.safetensors` in a bundle archive.
    """
    return hashlib.sha256(to_safetensors(weights)).hexdigest()


def weights_file_digest(path: str | os.PathLike) -> str:
    """Returns the digest of a file of weights, as 64 hexadecimal digits.

    For a file with a state dict this is `weights_digest` of the state dict; for a checkpoint, it is the SHA-256 of the
    file.

    Raises:
        InputError: the file is missing or truncated.
    """
    content = load_weights(path)
    return weights_digest(content) if is_state_dict(content) else sha256(path)


def load_weights(path: str | os.PathLike) -> Any:
    """Returns the content of a file that `save_weights` wrote, with all tensors on the CPU.

    Raises:
        InputError: the file is missing or truncated, or it is of another kind, such as a TorchScript program.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "'torch.load' received a zip file"
            )  # TorchScript; the error below says so
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; train the network first, or give another file of weights") from error
    except Exception as error:  # torch raises a dozen kinds for a broken file
        if os.path.isfile(path) and (kind := kind_of_file(path)):
            raise InputError(f"{path} is {kind}") from error
        raise InputError(f"{path} cannot be read as weights, it may be truncated; copy the file again") from error


def fit_weights(network: nn.Module, weights: Any, path: str | os.PathLike) -> None:
    """Loads a state dict strictly into a network.

    Args:
        network: the network that gets the weights.
        weights: the state dict; it may be nested or its names may have a prefix, as other programs save it (see
            `bare_weights`).
        path: the file of the weights, for the message.

    Raises:
        InputError: the weights do not fit the network, or are no state dict.
    """
    weights = bare_weights(weights, network.state_dict().keys(), path)
    if not is_state_dict(weights):
        raise InputError(f"{path} holds {described(weights)}")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).split("\n")[1 if "\n" in str(error) else 0].strip()
        raise InputError(
            f"{path} holds weights that do not fit the configuration's {type(network).__name__} ({first}); set width "
            "and norm to the values that these weights were trained with"
        ) from error


def start_from(network: nn.Module, weights: str | os.PathLike | None, part: str | None = None) -> nn.Module:
    """Loads the weights in a file strictly into a network, if a file is given, and returns the network.

    Args:
        network: the network that gets the weights.
        weights: the file of the weights; with `part`, the `checkpoint.pt` of a GAN's training run. None changes
            nothing.
        part: the network in the checkpoint whose weights are loaded: "average" (the generator with averaged weights) or
            "critic".

    Raises:
        InputError: the file is missing or truncated, the file has no such part, or the weights do not fit the network.
    """
    if not weights:
        return network
    content = load_weights(weights)
    if part:
        if not isinstance(content, Mapping) or part not in content.get("state", {}):
            raise InputError(f"{weights} holds no weights {part!r}; give the checkpoint.pt of a GAN's training run")
        content = content["state"][part]
    fit_weights(network, content, weights)
    return network
