"""The moving average of a generator's weights; its pairs vary less between epochs than those of the last weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import update_bn

from tofgan_monai.gan.latents import Latents

N_BATCHES, BATCH_SIZE = 32, 64  # batches of latents for the batch statistics of the averaged network


class GeneratorAverage:
    """Ignite handler whose `network` has the exponential moving average of a generator's weights over the steps.

    After every epoch this handler computes new batch statistics for the batch norms of `network`, because pairs would
    be blurred with the statistics of the generator in training. Attach it before all handlers that use `network`.

    Args:
        generator: the network in training.
        latents: the prior, from which latents are drawn for the batch statistics.
        decay: the weight of the old average at each step, from 0 to below 1; with 0, `network` is the generator itself.

    Source: Karras et al. 2018, arXiv:1710.10196, section 7; Izmailov et al. 2018, arXiv:1803.05407, section 3.2.
    """

    def __init__(self, generator: nn.Module, latents: Latents, *, decay: float) -> None:
        self.generator, self.latents, self.decay = generator, latents, decay
        self.network = copy.deepcopy(generator) if decay else generator

    def attach(self, trainer: Engine) -> None:
        """Adds this handler to the trainer; it updates the average after steps and batch statistics after epochs."""
        if self.decay:
            trainer.add_event_handler(Events.ITERATION_COMPLETED, self._update)
            trainer.add_event_handler(Events.EPOCH_COMPLETED, self._take_statistics)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the averaged network, for the checkpoint."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the averaged network from the state in a checkpoint."""
        self.network.load_state_dict(state)

    @torch.no_grad()
    def _update(self, trainer: Engine) -> None:
        # In the first steps the old average has less weight, so that the untrained weights soon have no effect.
        decay = min(self.decay, trainer.state.iteration / (trainer.state.iteration + 9))
        for average, weight in zip(self.network.parameters(), self.generator.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)

    @torch.no_grad()
    def _take_statistics(self, trainer: Engine) -> None:
        for average, live in zip(self.network.buffers(), self.generator.buffers(), strict=True):
            average.copy_(live)  # for the vectors of a spectral norm; batch statistics are computed below
        if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.network.modules()):
            return
        device = next(self.network.parameters()).device
        latents = self.latents.fixed(N_BATCHES * BATCH_SIZE, seed=0)  # draws nothing from torch's generator
        update_bn(latents.split(BATCH_SIZE), self.network, device=device)
