"""Weights of a bundle from elsewhere: tensors in one plain safetensors file, which fit the declared network.

The reader of safetensors checks offsets and sizes. But of two tensors of one name it takes the last, and it ignores
metadata, further keys of a tensor, and the kind of blanks behind the header: a text could hide there. So the header
must be, byte for byte, the one that safetensors writes of these tensors.

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

Described = dict[str, tuple[str, list[int]]]  # by name: safetensors' word for the type, and the shape


class _NotPlainError(Exception):
    """The problem that ends the check of a file of weights."""

    def __init__(self, what: str, could: str = _HIDES) -> None:
        self.problem = what, could


def check_weights(file: str, data: bytes, network: nn.Module | None) -> list[Problem]:
    """Everything that is wrong with the content of a safetensors file; the content may be any bytes.

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
    """Type and shape of each tensor in a safetensors file that holds nothing else.

    Raises:
        _NotPlainError: the file holds something else, too, or is none.
    """
    size = int.from_bytes(data[:8], "little")
    header, values = data[8 : 8 + size], len(data) - 8 - size
    if values < 0:
        could = "could be a pickle of any code, or a part of a file; ask for the archive again"
        raise _NotPlainError("no whole safetensors file", could)
    if size > MAX_HEADER:
        raise _NotPlainError(f"a header of {size} bytes, where {MAX_HEADER} are enough", "could exhaust the memory")
    try:
        entries = json.loads(header, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise _NotPlainError(f"a header that is no JSON ({shown(str(error))})", "could be any file") from error
    if not isinstance(entries, dict) or _METADATA in entries:
        raise _NotPlainError("metadata in the header" if _METADATA in entries else "a header that names no tensors")
    described = {name: _tensor(name, entry) for name, entry in entries.items()}
    expected, end = _header(described)
    if header != expected:
        raise _NotPlainError("gaps, overlaps, another order, blanks or notes in the header")
    if values != end:
        raise _NotPlainError(f"{values} bytes of values, where the tensors have {end}")
    return described


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NotPlainError(f"a name twice among {shown([name for name, _ in pairs])}")
    return found


def _tensor(name: str, entry: Any) -> tuple[str, list[int]]:
    """Type and shape in a tensor's entry of the header."""
    kind, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
    if not isinstance(kind, str) or kind not in DTYPES:
        could = f"is no type of a network's weights; the types are {', '.join(DTYPES)}"
        raise _NotPlainError(f"{shown(name)} is of the type {shown(kind)}", could)
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise _NotPlainError(f"{shown(name)} has the shape {shown(shape)}", "could exhaust the memory")
    return kind, shape


def _header(described: Described) -> tuple[bytes, int]:
    """The header that safetensors writes of such tensors, and the number of bytes of their values."""
    end, entries = 0, {}
    for name, (kind, shape) in sorted(described.items(), key=lambda item: (-DTYPES[item[1][0]].itemsize, item[0])):
        begin, end = end, end + math.prod(shape) * DTYPES[kind].itemsize
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8), end


def _misfit(described: Described, network: nn.Module) -> str:
    """The first name, shape or type that differs from the network's; empty if all agree."""
    expected = {name: (tensor.dtype, list(tensor.shape)) for name, tensor in network.state_dict().items()}
    found = {name: (DTYPES[kind], shape) for name, (kind, shape) in described.items()}
    odd = [f"{shown(name)[1:-1]} is missing or one too many" for name in {*expected} ^ {*found}]
    odd += [
        f"{name} is {shown(found[name][1])} of {found[name][0]}, not {shape} of {dtype}"
        for name, (dtype, shape) in expected.items()
        if name in found and found[name] != (dtype, shape)
    ]
    return f"does not fit network_def: {min(odd)}" if odd else ""
