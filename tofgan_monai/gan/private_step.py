"""The private training step of the critic (DP-SGD), whose noise hides the effect of one unit on the critic.

A unit is what the guarantee protects, a patch or a patient. Reals are real pairs and fakes are generated pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_json
from tofgan_monai.gan.latents import Latents
from tofgan_monai.gan.networks import Critic, MinibatchDiscrimination
from tofgan_monai.gan.objectives import WassersteinGP
from tofgan_monai.gan.privacy_budget import GUARANTEE, PrivacyBudget
from tofgan_monai.gan.step import Player
from tofgan_monai.ranks import world_size
from tofgan_monai.training.handlers import History
from tofgan_monai.training.weights import save_weights

UnitLoss = Callable[..., Tensor]


class PrivatePlayer(Player[Critic]):
    """A critic and its optimiser, which follows the sum of the units' clipped gradients plus Gaussian noise.

    The gradient of each unit is clipped separately. The sum is divided by the expected number of units, because the
    number of drawn units is private, too.

    Args:
        network: a critic without batch statistics, so that the gradient of a unit depends on that unit alone.
        optimizer: an optimiser for the critic's parameters.
        budget: the privacy budget of the training run, which holds the noise multiplier.
        max_grad_norm: C, the norm to which the gradient of each unit is clipped.
        trains: names of the layers whose weights are trained; None trains all layers. The total noise grows with the
            number of trained weights. So a critic that was pretrained on public data can improve with fewer layers.
        micro_batch: the number of units whose gradients are in memory at the same time.

    Raises:
        InputError: the network joins the samples of a batch or stores statistics of real pairs, or a name in `trains`
            is not a layer of the network.

    Source: Abadi et al. 2016, arXiv:1607.00133, algorithm 1.
    """

    def __init__(
        self,
        network: Critic,
        optimizer: torch.optim.Optimizer,
        *,
        budget: PrivacyBudget,
        max_grad_norm: float,
        trains: Sequence[str] | None = None,
        micro_batch: int = 16,
    ) -> None:
        _refuse_what_joins_units(network)
        _freeze_all_but(network, trains)
        super().__init__(network, optimizer)
        self.budget, self.max_grad_norm, self.trains, self.micro_batch = budget, max_grad_norm, trains, micro_batch

    def descend(self, loss: UnitLoss, *units: Tensor) -> Tensor:  # type: ignore[override]
        """Takes one optimiser step with the noisy mean of the units' clipped gradients; returns the norm of this mean.

        Args:
            loss: function that is called with the critic and the row of one unit from each tensor in `units`, and that
                returns the loss of this unit as a scalar; see `WassersteinGP.unit_loss`.
            units: tensors with one row for each unit; the number of rows may be 0.
        """
        total = self.clipped_sum(loss, *units)
        random = self.budget.draws.secret.generator()
        scale = self.budget.noise_multiplier * self.max_grad_norm
        for part in total:
            part += scale * torch.from_numpy(random.standard_normal(part.shape, "float32")).to(part.device)
        return self.follow([part / self.budget.draws.expected_units for part in total])

    def clipped_sum(self, loss: UnitLoss, *units: Tensor) -> list[Tensor]:
        """Returns the sum of the units' clipped gradients, one tensor for each trained parameter.

        One unit more or less changes this sum by at most C, the clipping norm. For the arguments see `descend`.
        """
        weights = {name: part.detach() for name, part in self.network.named_parameters() if part.requires_grad}
        total = {name: torch.zeros_like(weight) for name, weight in weights.items()}

        def loss_at(weights: dict[str, Tensor], *unit: Tensor) -> Tensor:
            return loss(lambda pairs: functional_call(self.network, weights, (pairs,)), *unit)

        gradients_of = vmap(grad(loss_at), in_dims=(None, *[0] * len(units)))
        for start in range(0, len(units[0]), self.micro_batch):
            gradients = gradients_of(weights, *(part[start : start + self.micro_batch] for part in units))
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)
            factors = (self.max_grad_norm / norms).clamp_max(1)
            known = norms.isfinite() & (norms > 0)  # others count as 0; an exception would reveal such a unit
            for name, gradient in gradients.items():
                total[name] += torch.tensordot(factors[known], gradient[known], 1)
        return list(total.values())


def _freeze_all_but(network: nn.Module, trains: Sequence[str] | None) -> None:
    names = {name.rsplit(".", 1)[0] for name, _ in network.named_parameters()}
    if trains is not None and (unknown := [name for name in trains if name not in names]):
        layers = ", ".join(sorted(names))
        raise InputError(
            f"`trains` names {', '.join(unknown)}, but the critic has only the layers {layers}; correct it"
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(trains is None or name.rsplit(".", 1)[0] in trains)


def _refuse_what_joins_units(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm | MinibatchDiscrimination) or is_parametrized(module):
            kind = "spectral norm" if is_parametrized(module) else type(module).__name__
            raise InputError(
                f"the critic's layer {name} ({kind}) joins the samples of a batch or stores values of real pairs, "
                "which no noise hides; set critic_norm to 'instance'"
            )


@dataclass
class PrivateStep:
    """Runs one training step of a private GAN on one draw of units; use it as the trainer's `iteration_update`.

    Only the critic's update uses real pairs. The number of fakes is fixed, each unit picks its fakes independently, and
    the generator learns from the critic alone. So the privacy guarantee of the critic also covers the generator and its
    batch statistics (post-processing).

    Args:
        generator: the generator with its optimiser.
        critic: the critic with its optimiser and its noise.
        objective: the Wasserstein loss with a gradient penalty at each step.
        latents: the prior; a function from n to latents (n, latent_dim).
        n_fakes: the number of generated pairs from which the units of a critic step pick; also the batch size of the
            generator update.
        critic_steps: the number of critic updates for one generator update.

    Raises:
        InputError: several processes (ranks) share the training run, or `penalty_interval` of the objective is not 1.
    """

    generator: Player
    critic: PrivatePlayer
    objective: WassersteinGP
    latents: Latents
    n_fakes: int = 32
    critic_steps: int = 1

    def __post_init__(self) -> None:
        if world_size() > 1:
            raise InputError("a private GAN cannot train in several processes; omit torchrun and multi_gpu_train.yaml")
        if self.objective.penalty_interval != 1:
            raise InputError(
                f"penalty_interval of the objective is {self.objective.penalty_interval}, but a private training run "
                "needs the gradient penalty at each step; set penalty_interval to 1"
            )

    def __call__(self, engine: Engine, batch: dict[str, Tensor]) -> dict[str, Any]:
        """Updates the critic on `batch["reals"]` (1, n, k, 2, 96, 96); every `critic_steps` steps also the generator.

        Returns:
            Dict from name to value, with gradient norms and the generator's loss; the privacy guarantee covers these.
        """
        generator, critic = self.generator.network.train(), self.critic.network.train()
        device = self.generator.parameters[0].device
        reals = batch["reals"][0].to(device)
        with torch.no_grad():
            fakes = generator(self.latents(self.n_fakes).to(device))
        figures = {"critic_gradient": self.critic.descend(self.objective.unit_loss, *self._units(reals, fakes))}
        if engine.state.iteration % self.critic_steps == 0:
            fakes = generator(self.latents(self.n_fakes).to(device))
            loss, _ = self.objective.generator_loss(critic, fakes, fakes)
            figures["generator_gradient"] = self.generator.descend(loss)
            figures["generator_loss"] = loss.detach()
        return {name: float(value) for name, value in figures.items()}

    def _units(self, reals: Tensor, fakes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns reals, fakes (n, k, 2, 96, 96) and mixing weights (n, k, 1, 1, 1), one row for each of the n units.

        Each unit draws its fakes and its mixing weights independently.
        """
        random = self.critic.budget.draws.secret.generator()  # torch's would advance by the number of units
        picked = torch.from_numpy(random.integers(self.n_fakes, size=reals.shape[:2]))
        epsilons = torch.from_numpy(random.random((*reals.shape[:2], 1, 1, 1), "float32"))
        return reals, fakes[picked.to(fakes.device)], epsilons.to(reals.device)


class GuaranteedWeights:
    """Ignite handler that writes the weights to `best.pt` and their guarantee to `guarantee.json` after each epoch.

    `best.pt` always holds the weights of the last epoch. A choice of the best epoch by real pairs would reveal
    information about these pairs that the privacy guarantee does not cover.

    Args:
        network: the network whose weights are written.
        history: the history to which epsilon is added; attach it to the trainer before this handler.
        budget: the privacy budget of the training run.
        output_dir: the output folder of the training run.
    """

    def __init__(self, network: nn.Module, history: History, *, budget: PrivacyBudget, output_dir: str) -> None:
        self.network, self.history, self.budget, self.folder = network, history, budget, Path(output_dir)

    def attach(self, trainer: Engine) -> None:
        """Adds this handler to the trainer; it then writes the weights and the guarantee after each epoch."""
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Writes the privacy guarantee for all steps so far, then the weights."""
        guarantee = self.budget.guarantee(trainer.state.iteration)
        if guarantee["epsilon"] is not None:
            self.history.add("epsilon", guarantee["epsilon"])
        write_json(self.folder / GUARANTEE, guarantee)  # before the weights, as no file may state fewer steps
        save_weights(self.network.state_dict(), self.folder / "best.pt")
