"""Weights of a bundle from elsewhere: tensors in one plain safetensors file, which fit the declared network.

The reader of safetensors checks offsets and sizes. But of two tensors of one name it takes the last, and it ignores
metadata, further keys of a tensor, and the kind of blanks behind the header: a text could hide there. So the file must
be, byte for byte, the one that safetensors writes of the tensors that it reads.

Source of the format: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import safetensors.torch
import torch
from torch import Tensor, nn

from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.training.weights import to_safetensors

MAX_HEADER = 2**22
DTYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
}  # no bool: a byte of 2 also means true, and would hide a bit


def check_weights(file: str, data: bytes, network: nn.Module | None) -> list[Problem]:
    """Everything that is wrong with the content of a safetensors file; the content may be any bytes.

    Args:
        file: its name in the messages.
        data: the whole content.
        network: the declared network, whose names, shapes and types the tensors must have; None if it cannot be made.
    """
    if (size := int.from_bytes(data[:8], "little")) > min(MAX_HEADER, len(data)):
        what = f"no safetensors file: its header would have {size} bytes, and may have {MAX_HEADER}"
        return [Problem(file, 0, what, "could be a pickle of any code, or exhaust the memory")]
    try:
        weights = safetensors.torch.load(data)
        is_canonical = to_safetensors(weights) == data
    except Exception as error:  # an unknown type of values, for one, is a KeyError
        could = "could be a pickle of any code, or a part of a file; ask for the archive again"
        return [Problem(file, 0, f"safetensors cannot read it ({shown(str(error))})", could)]
    if not is_canonical:
        could = "could carry texts or images beside the weights; ask the sender to make the archive with `tofgan pack`"
        return [Problem(file, 0, "not the bytes that safetensors writes of these tensors", could)]
    if network is not None and (odd := _misfit(weights, network.state_dict())):
        return [Problem(file, 0, odd, "belongs to another network, perhaps a critic, which has seen patients")]
    return [
        Problem(file, 0, f"{shown(name)[1:-1]} is {what}", "would make every prediction NaN, or hides a bit")
        for name, value in weights.items()
        for what, is_so in (
            ("not finite", not value.isfinite().all()),
            (f"of {value.dtype}", value.dtype not in DTYPES),
        )
        if is_so
    ]


def _misfit(found: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """The first name, shape or type in which tensors differ from a network's; empty if all agree."""
    odd = [f"{shown(name)[1:-1]} is missing or one too many" for name in expected.keys() ^ found.keys()]
    for name in expected.keys() & found.keys():
        theirs, ours = ((list(weights[name].shape), weights[name].dtype) for weights in (found, expected))
        if theirs != ours:
            odd.append(f"{name} is {shown(theirs[0])} of {theirs[1]}, not {ours[0]} of {ours[1]}")
    return f"does not fit network_def: {min(odd)}" if odd else ""
