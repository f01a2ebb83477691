"""The objectives: signs, closed forms, who is moved, nothing that depends on the batch size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tofgan_monai import Critic, NonSaturating, WassersteinGP, gradient_penalty
from tofgan_monai.gan import objectives


class LinearCritic(nn.Module):
    """D(x) = w . x with |w| = norm: its gradient has this norm everywhere."""

    def __init__(self, norm):
        super().__init__()
        weight = torch.randn(2 * 96 * 96, dtype=torch.float64)
        self.weight = nn.Parameter(norm * weight / weight.norm())

    def forward(self, pairs):
        return (pairs.flatten(1) @ self.weight)[:, None]


def pairs(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 96, 96, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("n", [1, 4, 64])
@pytest.mark.parametrize("norm", [1, 3, 0.5])
def test_penalty_of_a_linear_critic_is_its_norms_at_any_batch_size(n, norm):
    penalty = gradient_penalty(LinearCritic(norm), pairs(n), pairs(n, seed=1))
    assert penalty.item() == pytest.approx((norm - 1) ** 2, abs=1e-6)


def test_penalty_has_one_norm_a_sample():
    """D(x) = s(x) |x| over two samples whose gradients have norms 1 and 3: ((1-1)^2 + (3-1)^2) / 2."""
    slopes = torch.tensor([1.0, 3.0], dtype=torch.float64)
    penalty = gradient_penalty(lambda x: slopes * x.flatten(1).norm(dim=1), pairs(2), pairs(2, seed=1))
    assert penalty.item() == pytest.approx(2)


def test_penalty_is_taken_between_reals_and_fakes_with_one_epsilon_a_sample():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    gradient_penalty(critic, torch.zeros(8, 2, 96, 96), torch.ones(8, 2, 96, 96))
    places = seen[0].flatten(1)
    assert (places == places[:, :1]).all() and len(places[:, 0].unique()) == 8
    assert (places > 0).all() and (places < 1).all()


def test_penalty_moves_the_critic_and_nothing_behind_the_fakes():
    critic, fakes = LinearCritic(3), pairs(4).requires_grad_()
    gradient_penalty(critic, pairs(4, seed=1), fakes).backward()
    # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(critic.weight.grad, 4 * critic.weight.detach() / 3)
    assert fakes.grad is None


def test_wasserstein_signs():
    critic, reals, fakes = LinearCritic(1), pairs(4), pairs(4, seed=1)
    gap = (critic(reals).mean() - critic(fakes).mean()).item()
    loss, figures = WassersteinGP().critic_loss(critic, reals, fakes)
    assert loss.item() == pytest.approx(-gap, abs=1e-6)  # the penalty is 0
    assert figures["wasserstein"].item() == pytest.approx(gap)
    loss, _ = WassersteinGP().generator_loss(critic, reals, fakes)
    assert loss.item() == pytest.approx(-critic(fakes).mean().item())


@pytest.mark.parametrize(("weight", "every"), [(10, 1), (2, 1), (10, 4)])
def test_penalty_comes_in_its_rhythm_and_weighs_as_much_in_the_mean(weight, every):
    objective, critic, x = WassersteinGP(weight=weight, penalty_interval=every), LinearCritic(3), pairs(2)
    steps = [objective.critic_loss(critic, x, x) for _ in range(8)]  # reals = fakes: what is left is the penalty
    assert [("gradient_penalty" in figures) for _, figures in steps] == [i % every == 0 for i in range(8)]
    assert sum(loss.item() for loss, _ in steps) / 8 == pytest.approx(weight * (3 - 1) ** 2)


def test_rhythm_goes_on_where_it_was_saved():
    objective, critic, x = WassersteinGP(penalty_interval=3), LinearCritic(1), pairs(1)
    for _ in range(2):
        objective.critic_loss(critic, x, x)
    resumed = WassersteinGP(penalty_interval=3)
    resumed.load_state_dict(objective.state_dict())
    assert ["gradient_penalty" in resumed.critic_loss(critic, x, x)[1] for _ in range(2)] == [False, True]


class ConstantCritic(nn.Module):
    """Features are the pairs, the logit of the i-th call is the i-th given."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = list(logits)

    def features(self, pairs):
        return pairs

    def judge(self, features):
        return torch.full((len(features), 1), float(self.logits.pop(0)), dtype=features.dtype)

    def forward(self, pairs):
        return self.judge(pairs)


def test_targets_are_smoothed_within_their_ranges(monkeypatch):
    seen = []

    def spy(logits, targets):
        seen.append(targets)
        return F.mse_loss(logits, targets)

    monkeypatch.setattr(objectives.F, "binary_cross_entropy_with_logits", spy)
    NonSaturating().critic_loss(ConstantCritic(0, 0), torch.zeros(500, 1), torch.zeros(500, 1))
    for targets, (low, high) in zip(seen, [(0.7, 1.2), (0, 0.3)], strict=True):
        assert targets.shape == (500, 1)  # a target each
        assert low <= targets.min() < low + 0.05 and high - 0.05 < targets.max() <= high


def test_cross_entropy_has_its_closed_form():
    objective = NonSaturating(matching_weight=0, real_targets=(1, 1), fake_targets=(0, 0))
    loss, figures = objective.critic_loss(ConstantCritic(2, -1), pairs(3), pairs(3))
    softplus = F.softplus(torch.tensor([-2.0, -1.0]))
    assert loss.item() == pytest.approx(softplus.sum().item(), rel=1e-5)
    assert figures["logit_gap"].item() == 3
    loss, _ = objective.generator_loss(ConstantCritic(-1), pairs(3), pairs(3))
    assert loss.item() == pytest.approx(F.softplus(torch.tensor(1.0)).item(), rel=1e-5)  # non-saturating


def test_feature_matching_is_the_distance_of_means_and_pulls_towards_the_reals():
    objective = NonSaturating(adversarial_weight=0, matching_weight=2)
    reals, fakes = pairs(4) + 3, pairs(4).requires_grad_()
    loss, figures = objective.generator_loss(ConstantCritic(0), reals, fakes)
    assert loss.item() == pytest.approx(2 * 3) and figures["feature_matching"].item() == pytest.approx(3)
    loss.backward()
    assert (fakes.grad < 0).all()  # down the loss is up, to the reals


@pytest.mark.parametrize(
    "objective", [WassersteinGP(), NonSaturating(real_targets=(1, 1), fake_targets=(0, 0))], ids=["wasserstein", "bce"]
)
def test_losses_do_not_depend_on_the_batch_size(objective):
    critic, x = Critic(2, norm="instance").double(), pairs(2)  # reals = fakes: whatever epsilon, the same mixtures
    one, four = (objective.critic_loss(critic, y, y)[0].item() for y in (x, x.repeat(4, 1, 1, 1)))
    assert one == pytest.approx(four)
