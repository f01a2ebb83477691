"""The training step of a GAN, which is one or more critic updates and then one generator update.

All GANs without privacy use this step. Reals are real pairs and fakes are generated pairs.
"""

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
    """A network and the optimiser that changes its weights.

    If several processes (ranks) share the training run, each rank passes the loss of its own samples. All ranks then
    take the same optimiser step down the mean of these losses.

    Args:
        network: the network.
        optimizer: an optimiser for the network's parameters.
    """

    def __init__(self, network: Network, optimizer: torch.optim.Optimizer) -> None:
        self.network = network
        self.optimizer = optimizer
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._name = type(network).__name__.lower()

    def descend(self, loss: Tensor) -> Tensor:
        """Takes one optimiser step down the loss (a scalar); returns the norm of the gradient.

        The step changes the weights of this network only.

        Raises:
            TrainingDivergedError: the loss or its gradient is NaN or infinite; the weights have not changed.
        """
        if not torch.isfinite(loss):
            raise TrainingDivergedError(f"the loss of the {self._name} became {loss.item()}")
        # Not by DistributedDataParallel, which cannot handle the inner torch.autograd.grad of a gradient penalty.
        return self.follow(averaged(torch.autograd.grad(loss, self.parameters)))

    def follow(self, gradients: Sequence[Tensor]) -> Tensor:
        """Takes one optimiser step with given gradients, one for each parameter; returns the norm of all gradients.

        Raises:
            TrainingDivergedError: the norm is NaN or infinite; the weights have not changed.
        """
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        norm = nn.utils.clip_grad_norm_(self.parameters, float("inf"))  # measures the norm and clips nothing
        if not torch.isfinite(norm):
            raise TrainingDivergedError(f"the gradient of the {self._name} became {norm.item()}")
        self.optimizer.step()
        return norm


@dataclass
class AdversarialStep:
    """Runs one training step of a GAN; use it as the `iteration_update` of a `monai.engines.Trainer`.

    A step has `critic_steps` critic updates and then one generator update. All critic updates of a step use the same
    batch of real pairs, but new latents. The critic's loss has no gradient for the generator.

    Args:
        generator: the generator, which makes pairs (B, 2, 96, 96) from latents, with its optimiser.
        critic: the critic with its optimiser.
        objective: the losses of the critic and of the generator.
        latents: the prior; a function from n to latents (n, latent_dim).
        critic_steps: the number of critic updates for one generator update; 5 in the paper's WGANs.
        instance_noise: standard deviation of Gaussian noise that is added to all pairs before the critic. The noise
            hides small differences by which the critic would recognise all fakes. It also lets the critic see the
            brightness of a whole batch, which a batch norm would otherwise remove.
        amp: whether the losses are computed in bfloat16 on a GPU; on the CPU the precision is always float32.

    Source: Kossen et al. 2021; instance noise: Sønderby et al. 2017, arXiv:1610.04490, section 3.
    """

    generator: Player
    critic: Player[Critic]
    objective: Objective
    latents: Callable[[int], Tensor]
    critic_steps: int = 1
    instance_noise: float = 0.0
    amp: bool = False

    def __call__(self, engine: Engine, batch: dict[str, Tensor]) -> dict[str, Any]:
        """Updates both networks on `batch["reals"]` (B, 2, 96, 96); returns a dict from name to loss or other value."""
        generator, critic = self.generator.network.train(), self.critic.network.train()
        device = self.generator.parameters[0].device
        reals = batch["reals"].to(device, memory_format=torch.channels_last, non_blocking=True)
        figures: dict[str, Tensor] = {}
        for _ in range(self.critic_steps):
            with self._precision(device):
                with torch.no_grad():
                    fakes = generator(self._latents(reals))
                critic_loss, critic_figures = self.objective.critic_loss(critic, self._seen(reals), self._seen(fakes))
            figures["critic_gradient"] = self.critic.descend(critic_loss)
            figures.update(critic_figures)
        with self._precision(device):
            fakes = generator(self._latents(reals))
            generator_loss, more = self.objective.generator_loss(critic, self._seen(reals), self._seen(fakes))
        figures["generator_gradient"] = self.generator.descend(generator_loss)
        figures.update(more, critic_loss=critic_loss.detach(), generator_loss=generator_loss.detach())
        return {name: float(value) for name, value in figures.items()}

    def _precision(self, device: torch.device) -> torch.autocast:
        # Each loss has its own autocast region. Within a region, autocast keeps bfloat16 copies of the weights, so a
        # second loss in the same region would be computed with the weights before the update.
        return torch.autocast(device.type, torch.bfloat16, enabled=self.amp and device.type == "cuda")

    def _latents(self, reals: Tensor) -> Tensor:
        return own_rows(self.latents(len(reals) * world_size())).to(reals.device)

    def _seen(self, pairs: Tensor) -> Tensor:
        if not self.instance_noise:
            return pairs
        return pairs + self.instance_noise * own_rows(torch.randn_like(torch.cat([pairs] * world_size())))
