"""The recipe of a training: all settings that decide its weights, as JSON data, read from the objects that train.

A part is described as MONAI's configurations describe it: `_target_` and arguments. A part that the recipe holds under
a name of its own stands elsewhere as a reference, `"@name"`. No path, device or number of epochs is in a recipe.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from functools import partial
from types import FunctionType
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
_PARTS = Transform | nn.Module | Optimizer | LRScheduler | Dataset | FunctionType
_PLAIN = str | int | float | list | tuple | dict | None


def recipe_of(trainer: Trainer, parts: Mapping[str, Any]) -> Recipe:
    """The recipe of a training: each part under its name, and under `trainer` the loss, the precision and the batches.

    Args:
        trainer: the trainer, whose loss, precision and data loader are described.
        parts: name -> a network, an optimiser, a step, a data set, or a plain value.
    """
    names = {id(part): name for name, part in parts.items() if hasattr(part, "__dict__")}
    recipe = {name: described(part, {k: v for k, v in names.items() if k != id(part)}) for name, part in parts.items()}
    return {**recipe, "trainer": described(_trainer(trainer), names)}


def described(part: Any, names: Mapping[int, str] | None = None) -> Any:
    """A part as JSON data: a plain value as it is, anything else as `{"_target_": its class, **its arguments}`.

    Classes of this package keep the arguments of their constructor in attributes of the same names (as scikit-learn's
    estimators do), and name those that may change when a training goes on in `may_change`. Of a class from elsewhere
    the public attributes are taken that are plain values, transforms, modules or data sets.

    Args:
        part: anything that `_target_` can make, a plain value, or lists and dictionaries of these.
        names: id of an object -> its name in the recipe; the object is replaced by the reference `"@name"`.
    """
    return json.loads(json.dumps(part, default=partial(_told, names or {})))


def settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a recipe, by their paths: `{"optimizer.lr": 0.05, "step.critic_steps": 1}`."""
    return dict(_leaves(recipe, ()))


def pairs_digest(recipe: Mapping[str, Any]) -> str | None:
    """The digest of the pairs that a training used; None if its recipe names no pairs."""
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


def _told(names: Mapping[int, str], part: Any) -> Any:
    """Returns the JSON data that stand in a recipe for an object that JSON does not know."""
    if id(part) in names:
        return f"@{names[id(part)]}"
    if isinstance(part, np.generic):
        return part.item()
    if isinstance(part, torch.dtype):
        return str(part)
    return {"_target_": _address(part if isinstance(part, FunctionType) else type(part)), **_arguments(part)}


def _arguments(part: Any) -> dict[str, Any]:
    if hasattr(part, "digest") and hasattr(part, "provenance"):  # pairs, whatever paths they were read from
        return {"digest": part.digest, "provenance": part.provenance}
    if _is_ours(part):
        names, may_change = inspect.signature(type(part)).parameters, getattr(part, "may_change", ())
        return {name: getattr(part, name) for name in names if name not in may_change}
    if isinstance(part, Optimizer):
        return part.defaults
    values = dict(getattr(part, "__dict__", {}))
    if isinstance(part, nn.Module):
        values = {**values, **dict(part.named_children())}
    plain = () if isinstance(part, Dataset) else _PLAIN  # a data set's samples may be anything, paths of files too
    return {
        name: value
        for name, value in values.items()
        if name[0] != "_" and name not in ("training", "device") and (isinstance(value, plain) or _is_part(value))
    }


def _address(kind: Any) -> str:
    """The name of a class in a configuration's `_target_`; for a class of this package, its public name."""
    return (
        f"{_OURS}.{kind.__name__}"
        if (kind.__module__ or "").startswith(_OURS)
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _is_ours(part: Any) -> bool:
    return type(part).__module__.startswith(_OURS)


def _is_part(value: Any) -> bool:
    return all(isinstance(v, _PARTS) or _is_ours(v) for v in (value if isinstance(value, list | tuple) else [value]))
