"""The recipe of a training: all settings that decide its weights, as JSON data, read from the objects that train.

A part is described as MONAI's configurations describe it: `_target_` and arguments. A part that the recipe holds under
a name of its own stands elsewhere as a reference, `"@name"`. No path, device or number of epochs is in a recipe.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import torch
from monai.engines import Trainer
from monai.transforms import Transform
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset

from tofgan_monai.ranks import ShareSampler, world_size

Recipe = dict[str, Any]
_OURS = "tofgan_monai"
_PARTS = Transform | nn.Module | Optimizer | LRScheduler | Dataset


def recipe_of(trainer: Trainer, parts: Mapping[str, Any]) -> Recipe:
    """The recipe of a training: each part under its name, and under `trainer` the loss, the precision and the batches.

    Args:
        trainer: the trainer, whose loss, precision and data loader are described.
        parts: name -> a network, an optimiser, a step, a data set, or a plain value.
    """
    names = {id(part): name for name, part in parts.items() if _is_part(part)}
    recipe = {name: described(part, {k: v for k, v in names.items() if k != id(part)}) for name, part in parts.items()}
    recipe["trainer"] = described(_trainer(trainer), names)
    return json.loads(json.dumps(recipe))  # tuples become lists, as they come back from a file


def described(part: Any, names: Mapping[int, str] | None = None) -> Any:
    """A part as JSON data: a plain value as it is, anything else as `{"_target_": its class, **its arguments}`.

    Classes of this package keep the arguments of their constructor in attributes of the same names (as scikit-learn's
    estimators do), and name those that may change when a training goes on in `may_change`. Of a class from elsewhere
    the public attributes are taken that are plain values, transforms, modules or data sets.

    Args:
        part: anything that `_target_` can make, a plain value, or lists and mappings of these.
        names: id of an object -> its name in the recipe; the object is replaced by the reference `"@name"`.
    """
    names = names or {}
    if id(part) in names:
        return f"@{names[id(part)]}"
    if isinstance(part, Enum):
        return described(part.value, names)
    if isinstance(part, np.generic):
        return part.item()
    if isinstance(part, torch.dtype):
        return str(part)
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, Mapping):
        return {str(key): described(value, names) for key, value in part.items() if _can_be_told(value)}
    if isinstance(part, list | tuple):
        return [described(value, names) for value in part if _can_be_told(value)]
    if isinstance(part, FunctionType | BuiltinFunctionType):
        return {"_target_": f"{part.__module__}.{part.__qualname__}", "_mode_": "callable"}
    arguments = {key: described(value, names) for key, value in _arguments(part).items() if _can_be_told(value)}
    return {"_target_": _address(type(part)), **arguments}


def settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a recipe by their paths: `{"optimizer.lr": 0.05, "step.critic_steps": 1}`."""
    return dict(_leaves(recipe, ()))


def pairs_digest(recipe: Mapping[str, Any]) -> str | None:
    """The digest of the pairs that a training was on; None where its recipe names no pairs."""
    return recipe.get("pairs", {}).get("digest")


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _leaves(inner, (*path, str(key)))
    if not items:
        yield ".".join(path), value


def _trainer(trainer: Any) -> dict[str, Any]:
    """Returns a trainer's loss, precision and way of drawing batches, whatever the number of ranks that share them."""
    loader = trainer.data_loader
    sampler = loader.sampler.sampler if isinstance(loader.sampler, ShareSampler) else loader.sampler
    n_samples = getattr(sampler, "num_samples", None)
    return {
        "loss": getattr(trainer, "loss_function", None),
        "amp": trainer.amp,
        "amp_kwargs": trainer.amp_kwargs,
        "batch_size": (loader.batch_size or 1) * world_size(),
        "sampler": _address(type(sampler)),
        "samples_per_epoch": None if n_samples == len(loader.dataset) else n_samples,
        "dataset": loader.dataset,
    }


def _arguments(part: Any) -> dict[str, Any]:
    if hasattr(part, "digest") and hasattr(part, "provenance"):  # pairs, whatever paths they were read from
        return {"digest": part.digest, "provenance": part.provenance}
    if _is_ours(part):
        may_change = getattr(part, "may_change", ())
        return {name: getattr(part, name) for name in _constructor(type(part)) if name not in may_change}
    if isinstance(part, Optimizer):
        return part.defaults
    left_out = {"training", "device"}
    values = {name: value for name, value in vars(part).items() if name not in left_out and name[0] != "_"}
    if isinstance(part, nn.Module):
        values |= part.named_children()
    if isinstance(part, Dataset):  # its samples may be anything, paths of files too
        values = {name: value for name, value in values.items() if _is_part(value)}
    return values


def _constructor(kind: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(kind).parameters)


def _address(kind: type) -> str:
    """What a configuration calls a class; one of this package by its public name, wherever its module lies."""
    return f"{_OURS}.{kind.__name__}" if kind.__module__.startswith(_OURS) else f"{kind.__module__}.{kind.__qualname__}"


def _is_ours(part: Any) -> bool:
    return type(part).__module__.startswith(_OURS)


def _is_part(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_part, value))
    return _is_ours(value) or isinstance(value, _PARTS)


def _can_be_told(value: Any) -> bool:
    """Whether a value is plain or a part: no tensor, random state or device, which the seed or the arguments decide."""
    plain = str | int | float | Enum | np.generic | torch.dtype | Mapping | list | tuple
    return value is None or isinstance(value, plain | FunctionType | BuiltinFunctionType) or _is_part(value)
