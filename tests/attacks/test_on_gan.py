"""Attacks on generator and critic: they catch what has learnt its members by heart, and nothing else."""

from __future__ import annotations

import copy
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tests.helpers.scores import auc
from tofgan_monai import Critic, Generator, HalfUNet, InputError, Refiner, SimulatedLatents, prior_of
from tofgan_monai.attacks import on_gan as model_attacks
from tofgan_monai.attacks.on_gan import critic_score, latent_recovery, run_critic
from tofgan_monai.gan.networks import Norm
from tofgan_monai.training.checkpoint import FORMAT, read_checkpoint
from tofgan_monai.training.recipe import described, pairs_digest
from tofgan_monai.training.weights import save_weights

N = 12  # members, and as many others


@pytest.fixture(scope="module")
def pairs():
    """(36, 2, 96, 96): smooth noise, each with a bright bar, the vessel; 12 members, 12 others and 12 strangers."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.normal(size=(3 * N, 1, 8, 8)))
    image = F.interpolate(coarse, (96, 96), mode="bilinear")[:, 0].clamp(-2, 2).numpy() / 4 - 0.5
    label = np.full((3 * N, 96, 96), -1.0)
    for bars, start, upright in zip(label, rng.integers(0, 84, 3 * N), rng.random(3 * N) < 0.5, strict=True):
        (bars.T if upright else bars)[start : start + 12] = 1
    return np.stack([np.where(label > 0, 1, image), label], axis=1).astype(np.float16)


class Lookup(nn.Module):
    """A generator that knows pairs by heart: each latent makes a mixture of those whose keys lie its way."""

    latent_dim = 20

    def __init__(self, known):
        super().__init__()
        self.keys = nn.Parameter(torch.randn(len(known), self.latent_dim, generator=torch.Generator().manual_seed(0)))
        self.known = nn.Parameter(torch.from_numpy(known.astype(np.float32)))

    def forward(self, latents):
        return torch.einsum("bk,kcxy->bcxy", (latents @ self.keys.T / 4).softmax(1), self.known)


@pytest.fixture(scope="module")
def by_heart(pairs):
    return Lookup(pairs[:N])


@pytest.fixture
def few_candidates(monkeypatch):
    monkeypatch.setattr(model_attacks, "N_CANDIDATES", 256)


@pytest.mark.slow
def test_generator_that_knows_its_members_by_heart_is_caught(by_heart, pairs, few_candidates):
    before = copy.deepcopy(by_heart.state_dict())
    scores = latent_recovery(by_heart, pairs[: 2 * N], n_steps=40)
    assert scores.shape == (2 * N,) and auc(scores) > 0.98
    assert by_heart.training and all(value.equal(before[name]) for name, value in by_heart.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in by_heart.parameters())


@pytest.mark.slow
def test_generator_that_knows_strangers_or_nothing_is_not(pairs, few_candidates):
    torch.manual_seed(0)
    for innocent in (Lookup(pairs[2 * N :]), Generator(latent_dim=8, width=2, init_std=0.1)):
        assert 0.2 < auc(latent_recovery(innocent, pairs[: 2 * N], n_steps=20)) < 0.8


def test_generator_that_makes_one_pair_only_is_caught(pairs, few_candidates):
    scores = latent_recovery(Lookup(pairs[:1]), pairs[: 2 * N], n_steps=2)
    assert np.isfinite(scores).all() and scores.argmax() == 0 and scores[0] > -0.01 > scores[1:].max()


def test_optimising_finds_what_random_latents_do_not(by_heart, pairs, few_candidates):
    random, short, long = (latent_recovery(by_heart, pairs[:N], n_steps=steps) for steps in (0, 10, 40))
    assert (random <= short).all() and random.mean() < short.mean() < long.mean()


def test_scores_are_the_seeds_and_each_querys_own(by_heart, pairs, few_candidates):
    together = latent_recovery(by_heart, pairs[:5], n_steps=3, seed=1)
    alone = np.concatenate([latent_recovery(by_heart, pairs[i : i + 1], n_steps=3, seed=1) for i in range(5)])
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert not np.allclose(together, latent_recovery(by_heart, pairs[:5], n_steps=3, seed=2), rtol=1e-3)


def test_no_queries_have_no_scores(by_heart, pairs, few_candidates):
    assert latent_recovery(by_heart, pairs[:0]).shape == critic_score(Critic(2), pairs[:0]).shape == (0,)


@pytest.mark.parametrize("norm", get_args(Norm))
def test_critic_that_knows_its_members_is_caught_and_an_untrained_one_is_not(pairs, norm):
    torch.manual_seed(0)
    critic, pairs = Critic(4, norm, init_std=0.1), pairs[: 2 * N]
    untrained = critic_score(critic, pairs)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    everyone, wanted = torch.from_numpy(pairs.astype(np.float32)), (torch.arange(2 * N) < N).float()[:, None]
    for _ in range(40):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(critic(everyone), wanted).backward()
        optimizer.step()
    scores = critic_score(critic, pairs)
    assert auc(scores) == 1 and 0.15 < auc(untrained) < 0.85
    np.testing.assert_allclose(critic_score(critic, pairs[3:4]), scores[3:4], rtol=1e-4, atol=1e-5)  # by itself
    assert critic.training


def test_refiner_is_not_credited_with_pairs_that_its_latents_could_hold(pairs, monkeypatch):
    """A free latent reproduces any pair. Only latents of simulated heads count: a pair of the prior is recognised."""
    monkeypatch.setattr(model_attacks, "N_CANDIDATES", 24)
    network = Refiner(2, SimulatedLatents(small=True)).eval()
    with torch.no_grad():
        network.last.weight.zero_()
    latents = prior_of(network).fixed(24, seed=0)
    latents[:, 2 * 96**2 :] = 0
    member = network(latents[5:6]).detach().numpy()
    queries = np.concatenate([member, pairs[:3]])
    scores = latent_recovery(network, queries, n_steps=50)
    assert scores[0] == pytest.approx(0, abs=1e-4)
    errors = np.square(network(latents).detach().numpy()[None] - queries[1:, None].astype(np.float32)).mean((2, 3, 4))
    np.testing.assert_allclose(scores[1:], -errors.min(1) / np.quantile(errors, 0.1, axis=1), rtol=1e-3)


def test_minibatch_discrimination_is_left_out(pairs):
    torch.manual_seed(0)
    critic = Critic(2, minibatch_discrimination=True).eval()
    plain = Critic(2).eval()
    plain.load_state_dict({name: value for name, value in critic.state_dict().items() if "minibatch" not in name})
    np.testing.assert_array_equal(critic_score(critic, pairs), critic_score(plain, pairs))


def save_run(folder, network, role):
    recipe = {role: described(network), "pairs": {"digest": "0123456789abcdef"}}
    content = {"format": FORMAT, "epoch": 1, "recipe": recipe, "state": {role: network.state_dict()}}
    save_weights(content, folder / "checkpoint.pt")
    return folder


@pytest.mark.parametrize("norm", get_args(Norm))
@pytest.mark.parametrize("minibatch", [False, True])
def test_critic_comes_back_from_its_training(tmp_path, pairs, norm, minibatch):
    torch.manual_seed(0)
    critic = Critic(3, norm, minibatch_discrimination=minibatch)
    back = run_critic(*read_checkpoint(save_run(tmp_path, critic, "critic")))
    assert str(back) == str(critic.eval()) and not back.training
    np.testing.assert_array_equal(critic_score(back, pairs), critic_score(critic, pairs))
    assert pairs_digest(read_checkpoint(tmp_path)[1]["recipe"]) == "0123456789abcdef"


def test_what_is_no_gans_training_is_told(tmp_path):
    with pytest.raises(InputError, match="has no critic"):
        run_critic(*read_checkpoint(save_run(tmp_path, HalfUNet(2), "network")))
    with pytest.raises(InputError, match=r"the critic is a torch.*, not a tofgan_monai\.Critic;"):
        run_critic(*read_checkpoint(save_run(tmp_path, nn.Sequential(nn.Linear(2, 2)), "critic")))
    save_weights(Critic(2).state_dict(), tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="not the checkpoint"):
        read_checkpoint(tmp_path)
