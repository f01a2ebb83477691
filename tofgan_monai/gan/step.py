"""The GAN step: some critic updates, then one generator update, for every GAN alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from ignite.engine import Engine
from torch import Tensor, nn

from tofgan_monai.errors import TrainingDivergedError
from tofgan_monai.gan.networks import Critic
from tofgan_monai.gan.objectives import Objective
from tofgan_monai.ranks import averaged, own_rows, world_size

Network = TypeVar("Network", bound=nn.Module)


class Player(Generic[Network]):
    """A network and the optimiser that moves it, and nothing else, down a loss.

    Where several ranks share the training, each gives the loss of its own samples, and all move down the mean.
    """

    def __init__(self, network: Network, optimizer: torch.optim.Optimizer) -> None:
        self.network = network
        self.optimizer = optimizer
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._name = type(network).__name__.lower()

    def descend(self, loss: Tensor) -> Tensor:
        """One optimiser step down `loss`; returns the gradient's norm.

        Raises:
            TrainingDivergedError: the loss or its gradient is NaN or infinite; nothing has moved.
        """
        if not torch.isfinite(loss):
            raise TrainingDivergedError(f"the loss of the {self._name} became {loss.item()}")
        # By hand: DistributedDataParallel does not know the inner torch.autograd.grad of a gradient penalty.
        return self.follow(averaged(torch.autograd.grad(loss, self.parameters)))

    def follow(self, gradients: Sequence[Tensor]) -> Tensor:
        """One optimiser step down gradients, one for each parameter; returns their norm.

        Raises:
            TrainingDivergedError: it is NaN or infinite; nothing has moved.
        """
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        norm = nn.utils.clip_grad_norm_(self.parameters, float("inf"))  # measures, clips nothing
        if not torch.isfinite(norm):
            raise TrainingDivergedError(f"the gradient of the {self._name} became {norm.item()}")
        self.optimizer.step()
        return norm


@dataclass
class AdversarialStep:
    """What `monai.engines.Trainer(iteration_update=...)` runs on each batch.

    All critic updates of a step use its one batch of reals, each with fresh latents; the fakes they see carry no graph
    into the generator.

    Source: Kossen et al. 2021; instance noise: Sønderby et al. 2017, arXiv:1610.04490, section 3.

    Args:
        generator: makes pairs (B, 2, 96, 96) of latents.
        critic: judges them.
        objective: the losses of both.
        latents: n -> latents (n, latent_dim).
        critic_steps: critic updates for one generator update; 5 in the paper's WGANs.
        instance_noise: standard deviation of the Gaussian noise on all pairs that the critic sees. It hides
            what gives fakes away too easily, and a critic's batch norm no longer hides how bright a whole batch is.
        amp: whether forward passes run in bfloat16 on a GPU; the CPU stays in float32.
    """

    generator: Player
    critic: Player[Critic]
    objective: Objective
    latents: Callable[[int], Tensor]
    critic_steps: int = 1
    instance_noise: float = 0.0
    amp: bool = False

    def __call__(self, engine: Engine, batch: dict[str, Tensor]) -> dict[str, Any]:
        """Updates both networks on `batch["reals"]` (B, 2, 96, 96); returns losses and figures as floats."""
        generator, critic = self.generator.network.train(), self.critic.network.train()
        device = self.generator.parameters[0].device
        reals = batch["reals"].to(device, memory_format=torch.channels_last, non_blocking=True)
        figures: dict[str, Tensor] = {}
        with torch.autocast(device.type, torch.bfloat16, enabled=self.amp and device.type == "cuda"):
            for _ in range(self.critic_steps):
                with torch.no_grad():
                    fakes = generator(self._latents(reals))
                critic_loss, critic_figures = self.objective.critic_loss(critic, self._seen(reals), self._seen(fakes))
                figures["critic_gradient"] = self.critic.descend(critic_loss)
                figures.update(critic_figures)
            fakes = generator(self._latents(reals))
            generator_loss, generator_figures = self.objective.generator_loss(
                critic, self._seen(reals), self._seen(fakes)
            )
            figures["generator_gradient"] = self.generator.descend(generator_loss)
        figures.update(generator_figures, critic_loss=critic_loss.detach(), generator_loss=generator_loss.detach())
        return {name: float(value) for name, value in figures.items()}

    def _latents(self, reals: Tensor) -> Tensor:
        return own_rows(self.latents(len(reals) * world_size())).to(reals.device)

    def _seen(self, pairs: Tensor) -> Tensor:
        if not self.instance_noise:
            return pairs
        return pairs + self.instance_noise * own_rows(torch.randn_like(torch.cat([pairs] * world_size())))
