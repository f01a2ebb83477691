"""Networks' weights: saved whole, loaded strictly, named by one digest, and what they have seen."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from tofgan_monai.errors import InputError
from tofgan_monai.files import sha256, written_whole


def save_weights(content: Any, path: str | os.PathLike) -> None:
    """Saves tensors in torch's format: the whole file, or no file where the disk is full (then an InputError)."""
    data = saved(content)  # torch.save into a file would turn a full disk into an error of its own
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def saved(content: Any) -> memoryview:
    """The content in torch's format, as the bytes of the file that `save_weights` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def to_safetensors(weights: Mapping[str, Tensor]) -> bytes:
    """The canonical file of a state dict: safetensors with contiguous tensors in a fixed order and no metadata.

    Equal names, types, shapes and values give equal bytes, in whichever file, order or memory layout they came.
    """
    whole = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()}
    return safetensors.torch.save(whole)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """The digest that names weights everywhere: SHA-256 of `to_safetensors`, as 64 hexadecimal digits.

    A data card, a stack's manifest and an audit name weights by it. It is also the SHA-256 of the archive's
    `models/model.safetensors`.
    """
    return hashlib.sha256(to_safetensors(weights)).hexdigest()


def weights_file_digest(path: str | os.PathLike) -> str:
    """The `weights_digest` of a file with a state dict; for a checkpoint, which no card names, the file's SHA-256.

    Raises:
        InputError: see `load_weights`.
    """
    content = load_weights(path)
    return weights_digest(content) if is_state_dict(content) else sha256(path)


def is_state_dict(content: Any) -> bool:
    """Whether content is a mapping of names to tensors and nothing else."""
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    )


def load_weights(path: str | os.PathLike) -> Any:
    """The content of a file that `save_weights` wrote, with its tensors on the CPU.

    Raises:
        InputError: the file is missing or truncated.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such weights; train first or name another file") from error
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise InputError(f"{path}: not readable as weights, truncated perhaps; take a whole copy") from error


def fit_weights(network: nn.Module, weights: Any, path: str | os.PathLike) -> None:
    """Loads a state dict strictly into a network.

    Raises:
        InputError: the weights belong to another network; `path` is named as their source.
    """
    try:
        network.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        first = str(error).split("\n")[1 if "\n" in str(error) else 0].strip()
        raise InputError(
            f"{path}: weights of another network than the configuration's {type(network).__name__} ({first}); "
            "use the width and norm that it was trained with"
        ) from error


def start_from(network: nn.Module, weights: str | os.PathLike | None, part: str | None = None) -> nn.Module:
    """Loads the weights in a file strictly into a network, if a file is given, and returns the network.

    Args:
        network: receives the weights.
        weights: file of the network's weights, or with `part` the `checkpoint.pt` of a training.
        part: which network of that training: `average` (of the generator's weights) or `critic`.

    Raises:
        InputError: see `load_weights`; the weights belong to another network; or the file has no such part.
    """
    if not weights:
        return network
    content = load_weights(weights)
    if part:
        if part not in content.get("state", {}):
            raise InputError(f"{weights}: holds no {part}; give the checkpoint.pt of a GAN's training")
        content = content["state"][part]
    fit_weights(network, content, weights)
    return network
