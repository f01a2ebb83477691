"""A critic's step that no single unit, a patch or a patient, can move by more than the noise hides (DP-SGD)."""

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
    """A critic whose update is the sum of the units' gradients, each clipped by itself, plus Gaussian noise.

    The sum is divided by the expected number of units: the number drawn is private, too.

    Args:
        network: without batch statistics, so that a unit's gradient depends on itself alone.
        optimizer: of its parameters.
        budget: of the training; has the noise.
        max_grad_norm: C, to which the norm of each unit's gradient is clipped.
        trains: names of the layers that move, the rest stays as it is; None: all. Noise grows with the
            number of weights, and a network that has learned in public need not move them all.
        micro_batch: units whose gradients are in memory at once.

    Raises:
        InputError: a network in which units see one another or leave traces.

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
        self.budget, self.max_grad_norm, self.micro_batch = budget, max_grad_norm, micro_batch

    def descend(self, loss: UnitLoss, *units: Tensor) -> Tensor:  # type: ignore[override]  # a scalar hides whose it is
        """One private step down the mean of the units' losses; returns the noised gradient's norm.

        Args:
            loss: (critic, *one unit's rows of `units`) -> a scalar; see `WassersteinGP.unit_loss`.
            units: tensors with a row for each unit, perhaps none.
        """
        total = self.clipped_sum(loss, *units)
        random = self.budget.draws.secret.generator()
        scale = self.budget.noise_multiplier * self.max_grad_norm
        for part in total:
            part += scale * torch.from_numpy(random.standard_normal(part.shape, "float32")).to(part.device)
        return self.follow([part / self.budget.draws.expected_units for part in total])

    def clipped_sum(self, loss: UnitLoss, *units: Tensor) -> list[Tensor]:
        """The sum of the units' clipped gradients: with one unit more or less it is another by at most C."""
        weights = {name: part.detach() for name, part in self.network.named_parameters() if part.requires_grad}
        total = {name: torch.zeros_like(weight) for name, weight in weights.items()}

        def loss_at(weights: dict[str, Tensor], *unit: Tensor) -> Tensor:
            return loss(lambda pairs: functional_call(self.network, weights, (pairs,)), *unit)

        gradients_of = vmap(grad(loss_at), in_dims=(None, *[0] * len(units)))
        for start in range(0, len(units[0]), self.micro_batch):
            gradients = gradients_of(weights, *(part[start : start + self.micro_batch] for part in units))
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)
            factors = (self.max_grad_norm / norms).clamp_max(1)
            known = norms.isfinite() & (norms > 0)  # else nothing: an error would tell that such a unit is there
            for name, gradient in gradients.items():
                total[name] += torch.tensordot(factors[known], gradient[known], 1)
        return list(total.values())


def _freeze_all_but(network: nn.Module, trains: Sequence[str] | None) -> None:
    names = {name.rsplit(".", 1)[0] for name, _ in network.named_parameters()}
    if trains is not None and (unknown := [name for name in trains if name not in names]):
        raise InputError(f"the critic has no layer {', '.join(unknown)}; it has {', '.join(sorted(names))}")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(trains is None or name.rsplit(".", 1)[0] in trains)


def _refuse_what_joins_units(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm | MinibatchDiscrimination) or is_parametrized(module):
            kind = "spectral norm" if is_parametrized(module) else type(module).__name__
            raise InputError(
                f"the critic's {name} ({kind}): through it samples see one another, or real pairs leave traces that no "
                "noise covers; choose critic_norm instance"
            )


@dataclass
class PrivateStep:
    """What `monai.engines.Trainer(iteration_update=...)` runs on each draw of `UnitDraws`: one private critic step.

    All else that the step does knows no real pair, nor how many were drawn: fakes come in batches of fixed size, of
    which each unit picks its own by itself, and the generator follows the critic alone. So whatever is made of the
    critic, the generator and its batch statistics too, is under the critic's guarantee (post-processing).

    Args:
        generator: makes pairs of latents.
        critic: judges them.
        objective: Wasserstein with gradient penalty, the penalty at each step.
        latents: n -> latents (n, latent_dim).
        n_fakes: fakes that a critic step has to pick from; the generator's batch.
        critic_steps: critic updates for one generator update.
    """

    generator: Player
    critic: PrivatePlayer
    objective: WassersteinGP
    latents: GaussianLatents
    n_fakes: int = 32
    critic_steps: int = 1

    def __post_init__(self) -> None:
        if world_size() > 1:
            raise InputError("a private GAN trains in one process: leave torchrun and multi_gpu_train.yaml out")
        if self.objective.penalty_interval != 1:
            raise InputError(
                f"objective penalty_interval {self.objective.penalty_interval}: the private penalty is paid at each step; give 1"
            )

    def __call__(self, engine: Engine, batch: dict[str, Tensor]) -> dict[str, Any]:
        """Updates the critic on `batch["reals"]` (1, n, k, 2, 96, 96), the generator after the last of its steps.

        Returns figures that are under the guarantee, too.
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
        """Of each unit its reals, fakes and epsilons, drawn by itself."""
        random = self.critic.budget.draws.secret.generator()  # torch's own would go on by how many units there are
        picked = torch.from_numpy(random.integers(self.n_fakes, size=reals.shape[:2]))
        epsilons = torch.from_numpy(random.random((*reals.shape[:2], 1, 1, 1), "float32"))
        return reals, fakes[picked.to(fakes.device)], epsilons.to(reals.device)


class GuaranteedWeights:
    """Ignite handler: after each epoch keeps the weights in `best.pt`, and in `guarantee.json` what holds for them.

    The last are kept whatever they are worth: to choose the best by real pairs would tell of these, outside the
    guarantee.

    Args:
        network: whose weights these are.
        history: takes the epsilon; attached before this handler.
        budget: of the training.
        output_dir: of the training.
    """

    def __init__(self, network: nn.Module, history: History, *, budget: PrivacyBudget, output_dir: str) -> None:
        self.network, self.history, self.budget, self.folder = network, history, budget, Path(output_dir)

    def attach(self, trainer: Engine) -> None:
        """Runs when an epoch is complete."""
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Keeps both."""
        guarantee = self.budget.guarantee(trainer.state.iteration)
        if guarantee["epsilon"] is not None:
            self.history.add("epsilon", guarantee["epsilon"])
        write_json(self.folder / GUARANTEE, guarantee)  # first: weights must never lie beside less than they cost
        save_weights(self.network.state_dict(), self.folder / "best.pt")
