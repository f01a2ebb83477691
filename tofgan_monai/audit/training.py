"""Reader of the training run that made the audited weights, and checks of this run.

An audit needs to know which pairs the training run used, how many steps it took, its critic (for a GAN) and its
guarantee of differential privacy (for a private training). Members are the patients whose pairs the run used. The
recipe of a run is the dict of all its settings.
"""

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

# These parts of a recipe may differ between the audited training and a canary's training. The schedule of the learning
# rate depends on the number of epochs, in place of which the numbers of steps are compared.
OF_ONE_RUN = {"pairs", "seed", "validation_pairs", "lr_scheduler"}
NOISE = "budget.noise_multiplier"
State = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Training:
    """Training run that made the audited weights from the members' pairs.

    If the target is a stack, these are the weights of the generator that made the stack.

    Attributes:
        recipe: all settings of the training run.
        n_steps: number of steps that the training run took.
        state: name of the audited weights among all weights that the run kept, a key of `states`.
        critic: critic of a GAN; None for a segmentation network.
        guarantee: guarantee of differential privacy; None if the training run gives no guarantee.
    """

    recipe: Recipe
    n_steps: int
    state: str
    critic: Critic | None
    guarantee: dict[str, Any] | None

    def differing(self, recipe: Recipe) -> list[str]:
        """Returns the names of the settings in which the recipe of another training run differs from this one.

        Pairs, validation pairs, seed and learning-rate schedule are not compared. A higher noise multiplier in the
        other run does not count as a difference: if a patient is recognised in spite of more noise, the patient would
        also be recognised with less noise.

        Args:
            recipe: all settings of the other training run.
        """
        own, other = settings(self.recipe), settings(recipe)
        differing = {key for key in {*own, *other} if own.get(key) != other.get(key)}
        if NOISE in differing and other.get(NOISE, 0) >= own.get(NOISE, 0):
            differing.remove(NOISE)
        return sorted(key for key in differing if key.split(".")[0] not in OF_ONE_RUN)


def read_training(run: Path, target: Target, cohorts: Cohorts) -> Training:
    """Reads a training run; checks that it made the weights of the target from the members' pairs.

    Args:
        run: output folder of the training run.
        target: the audited stack, generator or segmentation network.
        cohorts: pairs of members, non-members and references.

    Raises:
        InputError: the folder holds no checkpoint, or the training run made other weights or used other pairs.
    """
    path, content = read_checkpoint(run)
    recipe, problems = content["recipe"], []
    if pairs_digest(recipe) != cohorts.members.digest:
        problems.append(
            f"{run}: the training used other pairs than the members'; give the data that it used (`--members`)"
        )
    matching = [name for name, state in states(run, content).items() if weights_digest(state) == target.weights_sha256]
    if not matching:
        whose = "that the stack's manifest names" if isinstance(target, StackTarget) else f"in {target.bundle}"
        problems.append(
            f"{run}: the training did not make the weights {whose}; give the training that made these weights "
            "(`--run`), or adopt the weights of this training (`tofgan adopt`) and make the pairs again"
        )
    steps = n_steps(run, content)
    if problems:
        raise InputError(problems)
    critic = run_critic(path, content) if "critic" in content["state"] else None
    promised = read_guarantee(run)  # epsilon is None if there is no noise or the seed of the noise is known
    return Training(recipe, steps, matching[0], critic, promised if promised.get("epsilon") is not None else None)


def n_steps(run: Path, content: dict[str, Any]) -> int:
    """Returns the number of steps that a training run took, which the history in its checkpoint names.

    Args:
        run: output folder of the training run, for error messages.
        content: content of its checkpoint.

    Raises:
        InputError: the checkpoint has no history.
    """
    epochs = content["state"].get("history", {}).get("epochs")
    if not epochs:
        raise InputError(
            f"{run}: the checkpoint does not name the number of steps; give the output folder of `tofgan train`"
        )
    return int(epochs[-1]["iteration"])


def states(run: Path, content: dict[str, Any]) -> dict[str, State]:
    """Returns all weights of a training run that `tofgan adopt` can copy into a bundle.

    Args:
        run: output folder of the training run.
        content: content of its checkpoint.

    Returns:
        Dict from name to state dict: "best" from best.pt, and "average", "network" and "generator" from the checkpoint,
        each if it exists.
    """
    best = {"best": load_weights(run / "best.pt")} if (run / "best.pt").exists() else {}
    state = content["state"]
    return {**best, **{name: state[name] for name in ("average", "network", "generator") if state.get(name)}}
