"""A generator is rebuilt from the shapes of its weights alone, whichever kind it is."""

from __future__ import annotations

import pytest

from tofgan_monai import Critic, Generator, GrainGenerator, PlainCritic, Refiner
from tofgan_monai.gan.grain_networks import NOISE_DIM
from tofgan_monai.gan.kinds import CRITICS, PairCritic, PairGenerator, generator_of_size


@pytest.mark.parametrize("network", [Generator(7, 3), GrainGenerator(7 + NOISE_DIM, 3), Refiner(3)])
def test_generator_comes_back_from_the_shapes_of_its_weights(network):
    again = generator_of_size(network.state_dict())
    assert type(again) is type(network)
    assert (again.latent_dim, again.width) == (network.latent_dim, network.width)
    again.load_state_dict(network.state_dict())



def test_kinds_are_told_apart():
    assert isinstance(GrainGenerator(width=1), PairGenerator) and isinstance(Generator(width=1), PairGenerator)
    assert isinstance(Refiner(1), PairGenerator)
    assert not isinstance(PlainCritic(1), PairGenerator)
    assert all(isinstance(kind(1), PairCritic) for kind in CRITICS.values())
    assert list(CRITICS.values()) == [Critic, PlainCritic]
