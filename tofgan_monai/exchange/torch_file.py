"""A file of weights told byte by byte, without loading it: tensors by their names, and room for nothing else.

Accepted is what `torch.save` writes of a state dict into a buffer, whatever its version: a zip file of stored records
without a gap, a pickle of few instructions, each storage as long as its tensor. What torch reads is then what was
looked at, it fits the memory, and nothing lies beside the tensors: no names, no other floats, no second file.
"""

from __future__ import annotations

import itertools
import math
import pickletools
import re
from typing import Any, NamedTuple

import torch

from tofgan_monai.exchange.inspection.problems import shown
from tofgan_monai.exchange.torch_zip import RESAVE, NotPlainError, torch_records

MAX_SIZE, MAX_DIMENSIONS = 2**48, 8
_DTYPES = {
    f"torch {name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32,
        "Double": torch.float64,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}
_DICT, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_IMPORTS = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


class _Global(NamedTuple):
    name: str


class _Storage(NamedTuple):
    dtype: torch.dtype
    key: str
    numel: int


class Tensor(NamedTuple):
    """A tensor as the pickle describes it."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """The type of its numbers."""
        return self.storage.dtype


class StateDict(dict[str, Any]):
    """What the pickle describes, and the versions of the layers that a module notes beside its tensors."""

    versions: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.versions = {}


def described(data: bytes) -> tuple[StateDict, dict[str, bytes]]:
    """The state dict that a file describes, whose tensors may still lie about their storages, and the file's records.

    Raises:
        NotPlainError: the file is anything else.
    """
    records = torch_records(data)
    pickle = records["data.pkl"]
    if len(pickle) > 2**16 + 512 * len(records):
        raise NotPlainError(f"a pickle of {len(pickle)} bytes", "could exhaust the memory")
    try:
        return _unpickled(pickle), records
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, NotPlainError):
            raise
        raise _no_state_dict("other instructions than torch.save's") from error


def check_storages(weights: StateDict, records: dict[str, bytes]) -> None:
    """Passes if each storage is the whole of a tensor, and each is named.

    Raises:
        NotPlainError: something lies in a storage, or beside them, that is in no tensor.
    """
    for name, tensor in weights.items():
        numel = math.prod(tensor.shape)
        size = len(records.get(f"data/{tensor.storage.key}", b""))
        whole = tensor.storage.numel == numel and size == numel * tensor.dtype.itemsize
        if not whole or tensor.offset or not _is_dense(tensor, numel):
            raise NotPlainError(
                f"{shown(name)} is a part of its storage", f"could carry other tensors' values; {RESAVE}"
            )
    if unnamed := {name for name in records if name.startswith("data/")} - {
        f"data/{tensor.storage.key}" for tensor in weights.values()
    }:
        raise NotPlainError(f"{min(unnamed)} is in no tensor", f"could be anything; {RESAVE}")


def _is_dense(tensor: Tensor, numel: int) -> bool:
    """Whether a tensor's numbers lie side by side, in whichever order of its dimensions (channels last, say)."""
    step = 1
    for stride, size in sorted(zip(tensor.stride, tensor.shape, strict=True)):
        if (size > 1 and stride != step) or stride > max(numel, 1):
            return False
        step *= max(size, 1)
    return True


def _no_state_dict(what: str) -> NotPlainError:
    could = "could hold an optimiser's state, a critic, or data; `tofgan adopt` takes it apart"
    return NotPlainError(f"not a bare state dict ({what})", could)


def _unpickled(pickle: bytes) -> StateDict:
    """What the instructions of `torch.save` describe; a tuple is used once, so that what is read stays small."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, position in pickletools.genops(pickle):
        match opcode.name:
            case "PROTO" if position == 0 and argument == 2:
                pass
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                stack.append(argument)
            case "NEWFALSE":
                stack.append(False)
            case "EMPTY_DICT":
                stack.append(StateDict())
            case "MARK":
                stack.append(_MARK)
            case "BINPUT" | "LONG_BINPUT" if argument == len(memo):
                memo[argument] = stack[-1] if isinstance(stack[-1], str | _Global | Tensor) else None
            case "BINGET" | "LONG_BINGET" if memo[argument] is not None:
                stack.append(memo[argument])
            case "TUPLE":
                stack.append(tuple(_popped(stack)))
            case name if name in _TUPLES:
                stack[len(stack) - _TUPLES[name] :] = [tuple(stack[len(stack) - _TUPLES[name] :])]
            case name if name in _IMPORTS:
                called = str(argument)
                if name != "GLOBAL" or called not in {_DICT, _TENSOR, *_DTYPES}:
                    what = called if name == "GLOBAL" else f"{name} {argument or ''}"
                    raise NotPlainError(f"a pickle that calls {shown(what)[1:-1]}", "would run it on loading")
                stack.append(_Global(called))
            case "BINPERSID":
                stack.append(_storage(*stack.pop()))
            case "REDUCE":
                arguments, called = stack.pop(), stack.pop().name
                stack.append(StateDict() if called == _DICT and arguments == () else _tensor(called, *arguments))
            case "SETITEM":
                items = [stack.pop(), stack.pop()][::-1]
                _set(stack[-1], items)
            case "SETITEMS":
                items = _popped(stack)
                _set(stack[-1], items)
            case "BUILD" if len(stack) == 2 and [*stack[1]] == ["_metadata"] and not stack[0].versions:
                stack[0].versions = stack.pop()["_metadata"]
            case "STOP" if position == len(pickle) - 1 and len(stack) == 1:
                return _state_dict(stack[0])
            case _:
                raise _no_state_dict(opcode.name)
    raise _no_state_dict("no end")


def _popped(stack: list[Any]) -> list[Any]:
    """What lies above the last mark, taken off the stack with it."""
    items = list(itertools.takewhile(lambda item: item is not _MARK, reversed(stack)))
    del stack[len(stack) - len(items) - 1 :]
    return items[::-1]


def _set(target: StateDict, items: list[Any]) -> None:
    for name, value in zip(items[::2], items[1::2], strict=True):
        if type(name) is not str or name in target:
            raise _no_state_dict("a key that is no name, or there twice")
        target[name] = value


def _storage(kind: str, storage: _Global, key: str, location: str, numel: int) -> _Storage:
    if kind != "storage" or location != "cpu" or not re.fullmatch(r"0|[1-9][0-9]*", key):
        raise NotPlainError(f"a tensor on {shown(location)}", f"asks for a device of the sender's; {RESAVE}")
    return _Storage(_DTYPES[storage.name], key, _count(numel))


def _tensor(called: str, storage: _Storage, offset: int, shape: Any, stride: Any, grad: bool, hooks: Any) -> Tensor:
    if called != _TENSOR or not isinstance(storage, _Storage) or grad is not False or hooks != {}:
        raise _no_state_dict("more than tensors")
    if len(shape) > MAX_DIMENSIONS:
        raise _no_state_dict("a tensor of many dimensions")
    return Tensor(storage, _count(offset), tuple(map(_count, shape)), tuple(map(_count, stride)))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < MAX_SIZE:
        raise _no_state_dict("a size that is none")
    return value


def _state_dict(weights: Any) -> StateDict:
    if not isinstance(weights, StateDict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise _no_state_dict("more than tensors")
    for noted in weights.versions.values():
        if not isinstance(noted, StateDict) or [*noted] != ["version"] or _count(noted["version"]) > 99:
            raise _no_state_dict("notes beside the tensors")
    return weights
