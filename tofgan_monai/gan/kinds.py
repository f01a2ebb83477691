"""The generators of this package in one type, for code that must recognise any of them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tofgan_monai.gan.latents import GaussianLatents, Latents
from tofgan_monai.gan.networks import Generator
from tofgan_monai.gan.refiner import Refiner

PairGenerator = Generator | Refiner


def generator_of_size(weights: Mapping[str, Tensor]) -> PairGenerator:
    """Returns an untrained generator whose kind, width and length of latents are read from a state dict's shapes.

    Other weights, of a network that is no generator, give a generator that they do not fit.
    """
    if "small_heads" in weights and "last.weight" in weights:
        return Refiner(width=weights["last.weight"].shape[1])
    shapes = [weight.shape for weight in weights.values() if weight.ndim == 4]
    return Generator(latent_dim=shapes[0][0], width=shapes[-1][0])


def prior_of(generator: PairGenerator) -> Latents:
    """Returns the prior of a generator: plain simulated heads for a `Refiner`, else the normal distribution."""
    if isinstance(generator, Refiner):
        return generator.prior
    return GaussianLatents(generator.latent_dim)
