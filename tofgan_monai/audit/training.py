"""The training behind audited weights: the pairs it used, its critic and its guarantee of differential privacy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tofgan_monai.attacks.on_gan import run_critic
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.target import StackTarget, Target
from tofgan_monai.errors import InputError
from tofgan_monai.gan.networks import Critic
from tofgan_monai.gan.privacy_budget import read_guarantee
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.recipe import Recipe, pairs_digest, settings
from tofgan_monai.training.weights import load_weights, weights_digest

# Parts of a recipe that may differ between a training and its repetition. The numbers of steps are compared instead of
# the number of epochs, on which the schedule of the learning rate depends.
OF_ONE_RUN = {"pairs", "seed", "validation_pairs", "lr_scheduler"}
NOISE = "budget.noise_multiplier"
State = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Training:
    """A training that is known to have made the audited weights, or pairs, from the members' pairs.

    Attributes:
        recipe: its settings.
        n_steps: number of steps that it took.
        state: which of its states holds the audited weights, a key of `states`.
        critic: a GAN's critic; None for a segmentation.
        guarantee: the guarantee of differential privacy; None if the training gives none.
    """

    recipe: Recipe
    n_steps: int
    state: str
    critic: Critic | None
    guarantee: dict[str, Any] | None

    def differing(self, recipe: Recipe) -> list[str]:
        """The settings in which another training's recipe differs, apart from its pairs and seed.

        More noise does not count as a difference: a patient who is recognised despite more noise is recognised with
        less noise, too.
        """
        own, other = settings(self.recipe), settings(recipe)
        differing = {key for key in {*own, *other} if own.get(key) != other.get(key)}
        if NOISE in differing and other.get(NOISE, 0) >= own.get(NOISE, 0):
            differing.remove(NOISE)
        return sorted(key for key in differing if key.split(".")[0] not in OF_ONE_RUN)


def read_training(run: Path, target: Target, cohorts: Cohorts) -> Training:
    """Reads a training from its output folder; checks that it made the target's weights from the members' pairs.

    Raises:
        InputError: the folder holds no training, or a training of other weights or on other pairs.
    """
    path, content = read_checkpoint(run)
    recipe, problems = content["recipe"], []
    if pairs_digest(recipe) != cohorts.members.digest:
        problems.append(f"{run}: this training used other pairs than the members'; give the very stack that it used")
    matching = [name for name, state in states(run, content).items() if weights_digest(state) == target.weights_sha256]
    if not matching:
        whose = "that the stack's manifest names" if isinstance(target, StackTarget) else f"in {target.bundle}"
        problems.append(
            f"{run}: this training did not make the weights {whose}; adopt its weights and make the pairs again, or "
            "give the training that made them"
        )
    steps = n_steps(run, content)
    if problems:
        raise InputError(problems)
    critic = run_critic(path, content) if "critic" in content["state"] else None
    promised = read_guarantee(run)  # no epsilon: there is no noise, or its seed is known
    return Training(recipe, steps, matching[0], critic, promised if promised.get("epsilon") is not None else None)


def n_steps(run: Path, content: dict[str, Any]) -> int:
    """The number of steps that a training took, from the history in its checkpoint's content.

    Raises:
        InputError: the checkpoint has no history.
    """
    epochs = content["state"].get("history", {}).get("epochs")
    if not epochs:
        raise InputError(f"{run}: its checkpoint does not name its steps; give the output folder of `tofgan train`")
    return int(epochs[-1]["iteration"])


def states(run: Path, content: dict[str, Any]) -> dict[str, State]:
    """All weights that `tofgan adopt` may have taken from a training, by name: `best`, and the checkpoint's."""
    best = {"best": load_weights(run / "best.pt")} if (run / "best.pt").exists() else {}
    state = content["state"]
    return {**best, **{name: state[name] for name in ("average", "network", "generator") if state.get(name)}}
