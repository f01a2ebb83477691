"""The training behind audited weights: on which pairs it was, its critic, its guarantee of differential privacy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tofgan_monai.attacks.on_gan import run_critic
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.target import Target
from tofgan_monai.errors import InputError
from tofgan_monai.gan.networks import Critic
from tofgan_monai.gan.privacy_budget import read_guarantee
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.weights import load_weights, weights_digest
from tofgan_monai.training.recipe import Recipe, pairs_digest, settings
from tofgan_monai.training.weights import load_weights, saved

# Parts of a recipe that may differ where a training is repeated; its length, on which the course of the rate depends,
# is compared by its steps.
OF_ONE_RUN = {"pairs", "seed", "validation_pairs", "lr_scheduler"}
NOISE = "budget.noise_multiplier"
State = dict[str, torch.Tensor]


class Training:
    """A training's output folder, checked to be that of the audited weights, or pairs, on the members' pairs.

    Attributes:
        recipe: its settings.
        n_steps: how many it took.
        state: which of its states the audited weights are, a key of `states`.
        critic: of a GAN.
        guarantee: of differential privacy.

    Args:
        run: the folder.
        target: what is audited.
        cohorts: whose members it must have been trained on.

    Raises:
        InputError: no training, of other weights or on other pairs.
    """

    def __init__(self, run: Path, target: Target, cohorts: Cohorts) -> None:
        path, content = read_checkpoint(run)
        self.recipe: Recipe = content["recipe"]
        self.n_steps = n_steps(run, content)
        problems = []
        if pairs_digest(self.recipe) != cohorts.members.digest:
            problems.append(f"{run}: its training was on other pairs than the members'; give the very stack it was on")
        matching = [name for name, state in states(run, content).items() if _is_audited(state, target)]
        if not matching:
            whose = f"of the weights in {target.bundle}" if target.bundle else "that the stack's manifest tells of"
            problems.append(f"{run}: not the training {whose}; adopt its weights and make the pairs, or give theirs")
        if problems:
            raise InputError(problems)
        self.state = matching[0]
        self.critic: Critic | None = run_critic(path, content) if "critic" in content["state"] else None
        promised = read_guarantee(run)  # by none, and by a training without noise or with known noise, nothing
        self.guarantee = promised if promised.get("epsilon") is not None else None

    def differing(self, recipe: Recipe) -> list[str]:
        """In which settings another training's recipe is not this one's, whatever the pairs and the seed.

        More noise is no difference: who is seen in spite of it is seen with less, too.
        """
        own, other = settings(self.recipe), settings(recipe)
        differing = {key for key in {*own, *other} if own.get(key) != other.get(key)}
        if NOISE in differing and other.get(NOISE, 0) >= own.get(NOISE, 0):
            differing.remove(NOISE)
        return sorted(key for key in differing if key.split(".")[0] not in OF_ONE_RUN)


def n_steps(run: Path, content: dict[str, Any]) -> int:
    """How many steps the training behind a checkpoint's content took, as its history tells.

    Raises:
        InputError: it has no history.
    """
    epochs = content["state"].get("history", {}).get("epochs")
    if not epochs:
        raise InputError(f"{run}: its checkpoint does not tell its steps; give the output folder of `tofgan train`")
    return int(epochs[-1]["iteration"])


def states(run: Path, content: dict[str, Any]) -> dict[str, State]:
    """All that `tofgan adopt` may have taken from the folder, by name: `best`, and what the checkpoint has."""
    best = {"best": load_weights(run / "best.pt")} if (run / "best.pt").exists() else {}
    state = content["state"]
    return {**best, **{name: state[name] for name in ("average", "network", "generator") if state.get(name)}}


def _is_audited(state: State, target: Target) -> bool:
    """Whether a state is the audited network's, or of a stack alone that which made it, as its manifest tells."""
    if target.network is not None:
        return equal(target.network.state_dict(), state)
    return target.weights_sha256 == weights_digest(state)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are the same."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
