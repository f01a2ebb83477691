"""The step of the GAN: who moves and who does not, the short last batch, the loss that is no number."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tofgan_monai import AdversarialStep, Critic, GaussianLatents, Generator, NonSaturating, Player, WassersteinGP
from tofgan_monai.gan.step import TrainingDivergedError

GANS = {
    "dcgan": ("batch", NonSaturating),
    "wgan_gp": ("instance", WassersteinGP),
    "wgan_gp_sn": ("spectral", WassersteinGP),
}
LATENT_DIM = 5


@pytest.fixture(params=GANS)
def step(request):
    norm, objective = GANS[request.param]
    torch.manual_seed(0)
    return make_step(norm, objective())


def make_step(norm, objective, **options):
    generator, critic = Generator(LATENT_DIM, 2), Critic(2, norm=norm)
    players = [Player(network, torch.optim.Adam(network.parameters(), 1e-3)) for network in (generator, critic)]
    return AdversarialStep(*players, objective, GaussianLatents(LATENT_DIM), **options)


def reals(n=4):
    return {"reals": torch.rand(n, 2, 96, 96) * 2 - 1}


def weights(player):
    return [parameter.detach().clone() for parameter in player.network.parameters()]


def moved(before, player):
    return [not old.equal(new) for old, new in zip(before, player.network.parameters(), strict=True)]


@pytest.mark.parametrize(("who", "other"), [("critic", "generator"), ("generator", "critic")])
def test_step_of_a_player_moves_this_player_alone(step, who, other):
    player, opponent = getattr(step, who), getattr(step, other)
    own, others = weights(player), weights(opponent)
    fakes = step.generator.network(step.latents(4))  # with the generator's graph in the critic's step, too
    loss, _ = getattr(step.objective, f"{who}_loss")(step.critic.network, reals()["reals"], fakes)
    assert player.descend(loss) > 0
    assert all(moved(own, player)) and not any(moved(others, opponent))
    assert all(parameter.grad is None for parameter in opponent.parameters)


def test_whole_step_moves_both_and_tells_its_figures(step):
    generator, critic = weights(step.generator), weights(step.critic)
    figures = step(None, reals())
    assert all(moved(generator, step.generator)) and all(moved(critic, step.critic))
    assert all(isinstance(value, float) for value in figures.values())
    assert {"critic_loss", "generator_loss", "critic_gradient", "generator_gradient"} <= set(figures)
    assert ("wasserstein" in figures) == isinstance(step.objective, WassersteinGP)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_critic_sees_reals_and_fakes_through_the_noise(noise):
    step = make_step("instance", WassersteinGP(weight=0.0), instance_noise=noise)
    seen = []
    step.critic.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    x = reals(16)["reals"]
    step(None, {"reals": x})
    shown = next(pairs for pairs in seen if (pairs - x).abs().mean() < 0.5)
    assert (shown - x).std() == pytest.approx(noise, abs=0.01)
    assert all((pairs.abs().max() > 1.2) == (noise > 0) for pairs in seen)  # fakes too, which tanh holds within 1


def test_step_trains_networks_that_were_left_in_evaluation(step):
    for player in (step.generator, step.critic):
        player.network.eval()
    step(None, reals())
    assert step.generator.network.training and step.critic.network.training


def test_batch_statistics_move_with_every_forward_pass():
    """The generator's in the critic's steps too; the critic's with reals, with fakes, and in the generator's step."""
    step = make_step("batch", NonSaturating(), critic_steps=3)
    step(None, reals())
    assert step.generator.network[1].num_batches_tracked == 3 + 1
    assert step.critic.network.body[1].num_batches_tracked == 3 * 2 + 2  # features of fakes and of reals


@pytest.mark.parametrize("critic_steps", [1, 5])
def test_critic_steps_have_fresh_latents_each(critic_steps):
    step = make_step("instance", WassersteinGP(), critic_steps=critic_steps)
    drawn = []
    prior = step.latents
    step.latents = lambda n: drawn.append(prior(n)) or drawn[-1]
    states = []
    descend = step.critic.descend
    step.critic.descend = lambda loss: states.append(loss.item()) or descend(loss)
    step(None, reals())
    assert len(states) == critic_steps and len(drawn) == critic_steps + 1
    assert len(torch.cat(drawn).unique(dim=0)) == 4 * (critic_steps + 1)


@pytest.fixture
def bfloat16(monkeypatch):
    """Makes `AdversarialStep` compute in bfloat16 on the CPU, as it does on a GPU."""
    autocast = torch.autocast
    monkeypatch.setattr(
        "torch.autocast", lambda kind, dtype=None, enabled=True: autocast(kind, dtype, enabled=enabled or bool(dtype))
    )


def test_bfloat16_is_for_the_losses_alone(step, bfloat16, monkeypatch):
    """Gradients, optimisers and the gradient penalty are computed in float32."""
    dtypes, updates = [], []
    backward = torch.autograd.grad

    def watched(outputs, inputs, **options):
        is_penalty = options.get("create_graph", False)
        updates.append((is_penalty, torch.is_autocast_enabled("cpu")))
        dtypes.append((is_penalty, outputs.dtype))
        return backward(outputs, inputs, **options)

    monkeypatch.setattr(torch.autograd, "grad", watched)
    optimize = step.critic.optimizer.step
    step.critic.optimizer.step = lambda: updates.append((False, torch.is_autocast_enabled("cpu"))) or optimize()
    seen = []
    step.critic.network.head.register_forward_hook(lambda _, inputs, logits: seen.append(logits.dtype))
    figures = step(None, reals())
    assert torch.isfinite(torch.tensor(list(figures.values()))).all()
    assert not any(on for _, on in updates), "neither a backward pass nor an update runs under autocast"
    assert seen.count(torch.bfloat16) >= 3, "reals and fakes of the critic's loss, fakes of the generator's"
    has_penalty = isinstance(step.objective, WassersteinGP)
    assert seen.count(torch.float32) == has_penalty
    assert [dtype for is_penalty, dtype in dtypes if is_penalty] == [torch.float32] * has_penalty
    assert all(parameter.dtype == torch.float32 for parameter in step.critic.parameters)


def test_each_loss_in_bfloat16_sees_the_weights_of_the_update_before(bfloat16):
    """Autocast keeps its copies of the weights as long as a region lasts."""
    step = make_step("instance", WassersteinGP(weight=0.0), critic_steps=2)
    x, scores = reals()["reals"], []
    step.critic.network.register_forward_hook(lambda _, inputs, logits: scores.append(logits.detach().float()))
    step.critic.optimizer.step = lambda: [parameter.data.zero_() for parameter in step.critic.parameters]
    step(None, {"reals": x})
    assert scores[0].abs().max() > 0  # reals, then fakes and mixtures
    assert all(later.abs().max() == 0 for later in scores[3:]), "the first update has set all weights to 0"


@pytest.mark.parametrize("n", [1, 3])
def test_short_last_batch_works(step, n):
    step(None, reals(4))
    assert all(torch.isfinite(torch.tensor(list(step(None, reals(n)).values()))))


@pytest.mark.parametrize("who", ["critic", "generator"])
def test_loss_that_is_no_number_stops_before_anything_moves(step, who):
    player = getattr(step, who)
    before = copy.deepcopy(player.network.state_dict())
    loss = sum(parameter.sum() for parameter in player.parameters) * float("nan")
    with pytest.raises(TrainingDivergedError, match=f"loss of the {who} became nan"):
        player.descend(loss)
    assert all(value.equal(before[name]) for name, value in player.network.state_dict().items())


def test_gradient_that_is_no_number_stops_before_anything_moves():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    player = Player(network, torch.optim.SGD(network.parameters(), 1))
    with pytest.raises(TrainingDivergedError, match="gradient of the linear became"):
        player.descend(network.weight.sum().sqrt())  # 0, with an infinite slope
    assert network.weight == 0


def test_player_measures_the_gradient_and_clips_nothing():
    network = nn.Linear(2, 1, bias=False)
    before = network.weight.detach().clone()
    player = Player(network, torch.optim.SGD(network.parameters(), 1))
    norm = player.descend((network.weight * torch.tensor([30.0, 40.0])).sum())
    assert norm == 50 and (before - network.weight).tolist()[0] == pytest.approx([30, 40], rel=1e-4)


def test_fixed_latents_depend_on_seed_and_index_alone():
    latents = GaussianLatents(7)
    ten = latents.fixed(10, seed=3)
    assert ten.shape == (10, 7) and ten.dtype == torch.float32
    assert latents.fixed(4, seed=3, start=6).equal(ten[6:])
    assert not latents.fixed(10, seed=4).equal(ten) and len(ten.unique(dim=0)) == 10


def test_latents_are_gaussian():
    torch.manual_seed(0)
    for drawn in (GaussianLatents(100)(200), GaussianLatents(100).fixed(200, seed=0)):
        assert abs(drawn.mean()) < 0.03 and abs(drawn.std() - 1) < 0.03
