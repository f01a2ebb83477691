"""A generator is rebuilt from the shapes of its weights alone, whichever kind it is."""

from __future__ import annotations

import pytest

from tofgan_monai import Critic, Generator, Refiner
from tofgan_monai.gan.kinds import PairGenerator, generator_of_size


@pytest.mark.parametrize("network", [Generator(7, 3), Refiner(3)])
def test_generator_comes_back_from_the_shapes_of_its_weights(network):
    again = generator_of_size(network.state_dict())
    assert type(again) is type(network)
    assert (again.latent_dim, again.width) == (network.latent_dim, network.width)
    again.load_state_dict(network.state_dict())


def test_kinds_are_told_apart():
    assert isinstance(Generator(width=1), PairGenerator) and isinstance(Refiner(1), PairGenerator)
    assert not isinstance(Critic(1), PairGenerator)
