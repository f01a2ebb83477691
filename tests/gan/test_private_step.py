"""The private critic: gradients of single units, what one unit can change, the noise; and a step that tells no more."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tofgan_monai import (
    Critic,
    GaussianLatents,
    Generator,
    GuaranteedWeights,
    History,
    InputError,
    Player,
    PrivatePlayer,
    PrivateStep,
    Secret,
    WassersteinGP,
)

UNITS = {"patch": 1, "patient": 3}  # patches of each


def budget(noise_multiplier=0.0, expected_units=4, secret=None):
    draws = SimpleNamespace(expected_units=expected_units, secret=secret or Secret(0))
    return SimpleNamespace(noise_multiplier=noise_multiplier, draws=draws)


def player(network=None, lr=1e-3, max_grad_norm=1.0, micro_batch=2, trains=None, **options):
    network = network or Critic(2, norm="instance", init_std=0.1)
    optimizer = torch.optim.SGD(network.parameters(), lr)
    given = {"max_grad_norm": max_grad_norm, "micro_batch": micro_batch, "trains": trains}
    return PrivatePlayer(network, optimizer, budget=budget(**options), **given)


def units(k, n=5, dtype=torch.float32):
    """Reals, fakes and epsilons of n units of k patches."""
    torch.manual_seed(1)
    reals, fakes = torch.rand(2, n, k, 2, 96, 96, dtype=dtype) * 2 - 1
    return reals, fakes, torch.rand(n, k, 1, 1, 1, dtype=dtype)


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def weights(network):
    return flat(network.parameters()).detach().clone()


@pytest.mark.parametrize("k", UNITS.values(), ids=UNITS)
def test_gradients_of_units_add_up_to_the_batchs_penalty_included(k):
    torch.manual_seed(0)
    private, objective = player(max_grad_norm=1e9), WassersteinGP()
    reals, fakes, _ = units(k)
    torch.manual_seed(2)  # as gradient_penalty draws its epsilons
    epsilons = torch.rand(5 * k, 1, 1, 1).unflatten(0, (5, k))
    torch.manual_seed(2)
    loss, figures = objective.critic_loss(private.network, reals.flatten(0, 1), fakes.flatten(0, 1))
    assert figures["gradient_penalty"] > 0.1
    wanted = flat(torch.autograd.grad(loss, private.parameters))
    found = flat(private.clipped_sum(objective.unit_loss, reals, fakes, epsilons)) / 5
    assert (found - wanted).norm() < 1e-5 * wanted.norm()


@pytest.mark.parametrize("k", UNITS.values(), ids=UNITS)
def test_clipped_sum_changes_by_at_most_the_norm_when_a_unit_is_taken_out(k):
    torch.manual_seed(0)
    private = player(Critic(2, norm="instance", init_std=0.1).double(), max_grad_norm=0.5)
    loss, given = WassersteinGP().unit_loss, units(k, dtype=torch.float64)
    whole = flat(private.clipped_sum(loss, *given))
    for out in range(5):
        rest = [torch.cat([part[:out], part[out + 1 :]]) for part in given]
        change = (whole - flat(private.clipped_sum(loss, *rest))).norm()
        assert change == pytest.approx(0.5, rel=1e-9)  # all are clipped: their own norms are above
    alone = [part[:1] for part in given]
    private.max_grad_norm = 1e9
    assert flat(private.clipped_sum(loss, *alone)).norm() > 2
    private.max_grad_norm = 0.5
    assert flat(private.clipped_sum(loss, *alone)).norm() == pytest.approx(0.5, rel=1e-9)


def test_patient_with_more_patches_weighs_no_more():
    """All patches of a patient are clipped as one: as many patches clipped one by one would move the sum further."""
    private, loss = player(max_grad_norm=0.5), WassersteinGP().unit_loss
    given = units(3, n=1)
    as_patches = [part.transpose(0, 1) for part in given]
    assert flat(private.clipped_sum(loss, *given)).norm() <= 0.5 + 1e-6
    assert flat(private.clipped_sum(loss, *as_patches)).norm() > 0.6


@pytest.mark.parametrize("micro_batch", [1, 3, 64])
def test_micro_batches_change_nothing(micro_batch):
    torch.manual_seed(0)
    private, given = player(micro_batch=5), units(1)
    wanted = flat(private.clipped_sum(WassersteinGP().unit_loss, *given))
    private.micro_batch = micro_batch
    torch.testing.assert_close(flat(private.clipped_sum(WassersteinGP().unit_loss, *given)), wanted, atol=1e-6, rtol=0)


def test_small_gradients_are_left_as_they_are():
    private = player(nn.Linear(1, 1, bias=False), max_grad_norm=5.0)
    units_ = torch.tensor([[1.0], [2.0], [30.0]])
    (total,) = private.clipped_sum(lambda critic, x: critic(x).sum(), units_)
    assert total.item() == pytest.approx(1 + 2 + 5)


def test_unit_whose_gradient_is_no_number_counts_as_none():
    private, loss = player(), WassersteinGP().unit_loss
    reals, fakes, epsilons = units(1)
    wanted = flat(private.clipped_sum(loss, reals[1:], fakes[1:], epsilons[1:]))
    reals[0] = float("nan")
    torch.testing.assert_close(flat(private.clipped_sum(loss, reals, fakes, epsilons)), wanted, atol=1e-6, rtol=0)


def test_nobody_drawn_is_a_step_of_noise_alone():
    private = player(lr=1.0, max_grad_norm=3.0, noise_multiplier=2.0, expected_units=4)
    before = weights(private.network)
    private.descend(WassersteinGP().unit_loss, *(part[:0] for part in units(1)))
    moved = weights(private.network) - before
    assert moved.std() == pytest.approx(2.0 * 3.0 / 4, rel=0.03) and abs(moved.mean()) < 0.03


def test_sum_is_divided_by_the_expected_number_not_the_drawn_one():
    for n in (1, 3):
        private = player(nn.Linear(1, 1, bias=False), lr=1.0, max_grad_norm=9.0, expected_units=4)
        before = private.network.weight.item()
        private.descend(lambda critic, x: critic(x).sum(), torch.ones(n, 1))
        assert before - private.network.weight.item() == pytest.approx(n / 4)


def test_noise_is_not_the_training_seeds():
    def step(secret):
        torch.manual_seed(0)
        private = player(noise_multiplier=1.0, lr=1.0, secret=secret)
        private.descend(WassersteinGP().unit_loss, *units(1))
        return flat(private.parameters).detach()

    assert torch.equal(step(Secret(7)), step(Secret(7)))
    assert not torch.equal(step(Secret()), step(Secret()))


def test_only_the_named_layers_move():
    torch.manual_seed(0)
    private = player(max_grad_norm=1e9, trains=["body.3", "head"], noise_multiplier=1e-9, lr=1.0)
    reals, fakes, epsilons = units(1, n=1)
    loss = WassersteinGP().unit_loss(private.network, reals[0], fakes[0], epsilons[0])
    wanted = flat(torch.autograd.grad(loss, private.parameters))
    found = flat(private.clipped_sum(WassersteinGP().unit_loss, reals, fakes, epsilons))
    assert (found - wanted).norm() < 1e-5 * wanted.norm()
    before = {name: part.detach().clone() for name, part in private.network.named_parameters()}
    private.descend(WassersteinGP().unit_loss, reals, fakes, epsilons)
    moved = {name for name, part in private.network.named_parameters() if not part.equal(before[name])}
    assert moved == {"body.3.weight", "head.weight"}


def test_layers_that_are_not_there_are_refused():
    with pytest.raises(InputError, match=r"body.1, but the critic has only the layers body.0, body.12, body.3"):
        player(trains=["body.1"])


@pytest.mark.parametrize(
    ("network", "what"),
    [
        (Critic(2, norm="batch"), "BatchNorm2d"),
        (Critic(2, norm="spectral"), "spectral norm"),
        (Critic(2, norm="instance", minibatch_discrimination=True), "MinibatchDiscrimination"),
    ],
    ids=["batch", "spectral", "minibatch"],
)
def test_networks_in_which_units_meet_are_refused(network, what):
    with pytest.raises(InputError, match=rf"{what}.*set critic_norm"):
        player(network)


# ---- the step


def make_step(critic_steps=1, **options):
    torch.manual_seed(0)
    generator, critic = Generator(5, 2), Critic(2, norm="instance")
    players = Player(generator, torch.optim.Adam(generator.parameters(), 1e-3)), player(critic, **options)
    return PrivateStep(*players, WassersteinGP(), GaussianLatents(5), n_fakes=6, critic_steps=critic_steps)


def take(step, n, iteration=1, k=1):
    reals = torch.rand(1, n, k, 2, 96, 96, generator=torch.Generator().manual_seed(n)) * 2 - 1
    return step(SimpleNamespace(state=SimpleNamespace(iteration=iteration)), {"reals": reals})


def test_step_moves_the_generator_after_the_last_of_the_critics_steps():
    step = make_step(critic_steps=3)
    networks = step.generator.network, step.critic.network
    for iteration in range(1, 7):
        before = list(map(weights, networks))
        take(step, 2, iteration)
        after = map(weights, networks)
        assert [not a.equal(b) for a, b in zip(before, after, strict=True)] == [iteration % 3 == 0, True]


def test_all_that_the_step_does_but_for_the_critics_gradient_is_the_same_whoever_was_drawn():
    """The generator, its batch statistics, the figures, and what torch draws next: the same for 0, 2 and 5 units."""
    results = []
    for n in (0, 2, 5):
        step = make_step()
        step.critic.descend = lambda loss, *units: torch.tensor(1.0)
        torch.manual_seed(3)
        figures = take(step, n)
        results.append((figures, torch.rand(2), step.generator.network.state_dict()))
    for figures, later, state in results[1:]:
        assert figures == results[0][0] and torch.equal(later, results[0][1])
        assert all(torch.equal(state[name], wanted) for name, wanted in results[0][2].items())


def test_each_unit_picks_its_fakes_and_mixtures_by_itself():
    step = make_step()
    step.critic.budget.draws.secret = Secret(2)
    fakes = torch.arange(6.0).reshape(6, 1, 1, 1).expand(6, 2, 96, 96)
    torch.manual_seed(0)
    _, picked, epsilons = step._units(torch.zeros(300, 2, 2, 96, 96), fakes)
    counts = picked[:, :, 0, 0, 0].flatten().int().bincount(minlength=6)
    assert counts.min() > 60 and counts.sum() == 600  # of 6: with replacement, else a unit would see what others took
    assert epsilons.shape == (300, 2, 1, 1, 1) and len(epsilons.unique()) > 590


@pytest.mark.parametrize(("interval", "n_ranks", "told"), [(4, 1, "objective is 4"), (1, 2, "several processes")])
def test_penalty_now_and_then_and_several_processes_are_refused(monkeypatch, interval, n_ranks, told):
    monkeypatch.setattr("tofgan_monai.gan.private_step.world_size", lambda: n_ranks)
    with pytest.raises(InputError, match=told):
        PrivateStep(None, None, WassersteinGP(penalty_interval=interval), GaussianLatents(5))


@pytest.mark.parametrize("epsilon", [1.25, None])
def test_guarantee_lies_beside_the_weights_it_is_about(tmp_path, epsilon):
    history = History()
    history.epochs = [{"epoch": 1}]
    network = nn.Linear(1, 1)
    made = SimpleNamespace(guarantee=lambda steps: {"epsilon": epsilon, "steps": steps})
    trainer = SimpleNamespace(state=SimpleNamespace(iteration=40))
    GuaranteedWeights(network, history, budget=made, output_dir=str(tmp_path))(trainer)
    assert json.loads((tmp_path / "guarantee.json").read_text()) == {"epsilon": epsilon, "steps": 40}
    assert torch.load(tmp_path / "best.pt")["weight"].equal(network.weight)
    assert history.values("epsilon") == ([epsilon] if epsilon else [])
