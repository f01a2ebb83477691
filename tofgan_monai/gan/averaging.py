"""A moving average of a generator's weights: steadier pairs than those of the last step."""

from __future__ import annotations

import copy

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import update_bn

from tofgan_monai.gan.latents import GaussianLatents

N_BATCHES, BATCH_SIZE = 32, 64  # of latents, for the averaged network's batch statistics


class GeneratorAverage:
    """Ignite handler whose `network` is the exponential moving average of a generator's weights over the steps.

    After every epoch its batch norms are given the statistics that the averaged weights themselves have: those of the
    live generator beside averaged weights make blurred pairs. Attach it before the handlers that look at `network`.

    Args:
        generator: the network that is trained.
        latents: the prior.
        decay: weight of the past at each step, below 1; 0 averages nothing: `network` is the generator itself.

    Source: Karras et al. 2018, arXiv:1710.10196, section 7; Izmailov et al. 2018, arXiv:1803.05407, section 3.2.
    """

    def __init__(self, generator: nn.Module, latents: GaussianLatents, *, decay: float) -> None:
        self.generator, self.latents, self.decay = generator, latents, decay
        self.network = copy.deepcopy(generator) if decay else generator

    def attach(self, trainer: Engine) -> None:
        """Averages after each step, takes the statistics when an epoch is complete."""
        if self.decay:
            trainer.add_event_handler(Events.ITERATION_COMPLETED, self._update)
            trainer.add_event_handler(Events.EPOCH_COMPLETED, self._take_statistics)

    @torch.no_grad()
    def _update(self, trainer: Engine) -> None:
        # Early on the average of all steps so far, else the untrained weights would linger for thousands of steps.
        decay = min(self.decay, trainer.state.iteration / (trainer.state.iteration + 9))
        for average, weight in zip(self.network.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)

    @torch.no_grad()
    def _take_statistics(self, trainer: Engine) -> None:
        device = next(self.network.parameters()).device
        latents = self.latents.fixed(N_BATCHES * BATCH_SIZE, seed=0)  # fixed: the training's own draws are untouched
        for average, live in zip(self.network.buffers(), self.generator.buffers(), strict=True):
            average.copy_(live)  # a spectral norm's vectors; batch statistics are taken anew
        update_bn(latents.split(BATCH_SIZE), self.network, device=device)
