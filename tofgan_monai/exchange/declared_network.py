"""Builds the network that a bundle from another clinic declares, without allocating memory for its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from monai.bundle import ConfigParser, ReferenceResolver
from torch import nn
from torch.nn.modules import module as hooks

from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import Document, Path

MAX_PARAMETERS, MAX_MODULES, MAX_DEPTH, MAX_NUMBER = 2**28, 10_000, 64, 2**16


class _ArgumentError(ValueError):
    """Raised for an argument that a bundle from another clinic may not give to its network.

    Args:
        where: path of keys to the argument in the configuration.
        what: the fault, for the message.
    """

    def __init__(self, where: Path, what: str) -> None:
        super().__init__(what)
        self.where = where


def declared_network(document: Document) -> tuple[nn.Module | None, list[Problem]]:
    """Returns the network that an inference.yaml declares, and no problem; or None and the problem.

    The network is built on torch's meta device, where tensors have shapes and no values. Its arguments must be plain
    values or references to plain values, so no other component of the configuration is built.

    Args:
        document: an inference.yaml in which the inspection has found no problem; its id `network_def` is read.
    """
    where: Path = ("network_def",)
    declared = document.content.get("network_def")

    def refused(what: str, could: str) -> tuple[None, list[Problem]]:
        return None, [Problem(document.file, document.lines.get(where, 0), what, could)]

    if not isinstance(declared, dict) or {key for key in declared if key.startswith("_")} - {"_desc_"} != {"_target_"}:
        return refused("network_def is not a component", "the weights cannot be checked; declare a network there")
    if declared["_target_"] == "tofgan_monai.Critic":
        where = (*where, "_target_")
        return refused("the network_def is a critic", "a critic has seen patients and must not leave the clinic")
    try:
        plain = {key: _plain(item, document.content, (*where, key)) for key, item in declared.items()}
        with torch.device("meta"), _bounded():
            return ConfigParser({"network": plain}, globals=False).get_parsed_content("network"), []
    except Exception as error:  # a constructor may raise any exception for unknown arguments
        where = error.where if isinstance(error, _ArgumentError) else where
        return refused(f"the network cannot be built ({shown(_first(error), 160)})", "could grow without end")


def _plain(value: Any, config: dict[str, Any], where: Path, depth: int = 0) -> Any:
    """Returns an argument of the network after every reference `@id` in it is replaced by the value of this id.

    Args:
        value: the argument.
        config: the whole configuration.
        where: path of keys to the argument, for the error.
        depth: number of levels and references passed so far.

    Raises:
        _ArgumentError: the argument holds a component, an expression, a huge number, or too many levels or items.
    """
    if depth > MAX_DEPTH or (isinstance(value, dict | list) and len(value) > MAX_DEPTH):
        raise _ArgumentError(where, f"the argument has more than {MAX_DEPTH} levels or items")
    if isinstance(value, dict):
        if "_target_" in value:
            raise _ArgumentError(where, f"an argument holds {value['_target_']}; arguments must be plain values")
        return {key: _plain(item, config, (*where, key), depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, config, (*where, index), depth + 1) for index, item in enumerate(value)]
    if isinstance(value, str) and value.startswith("@"):
        found: Any = config
        where = ()
        for key in ReferenceResolver.split_id(value[1:]):
            step = int(key) if isinstance(found, list) else key
            found, where = found[step], (*where, step)
        return _plain(found, config, where, depth + 1)
    if isinstance(value, str) and value.startswith("$"):
        raise _ArgumentError(where, f"an argument is {value}; arguments are plain values or references to plain values")
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise _ArgumentError(where, f"the argument {value} is larger than {MAX_NUMBER}, the largest number allowed")
    return value


def _first(error: BaseException) -> str:
    """Returns the message of the exception that caused all other exceptions in a chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


@contextmanager
def _bounded() -> Iterator[None]:
    """Context in which building a network raises ValueError as soon as it has too many layers or parameters."""
    counts = {"layers": 0, "parameters": 0}

    def count(what: str, more: int, most: int) -> None:
        counts[what] += more
        if counts[what] > most:
            raise ValueError(f"more than {most} {what}")

    def count_layer(module: nn.Module, name: str, layer: nn.Module | None) -> None:
        count("layers", 1, MAX_MODULES)

    def count_tensor(module: nn.Module, name: str, tensor: torch.Tensor | None) -> None:
        count("parameters", 0 if tensor is None else tensor.numel(), MAX_PARAMETERS)

    handles = [
        hooks.register_module_module_registration_hook(count_layer),
        hooks.register_module_parameter_registration_hook(count_tensor),
        hooks.register_module_buffer_registration_hook(count_tensor),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
