"""The recipe of a training run, which is JSON data with all settings that decide the weights.

The settings are read from the objects that train, called parts: networks, optimisers, the training step, the data. A
recipe describes a part as a MONAI configuration does, by `_target_` and arguments. If one part is used by another part,
the description of the second part holds the reference `"@name"`. A recipe contains no path, device or number of epochs.
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
    """Returns the recipe of a training run, a dict from the name of each part to the description of this part.

    The entry `trainer` describes the trainer's loss, precision and batches.

    Args:
        trainer: the trainer, whose loss, precision and data loader are described.
        parts: dict from name to part, such as a network, an optimiser, a step, a data set or a plain value.
    """
    names = {id(part): name for name, part in parts.items() if hasattr(part, "__dict__")}
    recipe = {name: described(part, {k: v for k, v in names.items() if k != id(part)}) for name, part in parts.items()}
    return {**recipe, "trainer": described(_trainer(trainer), names)}


def described(part: Any, names: Mapping[int, str] | None = None) -> Any:
    """Returns the description of a part as JSON data; plain values are returned unchanged.

    An object becomes `{"_target_": its class, **its arguments}`. Classes of this package keep the arguments of their
    constructor in attributes of the same names (as scikit-learn's estimators do). Their `may_change` lists arguments
    that may change when a training run continues; the recipe omits these. For an object of any other package, the
    recipe takes the public attributes that are plain values, transforms, modules or data sets.

    Args:
        part: any object that `_target_` can make, a plain value, or lists and dictionaries of these.
        names: dict from the id of an object to its name in the recipe; the reference `"@name"` replaces this object.
    """
    return json.loads(json.dumps(part, default=partial(_told, names or {})))


def settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a flat dict of a recipe, from path to plain value: `{"optimizer.lr": 0.05, "step.critic_steps": 1}`."""
    return dict(_leaves(recipe, ()))


def pairs_digest(recipe: Mapping[str, Any]) -> str | None:
    """Returns the digest of the pairs or heads that a training run was given; None if the recipe has none.

    Simulated heads that were mixed in have a digest of their own, behind a `+`, which is left out.
    """
    digest = recipe.get("pairs", {}).get("digest")
    return digest and digest.split("+")[0]


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _leaves(inner, (*path, str(key)))
    if not items:
        yield ".".join(path), value


def _trainer(trainer: Any) -> dict[str, Any]:
    """Returns a dict with the loss, the precision and the batches of a trainer; the dict ignores the world size."""
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
    """Returns JSON data for an object that JSON cannot store: a reference, a number, a text or a dict.

    Args:
        names: dict from the id of an object to its name in the recipe.
        part: the object.
    """
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
    """Returns the name of a class or function for `_target_`; for one of this package, the public name."""
    return (
        f"{_OURS}.{kind.__name__}"
        if (kind.__module__ or "").startswith(_OURS)
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def _is_ours(part: Any) -> bool:
    return type(part).__module__.startswith(_OURS)


def _is_part(value: Any) -> bool:
    return all(isinstance(v, _PARTS) or _is_ours(v) for v in (value if isinstance(value, list | tuple) else [value]))
