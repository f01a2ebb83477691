"""What critic and generator want: the DCGAN's non-saturating loss, the Wasserstein loss with gradient penalty."""

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
    """The two losses of a GAN; each sees the critic itself, so it may penalise gradients or match features."""

    def critic_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss (a scalar) on pairs (B, 2, 96, 96), and figures worth logging."""

    def generator_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's loss (a scalar) on the same, and figures worth logging."""


def gradient_penalty(critic: torch.nn.Module, reals: Tensor, fakes: Tensor) -> Tensor:
    """Mean over the batch of (norm of the critic's gradient - 1)^2 at random mixtures of pairs; unweighted, a scalar.

    One epsilon and one norm per sample. Both inputs (B, 2, H, W).

    Source: Gulrajani et al. 2017, arXiv:1704.00028, eq. 3; Kossen et al. 2021, eq. 3.
    """
    epsilon = own_rows(torch.rand(len(reals) * world_size(), 1, 1, 1, device=reals.device, dtype=reals.dtype))
    mixtures = (epsilon * reals.detach() + (1 - epsilon) * fakes.detach()).requires_grad_()
    (gradients,) = torch.autograd.grad(critic(mixtures).sum(), mixtures, create_graph=True)
    return (gradients.flatten(1).norm(dim=1) - 1).square().mean()


@dataclass
class WassersteinGP:
    """Wasserstein loss with gradient penalty: critic D(fake) - D(real) + weight x penalty, generator -D(fake).

    Args:
        weight: of the penalty; 10 in the paper.
        penalty_interval: the penalty is paid at every k-th critic step, k times as heavy; 1 in the paper.

    Source: Gulrajani et al. 2017, arXiv:1704.00028; the lazy penalty: Karras et al. 2020, arXiv:1912.04958, appendix B.
    """

    weight: float = 10.0
    penalty_interval: int = 1
    _steps: int = field(default=0, init=False, repr=False)

    def critic_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective`."""
        distance = critic(reals).mean() - critic(fakes).mean()
        loss, figures = -distance, {"wasserstein": distance.detach()}
        if self._steps % self.penalty_interval == 0:
            penalty = gradient_penalty(critic, reals, fakes)
            loss = loss + self.weight * self.penalty_interval * penalty
            figures["gradient_penalty"] = penalty.detach()
        self._steps += 1
        return loss, figures

    def generator_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective`."""
        return -critic(fakes).mean(), {}

    def unit_loss(self, critic: Callable[[Tensor], Tensor], reals: Tensor, fakes: Tensor, epsilons: Tensor) -> Tensor:
        """The critic's loss on some pairs (k, 2, H, W), the penalty at mixtures by `epsilons` (k, 1, 1, 1) included.

        `critic_loss` as a pure function of its arguments, as `torch.func` needs it for gradients of single units.
        """

        def score(pairs: Tensor) -> Tensor:
            return critic(pairs).sum()

        gradients = torch.func.grad(score)(epsilons * reals + (1 - epsilons) * fakes)
        penalty = (gradients.flatten(1).norm(dim=1) - 1).square().mean()
        return critic(fakes).mean() - critic(reals).mean() + self.weight * penalty

    def state_dict(self) -> dict[str, int]:
        """Where in the rhythm of the penalty the training stands."""
        return {"steps": self._steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Takes up the rhythm again."""
        self._steps = state["steps"]


@dataclass
class NonSaturating:
    """The DCGAN's loss on logits: BCE with smoothed labels; the generator's also matches the critic's features.

    Args:
        adversarial_weight: of the generator's BCE against "real".
        matching_weight: of the L1 distance between the mean features of reals and fakes.
        real_targets: uniform range of the targets of reals; the fakes' is `fake_targets`.

    Source: Radford et al. 2016, arXiv:1511.06434; Salimans et al. 2016, arXiv:1606.03498, sections 3.1 and 3.4.
    """

    adversarial_weight: float = 1.0
    matching_weight: float = 1.0
    real_targets: tuple[float, float] = (0.7, 1.2)
    fake_targets: tuple[float, float] = (0.0, 0.3)

    def critic_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective`."""
        on_reals, on_fakes = critic(reals), critic(fakes)
        loss = _cross_entropy(on_reals, self.real_targets) + _cross_entropy(on_fakes, self.fake_targets)
        return loss, {"logit_gap": (on_reals.mean() - on_fakes.mean()).detach()}

    def generator_loss(self, critic: Critic, reals: Tensor, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective`."""
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
    """BCE against targets drawn uniformly from a range; on logits, targets above 1 are legal."""
    drawn = logits.new_empty(len(logits) * world_size(), *logits.shape[1:]).uniform_(*targets)
    return F.binary_cross_entropy_with_logits(logits, own_rows(drawn))
