"""Weights of a bundle from elsewhere: tensors in one plain safetensors file, which fit the declared network.

safetensors' own reader checks offsets and sizes, but takes the last of two tensors of one name, and ignores metadata,
further keys of a tensor and the kind of blanks: enough room for a hidden text. So the header must be, byte for byte,
the one that safetensors writes of these tensors.

Source of the format: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import json
import math
from typing import Any

import safetensors.torch
import torch
from torch import nn

from tofgan_monai.exchange.inspection.problems import Problem, shown

MAX_HEADER, MAX_DIMENSIONS = 2**22, 8
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}  # no bool: a byte of 2 also means true, and would hide a bit
_METADATA = "__metadata__"
_HIDES = "could carry texts or images beside the weights; ask the sender to make the archive with `tofgan pack`"

Described = dict[str, tuple[torch.dtype, tuple[int, ...]]]


class _NotPlainError(Exception):
    """What is wrong with a file of weights, and what it could do."""

    def __init__(self, what: str, could: str = _HIDES) -> None:
        self.problem = what, could


def check_weights(file: str, data: bytes, network: nn.Module | None) -> list[Problem]:
    """Everything that is wrong with the bytes of a safetensors file, whatever these are.

    Args:
        file: its name in the messages.
        data: the whole content.
        network: the declared network, whose names, shapes and types the tensors must have; None if it cannot be made.
    """
    try:
        described = _described(data)
        if network is not None and (odd := _misfit(described, network)):
            return [Problem(file, 0, odd, "belongs to another network, perhaps a critic, which has seen patients")]
        weights = safetensors.torch.load(data)
    except _NotPlainError as error:
        return [Problem(file, 0, *error.problem)]
    except safetensors.SafetensorError as error:
        return [Problem(file, 0, f"safetensors cannot read it ({shown(str(error))})", _HIDES)]
    return [
        Problem(file, 0, f"{shown(name)[1:-1]} is not finite", "would make every prediction NaN")
        for name, value in weights.items()
        if value.is_floating_point() and not value.isfinite().all()
    ]


def _described(data: bytes) -> Described:
    """Type and shape of each tensor by its name, as the header tells them.

    Raises:
        _NotPlainError: the file is not what safetensors writes of such tensors.
    """
    size = int.from_bytes(data[:8], "little")
    if size > len(data) - 8:
        could = "could be a pickle of any code, or a part of a file; ask for the archive again"
        raise _NotPlainError("no whole safetensors file", could)
    if size > MAX_HEADER:
        raise _NotPlainError(f"a header of {size} bytes, where {MAX_HEADER} are enough", "could exhaust the memory")
    header = data[8 : 8 + size]
    try:
        entries = json.loads(header, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise _NotPlainError(f"a header that is no JSON ({shown(str(error))})", "could be any file") from error
    if not isinstance(entries, dict):
        raise _NotPlainError("a header that names no tensors")
    if _METADATA in entries:
        raise _NotPlainError("metadata in the header")
    end, described = 0, {}
    for name, entry in entries.items():
        described[name] = _tensor(name, entry)
        dtype, shape = described[name]
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        if entry["data_offsets"] != [begin, end]:
            raise _NotPlainError(f"{shown(name)} does not begin where the tensor before ends, or has another length")
    if end != len(data) - 8 - size:
        raise _NotPlainError(f"{len(data) - 8 - size} bytes of values, where the tensors have {end}")
    if list(entries) != sorted(entries, key=lambda name: (-described[name][0].itemsize, name)):
        raise _NotPlainError("tensors in another order than safetensors writes")
    if header != _padded(json.dumps(entries, separators=(",", ":")).encode()):
        raise _NotPlainError("blanks, numbers or letters in the header that safetensors writes otherwise")
    return described


def _padded(header: bytes) -> bytes:
    return header + b" " * (-len(header) % 8)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotPlainError(f"a name twice among {shown([name for name, _ in pairs])}")
    return found


def _tensor(name: str, entry: Any) -> tuple[torch.dtype, tuple[int, ...]]:
    """Type and shape of one tensor."""
    if not isinstance(entry, dict) or list(entry) != ["dtype", "shape", "data_offsets"]:
        raise _NotPlainError(f"{shown(name)} has other keys than dtype, shape, data_offsets: {shown(entry)}")
    kind, shape = entry["dtype"], entry["shape"]
    if not isinstance(kind, str) or kind not in DTYPES:
        could = f"is no type of a network's weights; the types are {', '.join(DTYPES)}"
        raise _NotPlainError(f"{shown(name)} is of the type {shown(kind)}", could)
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise _NotPlainError(f"{shown(name)} has the shape {shown(shape)}", "could exhaust the memory")
    return DTYPES[kind], tuple(shape)


def _misfit(described: Described, network: nn.Module) -> str:
    """The first name, shape or type that differs from the network's; empty if all agree."""
    expected = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in network.state_dict().items()}
    odd = [f"{shown(name)[1:-1]} is missing or one too many" for name in {*expected} ^ {*described}]
    odd += [
        f"{name} is {shown(described[name][1])} of {described[name][0]}, not {shape} of {dtype}"
        for name, (dtype, shape) in expected.items()
        if name in described and described[name] != (dtype, shape)
    ]
    return f"does not fit network_def: {min(odd)}" if odd else ""
