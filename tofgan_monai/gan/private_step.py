"""The private critic step (DP-SGD): its noise hides how far one unit, a patch or a patient, moves the critic."""

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
from tofgan_monai.gan.latents import GaussianLatents
from tofgan_monai.gan.networks import Critic, MinibatchDiscrimination
from tofgan_monai.gan.objectives import WassersteinGP
from tofgan_monai.gan.privacy_budget import GUARANTEE, PrivacyBudget
from tofgan_monai.gan.step import Player
from tofgan_monai.ranks import world_size
from tofgan_monai.training.handlers import History
from tofgan_monai.training.weights import save_weights

UnitLoss = Callable[..., Tensor]


class PrivatePlayer(Player[Critic]):
    """A critic that learns from the sum of its units' gradients, each clipped separately, plus Gaussian noise.

    The sum is divided by the expected number of units, as the number of drawn units is private, too.

    Args:
        network: a critic without batch statistics, so that a unit's gradient depends on that unit alone.
        optimizer: an optimiser of the critic's parameters.
        budget: the training's privacy budget, which knows the noise.
        max_grad_norm: C, the norm to which each unit's gradient is clipped.
        trains: names of the layers that learn; None: all layers. Noise grows with the number of weights, and a network
            that has learned on public data need not change all of them.
        micro_batch: the number of units whose gradients are in memory at once.

    Raises:
        InputError: units would affect one another in the network, or leave traces in it; or it has no such layer.

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
        """Takes one private step down the mean of the units' losses; returns the norm of the noisy gradient.

        It gets the loss as a function, not as a scalar, which would not tell the units apart.

        Args:
            loss: called with the critic and one unit's row of each tensor in `units`; returns a scalar. See
                `WassersteinGP.unit_loss`.
            units: tensors with one row for each unit; there may be no rows.
        """
        total = self.clipped_sum(loss, *units)
        random = self.budget.draws.secret.generator()
        scale = self.budget.noise_multiplier * self.max_grad_norm
        for part in total:
            part += scale * torch.from_numpy(random.standard_normal(part.shape, "float32")).to(part.device)
        return self.follow([part / self.budget.draws.expected_units for part in total])

    def clipped_sum(self, loss: UnitLoss, *units: Tensor) -> list[Tensor]:
        """Returns the sum of the units' clipped gradients; one unit more or less changes it by at most C."""
        weights = {name: part.detach() for name, part in self.network.named_parameters() if part.requires_grad}
        total = {name: torch.zeros_like(weight) for name, weight in weights.items()}

        def loss_at(weights: dict[str, Tensor], *unit: Tensor) -> Tensor:
            return loss(lambda pairs: functional_call(self.network, weights, (pairs,)), *unit)

        gradients_of = vmap(grad(loss_at), in_dims=(None, *[0] * len(units)))
        for start in range(0, len(units[0]), self.micro_batch):
            gradients = gradients_of(weights, *(part[start : start + self.micro_batch] for part in units))
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)
            factors = (self.max_grad_norm / norms).clamp_max(1)
            known = norms.isfinite() & (norms > 0)  # others count as 0: an error would reveal that such a unit is there
            for name, gradient in gradients.items():
                total[name] += torch.tensordot(factors[known], gradient[known], 1)
        return list(total.values())


def _freeze_all_but(network: nn.Module, trains: Sequence[str] | None) -> None:
    names = {name.rsplit(".", 1)[0] for name, _ in network.named_parameters()}
    if trains is not None and (unknown := [name for name in trains if name not in names]):
        raise InputError(f"the critic has no layer {', '.join(unknown)}; choose from {', '.join(sorted(names))}")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(trains is None or name.rsplit(".", 1)[0] in trains)


def _refuse_what_joins_units(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm | MinibatchDiscrimination) or is_parametrized(module):
            kind = "spectral norm" if is_parametrized(module) else type(module).__name__
            raise InputError(
                f"the critic's {name} ({kind}): it joins the samples of a batch, or keeps traces of real pairs that no "
                "noise covers; choose critic_norm instance"
            )


@dataclass
class PrivateStep:
    """The `iteration_update` of a private GAN's trainer: one private critic step for each draw of `UnitDraws`.

    Nothing else in the step depends on a real pair or on the number of drawn units: fakes are made in batches of fixed
    size, from which each unit picks its own independently, and the generator learns from the critic alone. So the
    critic's guarantee also covers the generator and its batch statistics (post-processing).

    Args:
        generator: the player that makes pairs from latents.
        critic: the private player that judges them.
        objective: the Wasserstein loss with the gradient penalty at each step.
        latents: n -> latents (n, latent_dim).
        n_fakes: the number of fakes that a critic step picks from, and the generator's batch size.
        critic_steps: critic updates for one generator update.

    Raises:
        InputError: several ranks share the training, or the objective does not pay its penalty at each step.
    """

    generator: Player
    critic: PrivatePlayer
    objective: WassersteinGP
    latents: GaussianLatents
    n_fakes: int = 32
    critic_steps: int = 1

    def __post_init__(self) -> None:
        if world_size() > 1:
            raise InputError("a private GAN trains in one process; leave torchrun and multi_gpu_train.yaml out")
        if self.objective.penalty_interval != 1:
            raise InputError(
                f"objective penalty_interval {self.objective.penalty_interval}: a private training needs the gradient "
                "penalty at each step; give 1"
            )

    def __call__(self, engine: Engine, batch: dict[str, Tensor]) -> dict[str, Any]:
        """Updates the critic on `batch["reals"]` (1, n, k, 2, 96, 96), and the generator every `critic_steps` steps.

        Returns:
            Figures that the guarantee covers, too.
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
        """Returns the units' reals, fakes and mixing weights; each unit draws its own independently."""
        random = self.critic.budget.draws.secret.generator()  # torch's would advance by the number of units
        picked = torch.from_numpy(random.integers(self.n_fakes, size=reals.shape[:2]))
        epsilons = torch.from_numpy(random.random((*reals.shape[:2], 1, 1, 1), "float32"))
        return reals, fakes[picked.to(fakes.device)], epsilons.to(reals.device)


class GuaranteedWeights:
    """Ignite handler that writes `best.pt`, the last weights, and `guarantee.json`, their guarantee, after each epoch.

    The last weights are kept, whatever their quality: choosing the best by real pairs would reveal something of these
    that the guarantee does not cover.

    Args:
        network: the network whose weights are kept.
        history: gets the epsilon; attach it before this handler.
        budget: the training's privacy budget.
        output_dir: the training's output folder.
    """

    def __init__(self, network: nn.Module, history: History, *, budget: PrivacyBudget, output_dir: str) -> None:
        self.network, self.history, self.budget, self.folder = network, history, budget, Path(output_dir)

    def attach(self, trainer: Engine) -> None:
        """Makes the trainer write weights and guarantee when an epoch is complete."""
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Writes the guarantee of the training so far, then the weights."""
        guarantee = self.budget.guarantee(trainer.state.iteration)
        if guarantee["epsilon"] is not None:
            self.history.add("epsilon", guarantee["epsilon"])
        write_json(self.folder / GUARANTEE, guarantee)  # first: no weights may lie beside a guarantee of fewer steps
        save_weights(self.network.state_dict(), self.folder / "best.pt")
