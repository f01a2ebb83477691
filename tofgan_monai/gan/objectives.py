"""The losses of critic and generator: non-saturating (DCGAN) and Wasserstein with gradient penalty.

In this module reals are real pairs and fakes are generated pairs, both (B, 2, 96, 96) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tofgan_monai.gan.networks import Critic
from tofgan_monai.ranks import batch_mean, own_rows, world_size


class Objective(Protocol):
    """Protocol for the two losses of a GAN.

    Both methods get the critic itself, so that they can penalise its gradients or compare its features.
    """

    def critic_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the critic's loss (a scalar) on pairs (B, 2, 96, 96), and figures to log."""

    def generator_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the generator's loss (a scalar) on pairs (B, 2, 96, 96), and figures to log."""


def gradient_penalty(critic: torch.nn.Module, reals: Tensor, fakes: Tensor) -> Tensor:
    """Returns the gradient penalty (a scalar), the mean of (gradient norm - 1)^2 at random mixtures of pairs.

    The gradient is that of the critic's logit with respect to a mixture of one real and one generated pair. Each sample
    has its own mixing weight and its own norm. The returned penalty has no weight. The precision is that of the reals,
    float32, also under autocast, because bfloat16 would give a norm near 1 to only two digits.

    Args:
        critic: network from pairs to logits.
        reals: real pairs (B, 2, H, W).
        fakes: generated pairs (B, 2, H, W).

    Source: Gulrajani et al. 2017, arXiv:1704.00028, eq. 3; Kossen et al. 2021, eq. 3.
    """
    epsilon = own_rows(torch.rand(len(reals) * world_size(), 1, 1, 1, device=reals.device, dtype=reals.dtype))
    with torch.autocast(reals.device.type, enabled=False):
        mixtures = (epsilon * reals.detach() + (1 - epsilon) * fakes.detach().to(reals.dtype)).requires_grad_()
        (gradients,) = torch.autograd.grad(critic(mixtures).sum(), mixtures, create_graph=True)
    return (gradients.flatten(1).norm(dim=1) - 1).square().mean()


@dataclass
class WassersteinGP:
    """Wasserstein losses with gradient penalty; D is the mean logit that the critic gives.

    The critic's loss is D(fakes) - D(reals) + weight x penalty. The generator's loss is -D(fakes).

    Args:
        weight: weight of the gradient penalty; 10 in the paper.
        penalty_interval: k, for a penalty that is computed only at every k-th critic step, with k times the weight; 1
            in the paper.

    Source: Gulrajani et al. 2017, arXiv:1704.00028; the lazy penalty: Karras et al. 2020, arXiv:1912.04958, appendix B.
    """

    weight: float = 10.0
    penalty_interval: int = 1
    _steps: int = field(default=0, init=False, repr=False)

    def critic_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the critic's Wasserstein loss (a scalar) on pairs (B, 2, 96, 96), and figures to log."""
        distance = critic(reals).mean() - critic(fakes).mean()
        loss, figures = -distance, {"wasserstein": distance.detach()}
        if self._steps % self.penalty_interval == 0:
            penalty = gradient_penalty(critic, reals, fakes)
            loss = loss + self.weight * self.penalty_interval * penalty
            figures["gradient_penalty"] = penalty.detach()
        self._steps += 1
        return loss, figures

    def generator_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the generator's Wasserstein loss (a scalar) on pairs (B, 2, 96, 96), and figures to log."""
        return -critic(fakes).mean(), {}

    def unit_loss(self, critic: Callable[[Tensor], Tensor], reals: Tensor, fakes: Tensor, epsilons: Tensor) -> Tensor:
        """Returns the critic's Wasserstein loss with gradient penalty (a scalar) for the pairs of one protected unit.

        A unit is a patch or a patient (see `tofgan_monai.gan.private_draws`). Unlike `critic_loss`, this method draws
        no random numbers and keeps no state, because `torch.func` needs a pure function for the gradients of single
        units.

        Args:
            critic: function from pairs to logits.
            reals: real pairs (k, 2, H, W).
            fakes: generated pairs (k, 2, H, W).
            epsilons: the mixing weights (k, 1, 1, 1) from 0 to 1 for the gradient penalty.
        """

        def score(pairs: Tensor) -> Tensor:
            return critic(pairs).sum()

        gradients = torch.func.grad(score)(epsilons * reals + (1 - epsilons) * fakes)
        penalty = (gradients.flatten(1).norm(dim=1) - 1).square().mean()
        return critic(fakes).mean() - critic(reals).mean() + self.weight * penalty

    def state_dict(self) -> dict[str, int]:
        """Returns the number of critic steps so far, for the checkpoint; it decides which step computes the penalty."""
        return {"steps": self._steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restores the number of critic steps from the state in a checkpoint."""
        self._steps = state["steps"]


@dataclass
class NonSaturating:
    """The DCGAN's losses, which are cross-entropies with smoothed targets, and feature matching for the generator.

    Args:
        adversarial_weight: weight of the generator's cross-entropy with the target "real".
        matching_weight: weight, in the generator's loss, of the L1 distance between the mean features of reals and
            fakes.
        real_targets: the range from which the critic's targets for reals are drawn uniformly.
        fake_targets: the range from which the critic's targets for fakes are drawn uniformly.

    Source: Radford et al. 2016, arXiv:1511.06434; Salimans et al. 2016, arXiv:1606.03498, sections 3.1 and 3.4.
    """

    adversarial_weight: float = 1.0
    matching_weight: float = 1.0
    real_targets: tuple[float, float] = (0.7, 1.2)
    fake_targets: tuple[float, float] = (0.0, 0.3)

    def critic_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the critic's non-saturating loss (a scalar) on pairs (B, 2, 96, 96), and figures to log."""
        on_reals, on_fakes = critic(reals), critic(fakes)
        loss = _cross_entropy(on_reals, self.real_targets) + _cross_entropy(on_fakes, self.fake_targets)
        return loss, {"logit_gap": (on_reals.mean() - on_fakes.mean()).detach()}

    def generator_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the generator's non-saturating loss (a scalar) on pairs (B, 2, 96, 96), and figures to log."""
        features = critic.features(fakes)
        logits = critic.judge(features)
        adversarial = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        if not self.matching_weight:
            return self.adversarial_weight * adversarial, {}
        with torch.no_grad():
            wanted = batch_mean(critic.features(reals))
        matching = F.l1_loss(batch_mean(features), wanted)
        loss = self.adversarial_weight * adversarial + self.matching_weight * matching
        return loss, {"feature_matching": matching.detach()}


def _cross_entropy(logits: Tensor, targets: tuple[float, float]) -> Tensor:
    """Returns the cross-entropy (a scalar) between logits and random targets.

    Args:
        logits: the critic's logits (B, 1).
        targets: the range from which a target is drawn uniformly for each logit; its upper end may be above 1.
    """
    drawn = logits.new_empty(len(logits) * world_size(), *logits.shape[1:]).uniform_(*targets)
    return F.binary_cross_entropy_with_logits(logits, own_rows(drawn))
