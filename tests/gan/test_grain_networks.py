"""The generator with grain and its critic: shapes, noise by the latent alone, weights at the start."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tofgan_monai import Critic, GaussianLatents, GrainGenerator, InputError, PlainCritic
from tofgan_monai.gan.grain_networks import NOISE_DIM, NOISY_EDGES

CODE = 5


@pytest.fixture
def generator():
    """A generator whose every noise has a strength, as after some training."""
    torch.manual_seed(0)
    network = GrainGenerator(CODE + NOISE_DIM, width=2)
    for block in network.blocks:
        if block.noisy:
            nn.init.constant_(block.strength, 0.3)
    return network


def latents(n=3, seed=0):
    return GaussianLatents(CODE + NOISE_DIM).fixed(n, seed=seed)


def changed(x, part):
    """The latents with other values in this part, a slice."""
    x = x.clone()
    x[:, part] = -x[:, part]
    return x


@pytest.mark.parametrize("shape", [(3, CODE + NOISE_DIM), (3, CODE + NOISE_DIM, 1, 1)])
def test_makes_pairs_of_flat_and_of_spatial_latents(generator, shape):
    pairs = generator(latents().reshape(shape))
    assert pairs.shape == (3, 2, 96, 96) and pairs.abs().max() <= 1
    assert pairs.equal(generator(latents()))  # nothing is drawn in the forward pass


def test_pair_does_not_depend_on_its_batch(generator):
    together = generator(latents())
    torch.testing.assert_close(generator(latents()[1:2]), together[1:2], atol=1e-5, rtol=0)


def test_code_and_each_noise_map_change_the_pair(generator):
    x, start = latents(1), CODE
    assert not generator(x).equal(generator(changed(x, slice(0, CODE))))
    for edge in NOISY_EDGES:
        difference = generator(x) - generator(changed(x, slice(start, start + edge**2)))
        assert difference.abs().amax((0, 2, 3)).min() > 0, edge  # of image and label
        start += edge**2
    assert start + 96**2 == x.shape[1]


def test_noise_of_the_output_stays_at_its_pixel_and_out_of_the_label(generator):
    x = latents(1)
    other = x.clone()
    other[0, -(96**2) + 96 * 7 + 11] += 1  # the pixel in row 7, column 11
    (difference,) = generator(other) - generator(x)
    assert difference.nonzero().tolist() == [[0, 7, 11]]


def test_untrained_generator_is_dark_and_its_hidden_layers_are_without_noise():
    torch.manual_seed(0)
    network = GrainGenerator(100 + NOISE_DIM, width=16, initial_output=(-0.6, -0.95))
    network.last.weight.data.zero_()
    pairs = network(GaussianLatents(network.latent_dim).fixed(2, seed=0))
    torch.testing.assert_close(pairs.mean((0, 2, 3)), torch.tensor([-0.6, -0.95]))
    assert all(not block.strength.any() for block in network.blocks if block.noisy)


@pytest.mark.parametrize("latent_dim", [100, NOISE_DIM])
def test_latent_without_a_code_names_the_length_that_it_needs(latent_dim):
    with pytest.raises(InputError, match=f"latent_dim = {latent_dim} leaves no code.*such as {NOISE_DIM + 100}"):
        GrainGenerator(latent_dim)


@pytest.mark.parametrize("network", [GrainGenerator, PlainCritic])
def test_weights_start_as_he_says(network):
    convolutions = [module for module in network(width=16).modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 6
    for convolution in convolutions[:-1]:
        n_in = convolution.weight[0].numel()
        assert convolution.weight.std().item() == pytest.approx((2 / (1 + 0.2**2) / n_in) ** 0.5, rel=0.1)
        assert not convolution.bias.any()
    last = convolutions[-1].weight[0]  # no activation follows
    assert last.std().item() == pytest.approx((1 / last.numel()) ** 0.5, rel=0.2)


def test_critic_gives_a_logit_a_pair_whatever_its_batch():
    critic, pairs = PlainCritic(2), torch.randn(3, 2, 96, 96)
    logits = critic(pairs)
    assert logits.shape == (3, 1) and critic.features(pairs).shape == (3, 32, 3, 3)
    torch.testing.assert_close(critic.judge(critic.features(pairs)), logits)
    torch.testing.assert_close(critic(pairs[2:]), logits[2:], atol=1e-5, rtol=0)


def phases(make, n=12):
    """The mean squared gradient of n critics' logits at the four phases of a 2x2 grid, away from the border."""
    pairs = (torch.rand(4, 2, 96, 96) * 2 - 1).requires_grad_()
    gradients = torch.cat([torch.autograd.grad(make().eval()(pairs).sum(), pairs)[0] for _ in range(n)])
    inner = gradients[..., 16:-16, 16:-16].square()
    return torch.stack([inner[..., i::2, j::2].mean() for i in range(2) for j in range(2)])


def test_no_pixel_of_a_critics_input_weighs_more_by_its_place_in_the_grid():
    """The paper's critic, whose kernel of 5 is no multiple of its stride, weighs a fourth of the pixels most."""
    torch.manual_seed(0)
    even, uneven = phases(lambda: PlainCritic(8)), phases(lambda: Critic(8, norm="instance"))
    assert even.max() / even.min() < 1.4 < uneven.max() / uneven.min()


@pytest.mark.parametrize("network", [GrainGenerator, PlainCritic])
def test_state_dict_loads_strictly_into_an_equal_network(network):
    network(width=2).load_state_dict(network(width=2).state_dict())
