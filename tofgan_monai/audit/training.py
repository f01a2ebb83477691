"""The training behind audited weights: on which pairs it was, its critic, its guarantee of differential privacy."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.target import Target
from tofgan_monai.errors import InputError
from tofgan_monai.files import sha256
from tofgan_monai.networks import Critic
from tofgan_monai.privacy.accounting import read_guarantee
from tofgan_monai.privacy.model_attacks import read_checkpoint, run_critic
from tofgan_monai.weights import load_weights, saved

OF_ONE_RUN = {"pairs", "data", "seed", "validation_pairs"}  # of a recipe: what may differ where a training is repeated


class Training:
    """A training's output folder, checked to be that of the audited weights, on the members' pairs.

    Args:
        run: the folder.
        target: what is audited.
        cohorts: whose members it must have been trained on.

    Raises:
        InputError: no training, of other weights or on other pairs.
    """

    def __init__(self, run: Path, target: Target, cohorts: Cohorts) -> None:
        path, content = read_checkpoint(run)
        self.recipe: dict[str, str] = content["recipe"]
        problems = []
        if self.recipe.get("pairs") != cohorts.members.digest:
            problems.append(f"{run}: its training was on other pairs than the members'; give the very stack it was on")
        if not _is_of(run, content, target):
            whose = f"of the weights in {target.bundle}" if target.bundle else "that the stack's manifest tells of"
            problems.append(f"{run}: not the training {whose}; adopt its weights and make the pairs, or give theirs")
        if problems:
            raise InputError(problems)
        self.critic: Critic | None = run_critic(path, content) if "critic" in content["state"] else None
        promised = read_guarantee(run)  # by none, and by a training without noise or with known noise, nothing
        self.guarantee = promised if promised.get("epsilon") is not None else None

    def differing(self, recipe: dict[str, str]) -> list[str]:
        """In which settings another training's recipe is not this one's, whatever the pairs and the seed."""
        keys = sorted({*self.recipe, *recipe} - OF_ONE_RUN)
        return [key for key in keys if self.recipe.get(key) != recipe.get(key)]


def _weights(run: Path, content: dict[str, Any]) -> list[dict[str, Any]]:
    """All that `tofgan adopt` may have taken from the folder."""
    state = content["state"]
    best = [load_weights(run / "best.pt")] if (run / "best.pt").exists() else []
    return [*best, *(state[name] for name in ("average", "network", "generator") if state.get(name))]


def _is_of(run: Path, content: dict[str, Any], target: Target) -> bool:
    """Whether the training gave the target's weights, or those that a stack alone was made with."""
    weights = _weights(run, content)
    if target.network is not None:
        return any(equal(target.network.state_dict(), one) for one in weights)
    adopted = {hashlib.sha256(saved(one)).hexdigest() for one in weights}
    return target.weights_sha256 in (adopted | {sha256(path) for path in [run / "best.pt"] if path.exists()})


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are the same."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
