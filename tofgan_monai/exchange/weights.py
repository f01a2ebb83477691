"""Weights: a state dict and nothing else, which fits the declared network by strict keys and shapes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from monai.bundle import ConfigParser, ReferenceResolver
from torch import nn
from torch.nn.modules import module as hooks

from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import Document, Path
from tofgan_monai.exchange.torch_file import NotPlainError, StateDict, check_storages, described

MAX_PARAMETERS, MAX_MODULES, MAX_DEPTH, MAX_NUMBER = 2**28, 10_000, 64, 2**16
CRITICS = ("tofgan_monai.Critic",)


class _ArgumentError(ValueError):
    """What a network may not be given, and where it stands."""

    def __init__(self, where: Path, what: str) -> None:
        super().__init__(what)
        self.where = where


def declared_network(document: Document) -> tuple[nn.Module | None, list[Problem]]:
    """The `network_def` of an inference configuration that was found good, without memory for its weights.

    Its arguments are plain values and references to such, so nothing else of the configuration is made for it.
    """
    where: Path = ("network_def",)
    declared = document.content.get("network_def")

    def refused(what: str, could: str) -> tuple[None, list[Problem]]:
        return None, [Problem(document.file, document.lines.get(where, 0), what, could)]

    if not isinstance(declared, dict) or {key for key in declared if key.startswith("_")} - {"_desc_"} != {"_target_"}:
        return refused("no network_def that is a component", "cannot be checked against the weights")
    if declared["_target_"] in CRITICS:
        where = (*where, "_target_")
        return refused("the network_def is a critic", "a critic has seen patients and does not leave")
    try:
        plain = {key: _plain(item, document.content, (*where, key)) for key, item in declared.items()}
        with torch.device("meta"), _bounded():
            return ConfigParser({"network": plain}, globals=False).get_parsed_content("network"), []
    except Exception as error:  # whatever a constructor makes of arguments that it does not know
        where = error.where if isinstance(error, _ArgumentError) else where
        return refused(f"the network cannot be made ({shown(_first(error), 160)})", "could be one without end")


def _plain(value: Any, config: dict[str, Any], where: Path, depth: int = 0) -> Any:
    """A network's argument with what it refers to in place."""
    if depth > MAX_DEPTH or (isinstance(value, dict | list) and len(value) > MAX_DEPTH):
        raise _ArgumentError(where, f"more than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        if "_target_" in value:
            raise _ArgumentError(where, f"{value['_target_']} within it; a network's arguments are plain values")
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
        raise _ArgumentError(where, f"{value}; a network's arguments are plain values or references to such")
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise _ArgumentError(where, f"the argument {value}")
    return value


def _first(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


@contextmanager
def _bounded() -> Iterator[None]:
    """Within the block a network with too many parts raises before it is made."""
    counts = {"modules": 0, "parameters": 0}

    def count_module(module: nn.Module, name: str, submodule: nn.Module | None) -> None:
        counts["modules"] += 1
        if counts["modules"] > MAX_MODULES:
            raise ValueError(f"more than {MAX_MODULES} layers")

    def count_tensor(module: nn.Module, name: str, tensor: torch.Tensor | None) -> None:
        counts["parameters"] += 0 if tensor is None else tensor.numel()
        if counts["parameters"] > MAX_PARAMETERS:
            raise ValueError(f"more than {MAX_PARAMETERS} parameters")

    handles = [
        hooks.register_module_module_registration_hook(count_module),
        hooks.register_module_parameter_registration_hook(count_tensor),
        hooks.register_module_buffer_registration_hook(count_tensor),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_weights(file: str, data: bytes, network: nn.Module | None) -> list[Problem]:
    """What is wrong with weights; `network`, if it could be made, is what they must fit."""
    try:
        weights, records = described(data)
        if network is not None and (odd := _misfit(weights, network)):
            return [Problem(file, 0, odd, "is another network's, a critic's perhaps")]
        check_storages(weights, records)
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except NotPlainError as error:
        return [Problem(file, 0, *error.problem)]
    except Exception as error:  # torch raises a dozen kinds for a broken file
        return [Problem(file, 0, f"does not load with weights_only=True ({shown(str(error))})", "could be any code")]
    broken = [name for name, value in loaded.items() if value.is_floating_point() and not value.isfinite().all()]
    return [
        Problem(file, 0, f"{shown(name)[1:-1]} is not finite", "would make every prediction NaN") for name in broken
    ]


def _misfit(weights: StateDict, network: nn.Module) -> str:
    """What of strict keys, shapes and types does not hold."""
    expected: Any = network.state_dict()
    odd = [f"{shown(name)[1:-1]} is missing or one too many" for name in {*expected} ^ {*weights}]
    odd += [f"a note on {shown(name)} is one too many" for name in {*weights.versions} - {*expected._metadata}]
    odd += [
        f"{name} is {shown(weights[name].shape)} of {weights[name].dtype}, not {tuple(tensor.shape)} of {tensor.dtype}"
        for name, tensor in expected.items()
        if name in weights and (tuple(tensor.shape), tensor.dtype) != (weights[name].shape, weights[name].dtype)
    ]
    return f"does not fit network_def: {min(odd)}" if odd else ""
