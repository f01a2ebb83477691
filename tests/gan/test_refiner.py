"""The refiner: the start is the identity, the label passes through, noise stays at its pixel, no pair sees another."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tofgan_monai import Refiner, SimulatedLatents, choose_label_threshold, raw_labels


def latents(n=3, seed=0):
    torch.manual_seed(seed)
    image = torch.rand(n, 1, 96, 96) * 2 - 1
    label = (torch.rand(n, 1, 96, 96) < 0.1) * 2.0 - 1
    return torch.cat([image, label, torch.randn(n, 1, 96, 96)], dim=1).flatten(1)


@pytest.fixture
def network():
    """A refiner that changes much, as after some training."""
    torch.manual_seed(0)
    network = Refiner(2)
    with torch.no_grad():
        network.last.weight *= 100
    return network.eval()


@pytest.mark.parametrize("shape", [(3, 27648), (3, 27648, 1, 1)])
def test_makes_pairs_of_flat_and_of_spatial_latents(network, shape):
    pairs = network(latents().reshape(shape))
    assert pairs.shape == (3, 2, 96, 96) and pairs.abs().max() <= 1
    assert pairs.equal(network(latents()))  # nothing is drawn in the forward pass


def test_untrained_refiner_changes_little_and_then_it_changes_more(network):
    given = latents()[:, : 96**2]
    changes = [(each(latents())[:, 0].flatten(1) - given).abs().mean() for each in (Refiner(2).eval(), network)]
    assert changes[0] < 0.02 and changes[1] > 5 * changes[0] > 0


def test_weights_start_as_he_says():
    convolutions = [module for module in Refiner(16).modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 12
    for convolution in convolutions[:-1]:
        n_in = convolution.weight[0].numel()
        assert convolution.weight.std().item() == pytest.approx((2 / (1 + 0.2**2) / n_in) ** 0.5, rel=0.1)
        assert not convolution.bias.any()


def test_label_passes_through_unchanged(network):
    x = latents()
    for training in (False, True):
        assert network.train(training)(x)[:, 1].flatten(1).equal(x[:, 96**2 : 2 * 96**2])


@pytest.mark.parametrize("part", ["image", "label", "noise"])
def test_image_depends_on_each_part_of_a_latent(network, part):
    x, which = latents(1), ["image", "label", "noise"].index(part)
    other = x.clone()
    other[:, which * 96**2 : (which + 1) * 96**2] *= -1
    assert not network(x)[:, 0].equal(network(other)[:, 0])


def test_noise_is_added_with_the_strength_of_each_pixel(network):
    """With a last layer of constants, the image is the given one, 0.1 brighter, and 0.5 of the noise."""
    nn.init.zeros_(network.last.weight)
    network.last.bias.data = torch.tensor([0.1] * 4 + [0.5] * 4)
    x = latents()
    x[:, : 96**2] *= 0.1
    image, _, noise = x.unflatten(1, (3, 96, 96)).unbind(1)
    torch.testing.assert_close(network(x)[:, 0], (image + 0.1 + 0.5 * noise).clamp(-1, 1))


def test_pixel_out_of_range_has_a_gradient_in_training_alone(network):
    nn.init.zeros_(network.last.weight)
    network.last.bias.data = torch.tensor([3.0] * 4 + [0.0] * 4)
    for training in (False, True):
        image = network.train(training)(latents())[:, 0]
        (gradient,) = torch.autograd.grad(image.sum(), [network.last.bias])
        assert bool(gradient[:4].any()) is training
        assert bool((image > 1).any()) is training


def test_pair_does_not_depend_on_its_batch(network):
    together = network(latents())
    torch.testing.assert_close(network(latents()[1:2]), together[1:2], atol=1e-5, rtol=0)


def test_every_weight_has_a_gradient(network):
    network.train()(latents())[:, 0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_weights_hold_which_heads_they_belong_to():
    assert not Refiner(2).prior.small
    network = Refiner(2)
    network.load_state_dict(Refiner(2, SimulatedLatents(small=True, spacing_mm=[0.4, 0.6, 0.8])).state_dict())
    assert network.prior.small is True and network.prior.spacing_mm == [0.4, 0.6, 0.8]
    assert network.state_dict()["small_heads"].dtype == torch.uint8, "an archive refuses bool"


def test_torchscript_gives_the_same(network):
    torch.testing.assert_close(torch.jit.script(network)(latents()), network(latents()))


def test_few_labels_give_the_threshold_that_changes_none():
    labels = raw_labels(Refiner(2, SimulatedLatents(small=True)))
    assert labels.shape == (64, 96, 96) and choose_label_threshold(labels, share=0.5) == 0
