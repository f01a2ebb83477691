"""The paper's networks: sizes, shapes, weights at the start, and intensities that do not matter."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tofgan_monai import Critic, Generator, HalfUNet
from tofgan_monai.gan.networks import MinibatchDiscrimination


def n_parameters(make):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Generator(100, 96), 43_018_752),
        (lambda: Generator(100, 96, norm="instance"), 43_012_800),  # the convolutions alone
        (lambda: Generator(100, 96, norm="spectral"), 43_012_800),
        (lambda: Critic(96, norm="instance"), 39_211_200),
        (lambda: Critic(96, norm="spectral"), 39_211_200),
        (lambda: Critic(96, norm="batch"), 39_211_200 + 5_952),
        (lambda: HalfUNet(32), 7_846_081),
        (lambda: HalfUNet(64), 31_377_793),  # the full U-Net
    ],
)
def test_parameters_are_as_many_as_in_the_paper(make, expected):
    assert n_parameters(make) == expected


@pytest.mark.parametrize("shape", [(3, 7), (3, 7, 1, 1)])
@pytest.mark.parametrize("norm", ["batch", "instance", "spectral"])
def test_generator_makes_pairs_of_flat_and_of_spatial_latents(shape, norm):
    pairs = Generator(7, 2, norm=norm)(torch.randn(shape))
    assert pairs.shape == (3, 2, 96, 96) and pairs.abs().max() <= 1


@pytest.mark.parametrize("norm", ["batch", "instance", "spectral"])
@pytest.mark.parametrize("n", [1, 3])
def test_critic_gives_a_logit_a_pair(norm, n):
    critic = Critic(2, norm=norm)
    pairs = torch.randn(n, 2, 96, 96)
    assert critic(pairs).shape == (n, 1)
    assert critic.features(pairs).shape == (n, 32, 3, 3)


@pytest.mark.parametrize("network", [Generator, Critic, HalfUNet])
def test_state_dict_loads_strictly_into_an_equal_network(network):
    network(width=2).load_state_dict(network(width=2).state_dict())


@pytest.mark.parametrize("network", [Generator, Critic])
def test_unknown_norm_names_the_choices(network):
    with pytest.raises(ValueError, match=r"'layer'.*batch, instance, spectral"):
        network(width=2, norm="layer")


@pytest.mark.parametrize("init_std", [0.02, 0.05])
@pytest.mark.parametrize("norm", ["batch", "instance", "spectral"])
@pytest.mark.parametrize("network", [Generator, Critic])
def test_weights_start_as_asked_whatever_the_norm(network, norm, init_std):
    weights = [weight.detach() for weight in network(width=8, norm=norm, init_std=init_std).parameters()]
    convolutions = [weight for weight in weights if weight.ndim == 4]
    assert len(convolutions) == 6
    for weight in convolutions:  # under spectral norm: the weight that is learnt, before it is divided
        assert weight.std().item() == pytest.approx(init_std, rel=0.1) and abs(weight.mean()) < init_std / 5
    gains, biases = weights[1::3][:5], weights[2::3][:5]
    if norm == "batch":
        assert torch.cat(gains).mean().item() == pytest.approx(1, abs=init_std)
        assert torch.cat(gains).std().item() == pytest.approx(init_std, rel=0.3)
        assert not torch.cat(biases).any()
    else:
        assert len(weights) == 6  # instance norm has no weights of its own


@pytest.mark.parametrize(("network", "kind"), [(Generator, nn.ConvTranspose2d), (Critic, nn.Conv2d)])
def test_spectral_norm_is_on_all_convolutions_but_the_last(network, kind):
    convolutions = [module for module in network(width=2, norm="spectral").modules() if isinstance(module, kind)]
    assert [hasattr(convolution, "parametrizations") for convolution in convolutions] == [True] * 5 + [False]


def test_spectral_norm_brings_the_largest_singular_value_to_one():
    convolution = Critic(4, norm="spectral").body[3]
    for _ in range(200):
        weight = convolution.weight  # a step of the power iteration each time
    assert torch.linalg.matrix_norm(weight.flatten(1), ord=2).item() == pytest.approx(1, abs=1e-3)
    assert convolution.parametrizations.weight.original.std().item() == pytest.approx(0.02, rel=0.1)


def test_minibatch_discrimination_sees_how_close_samples_are():
    layer = MinibatchDiscrimination(4, n_closeness=5, kernel_dim=3)
    features = torch.randn(6, 4, 3, 3)
    alone = layer(features[:1])
    assert torch.allclose(alone, torch.zeros(1, 1))  # nothing but itself
    nn.init.ones_(layer.head.weight)
    assert torch.allclose(layer(features[:1].expand(6, -1, -1, -1)), torch.full((6, 1), 5.0 * 5))  # five equal others
    assert layer(features).max() < 25


def test_minibatch_discrimination_is_an_option_of_the_critic():
    critic = Critic(2, minibatch_discrimination=True)
    pairs = torch.randn(4, 2, 96, 96)
    assert critic(pairs).shape == (4, 1) and critic.eval()(pairs)[0] != critic(pairs[:2])[0]
    assert n_parameters(lambda: Critic(96, minibatch_discrimination=True)) > n_parameters(lambda: Critic(96))


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return HalfUNet(4).eval()


@pytest.mark.parametrize("size", [(96, 96), (32, 48)])
def test_unet_keeps_the_size(unet, size):
    assert unet(torch.randn(2, 1, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("change", [lambda x: x * 1000 + 5, lambda x: x * 1e-6, lambda x: x * 1e-20, lambda x: x - 70])
def test_unet_does_not_see_the_units_of_an_image(unet, change):
    image = torch.rand(2, 1, 96, 96)
    assert torch.allclose(unet(change(image)), unet(image), atol=1e-4)


def test_unet_normalises_each_image_by_itself(unet):
    images = torch.rand(2, 1, 96, 96) * torch.tensor([1.0, 4000.0])[:, None, None, None]
    assert torch.allclose(unet(images), torch.cat([unet(images[:1]), unet(images[1:])]), atol=1e-4)


@pytest.mark.parametrize("value", [0.0, -1.0, 4095.0, 1e-30])
def test_unet_survives_a_constant_image(unet, value):
    image = torch.full((1, 1, 96, 96), value, requires_grad=True)
    logits = unet(image)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in unet.parameters())


def test_unet_drops_out_only_in_training():
    network, image = HalfUNet(4, dropout=0.5), torch.rand(1, 1, 96, 96)
    assert not network.train()(image).equal(network(image))
    assert network.eval()(image).equal(network(image))
