"""Networks' weights: saved whole, loaded strictly, and what they have seen."""

from __future__ import annotations

import io
import os
from typing import Any

import torch
from torch import nn

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole


def save_weights(content: Any, path: str | os.PathLike) -> None:
    """Saves tensors in torch's format, whole or not at all; a full disk is an InputError."""
    data = saved(content)  # torch.save into a file would turn a full disk into an error of its own
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def saved(content: Any) -> memoryview:
    """The bytes of the file that `save_weights` makes of it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def load_weights(path: str | os.PathLike, network: nn.Module | None = None) -> Any:
    """What `save_weights` saved, on the CPU; loaded strictly into `network` if one is given.

    Raises:
        InputError: missing or truncated file, or weights of another network.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such weights; train first or name another file") from error
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise InputError(f"{path}: not readable as weights, truncated perhaps; take a whole copy") from error
    if network is not None:
        fit_weights(network, content, path)
    return content


def fit_weights(network: nn.Module, weights: Any, path: str | os.PathLike) -> None:
    """Loads a state dict strictly.

    Raises:
        InputError: it is another network's; `path` is where it came from.
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
    """The network, with the weights loaded strictly where a file is given.

    Args:
        network: takes the weights.
        weights: a network's, or where `part` is given a training's `checkpoint.pt`.
        part: which network of the training: `average` (of the generator's weights) or `critic`.

    Raises:
        InputError: see `load_weights`; or no checkpoint of a GAN's training.
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
