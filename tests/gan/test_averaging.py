"""The moving average of a generator: its weights by hand, its batch statistics, and the case of no average."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from torch.optim.swa_utils import update_bn

from tofgan_monai import GaussianLatents, Generator, GeneratorAverage

LATENTS = GaussianLatents(3)


def run(generator, average, steps):
    """A training whose every step adds 1 to all weights; whatever the generator's batch norms see is thrown away."""

    @torch.no_grad()
    def step(engine, batch):
        for parameter in generator.parameters():
            parameter += 1

    trainer = Engine(step)
    average.attach(trainer)
    trainer.run(range(steps), max_epochs=1)


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_averages_the_weights_over_the_steps(norm):
    generator = Generator(3, 1, norm=norm)
    average = GeneratorAverage(generator, LATENTS, decay=0.2)
    weight = average.network[-2].weight.detach().clone()
    run(generator, average, 3)
    expected = weight
    for step, decay in enumerate([1 / 10, 2 / 11, 0.2], start=1):  # the third would be 3 / 12
        expected = decay * expected + (1 - decay) * (weight + step)
    torch.testing.assert_close(average.network[-2].weight.detach(), expected)


def test_batch_statistics_are_those_of_the_averaged_weights():
    generator = Generator(3, 2)
    average = GeneratorAverage(generator, LATENTS, decay=0.9)
    seen = {}
    trainer = Engine(lambda engine, batch: None)
    average.attach(trainer)
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda: seen.update(state=torch.get_rng_state()))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.update(after=torch.get_rng_state()))
    trainer.run(range(2), max_epochs=1)
    inner = average.network[0](LATENTS.fixed(2048, seed=0)[:, :, None, None]).detach()
    statistics = average.network[1]
    torch.testing.assert_close(statistics.running_mean, inner.mean((0, 2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(statistics.running_var, inner.var((0, 2, 3)), rtol=0.05, atol=0)
    assert not generator[1].running_mean.any()  # the live one's are untouched
    assert seen["state"].equal(seen["after"])  # and so are the training's random numbers


def test_no_decay_is_the_generator_itself():
    generator = Generator(3, 1)
    statistics = generator[1].running_mean.clone()
    average = GeneratorAverage(generator, LATENTS, decay=0.0)
    run(generator, average, 2)
    assert average.network is generator and generator[1].running_mean.equal(statistics)


@pytest.mark.parametrize("norm", ["batch", "instance", "spectral"])
def test_average_of_equal_weights_is_the_generator(norm):
    generator = Generator(3, 2, norm=norm)
    average = GeneratorAverage(generator, LATENTS, decay=0.5)
    trainer = Engine(lambda engine, batch: generator.train()(LATENTS(8)).mean().item())  # moves what is no weight
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: update_bn([LATENTS.fixed(2048, seed=0)], generator))
    average.attach(trainer)
    trainer.run(range(5), max_epochs=1)
    latents = LATENTS.fixed(4, seed=1)
    made = [network.eval()(latents).detach() for network in (generator, average.network)]
    torch.testing.assert_close(made[0], made[1], atol=0.02, rtol=0)
