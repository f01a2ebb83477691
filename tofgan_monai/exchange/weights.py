"""Checks the weights of a bundle from another clinic: one safetensors file whose tensors fit the declared network.

The safetensors library checks offsets and sizes while it reads. But if two tensors have the same name it keeps the last
one, and it ignores metadata, unknown keys of a tensor, and the kind of blanks after the header. Text could be hidden in
all these places. So the tensors are read and written again, and the file must have the same bytes.

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
    """Returns the problems with the content of a safetensors file; empty if the tensors fit the network.

    Args:
        file: name of the file, for the messages.
        data: content of the file, which may be any bytes.
        network: the declared network; the tensors must have its names, shapes and types. None if the network cannot be
            built; then the fit is not checked.
    """
    if (size := int.from_bytes(data[:8], "little")) > min(MAX_HEADER, len(data)):
        what = f"is no safetensors file: its header would have {size} bytes, and may have {MAX_HEADER}"
        return [Problem(file, 0, what, "could be a pickle with any code, or fill the memory")]
    try:
        weights = safetensors.torch.load(data)
        is_canonical = to_safetensors(weights) == data
    except Exception as error:  # an unknown type of values raises KeyError, for example
        could = "could be a pickle with any code, or a part of a file; ask for the archive again"
        return [Problem(file, 0, f"safetensors cannot read the file ({shown(str(error))})", could)]
    if not is_canonical:
        could = "could carry texts or images beside the weights; ask the sender to make the archive by `tofgan pack`"
        return [Problem(file, 0, "differs from the bytes that safetensors writes for these tensors", could)]
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
    """Returns the first difference in name, shape or type between tensors and a network, in words; empty if none."""
    odd = [f"{shown(name)[1:-1]} is missing or superfluous" for name in expected.keys() ^ found.keys()]
    for name in expected.keys() & found.keys():
        theirs, ours = ((list(weights[name].shape), weights[name].dtype) for weights in (found, expected))
        if theirs != ours:
            odd.append(f"{name} is {shown(theirs[0])} of {theirs[1]}, not {ours[0]} of {ours[1]}")
    return f"does not fit network_def: {min(odd)}" if odd else ""
