"""Functions that understand files of weights that other programs have written, or that say what such a file is."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

_logger = logging.getLogger(__name__)
_NESTED = ("state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_SAVE = "save the network's state_dict() by torch.save, and give that file"
_BEGINNINGS = {
    b"\x89HDF": "an HDF5 file, as Keras writes it; this package reads weights of PyTorch only",
    b"\x93NUMPY": "a NumPy array, perhaps a stack of pairs; give a file of weights",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch the file by `git lfs pull`",
}


def is_state_dict(content: Any) -> bool:
    """Whether an object is a mapping whose keys are all names and whose values are all tensors."""
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    )


def bare_weights(content: Any, names: Collection[str], path: str | os.PathLike) -> Any:
    """Returns the state dict in the content of a file; logs one line if it was nested or its names had a prefix.

    A state dict is nested if it is in a dictionary under `state_dict` or `model`. The prefixes are `module.` and
    `_orig_mod.`; they are removed only if all names are those of the network then.

    Args:
        content: content of the file.
        names: names in the network's state dict.
        path: the file, for the message.

    Returns:
        The state dict; the content itself if it holds no state dict in one of these ways.
    """
    found, where = content, ""
    while isinstance(found, Mapping) and not is_state_dict(found):
        key = next((key for key in _NESTED if isinstance(found.get(key), Mapping)), None)
        if key is None:
            return content
        found, where = found[key], f"{where}[{key!r}]"
    if not is_state_dict(found):
        return content
    plain, prefix = dict(found), ""
    while plain and (more := next((one for one in _PREFIXES if all(name.startswith(one) for name in plain)), "")):
        plain, prefix = {name.removeprefix(more): tensor for name, tensor in plain.items()}, prefix + more
    if not prefix or plain.keys() != set(names):
        plain, prefix = found, ""
    if where or prefix:
        taken = f", taken from {where}" if where else ""
        named = f", without the prefix {prefix!r} of their names" if prefix else ""
        _logger.warning("%s: the weights of another program are used%s%s", path, taken, named)
    return plain


def described(content: Any) -> str:
    """Returns a text that says what the content of a file is, where a network's state dict was expected."""
    if not isinstance(content, Mapping):
        return f"an object of type {type(content).__name__} in place of a network's state dict; {_SAVE}"
    if {"recipe", "state"} <= content.keys():
        return "the checkpoint of a training run; give the run's best.pt, or take its weights by `tofgan adopt --last`"
    keys = ", ".join(map(str, list(content)[:5])) + (", ..." if len(content) > 5 else "")
    return f"a dictionary ({keys}) without a network's state dict under {' or '.join(_NESTED)}; {_SAVE}"


def kind_of_file(path: str | os.PathLike) -> str | None:
    """Returns a text that says what a file is that torch cannot read as weights, with a remedy; None if unknown."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            return f"a TorchScript program, which contains code; {_SAVE}"
        if any(name.endswith("/data.pkl") for name in names):
            return f"a file of Python objects, such as a whole network, whose reading could run code; {_SAVE}"
        return "a zip archive; if it holds a bundle, install it by `tofgan install`"
    with open(path, "rb") as stream:
        start = stream.read(64)
    if start[8:10] == b'{"':
        return f"a safetensors file; {_SAVE} (its state dict comes from safetensors.torch.load_file)"
    if Path(path).suffix.lower() == ".onnx":
        return f"an ONNX file; {_SAVE}"
    return next((what for beginning, what in _BEGINNINGS.items() if start.startswith(beginning)), None)
