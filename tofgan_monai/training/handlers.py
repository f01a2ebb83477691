"""Ignite handlers that record the figures of a training run and keep its best weights.

A figure is a named number such as a loss, a gradient norm or a quality measure.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from tofgan_monai.errors import TrainingDivergedError
from tofgan_monai.ranks import averaged_figures, rank
from tofgan_monai.training.weights import save_weights

_logger = logging.getLogger(__name__)


class History:
    """Ignite handler that collects, for each epoch, the means of the figures that the iterations return.

    The means are over all iterations of the epoch and over all processes (ranks). Each epoch also has its wall time,
    `seconds`, and the processor time of all threads of this process, `processor_seconds`, in which the other programs
    of the machine have no part. Attach this handler before all handlers that call `add`. The state of this handler
    belongs in the checkpoint.

    Raises:
        TrainingDivergedError: a figure of an iteration became NaN or infinite.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self._sums: dict[str, list[float]] = {}

    def attach(self, trainer: Engine) -> None:
        """Adds this handler to the trainer; it then collects all floats and scalar tensors that iterations return."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _begin(self, trainer: Engine) -> None:
        self._began = _clocks()
        self._sums = {}

    def _collect(self, trainer: Engine) -> None:
        output: Any = trainer.state.output
        for name, value in output.items():
            if isinstance(value, float) or (isinstance(value, torch.Tensor) and value.ndim == 0):
                figure = value if isinstance(value, float) else float(value.detach())
                if not math.isfinite(figure):
                    raise TrainingDivergedError(f"the figure {name} became {figure}")
                # MONAI's keys are enums, which torch.load(weights_only=True) refuses.
                self._sums.setdefault(str(name), []).append(figure)

    def _finish(self, trainer: Engine) -> None:
        means = averaged_figures({name: float(np.mean(values)) for name, values in self._sums.items()})
        done = {"epoch": trainer.state.epoch, "iteration": trainer.state.iteration}
        seconds, processor_seconds = (now - then for now, then in zip(_clocks(), self._began, strict=True))
        self.epochs.append({**done, **means, "seconds": seconds, "processor_seconds": processor_seconds})

    def add(self, name: str, value: float) -> None:
        """Adds a figure to the last epoch in the history."""
        self.epochs[-1][name] = float(value)

    def values(self, name: str) -> list[float]:
        """Returns the values of a figure in the history, one for each epoch that has this figure."""
        return [epoch[name] for epoch in self.epochs if name in epoch]

    def state_dict(self) -> dict[str, Any]:
        """Returns the figures of all epochs so far, for the checkpoint."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the figures of all epochs so far from the state in a checkpoint."""
        self.epochs = state["epochs"]


class KeepBest:
    """Ignite handler that measures a quality figure and keeps the weights with the best value in `best.pt`.

    NaN is never the best value: it writes no weights, and any later number replaces it.

    Args:
        network: the network whose weights are written.
        history: the history to which the figure is added; attach it to the trainer before this handler.
        figure: the name of the figure in the history and in TensorBoard.
        measure: function without arguments that returns the value of the figure.
        output_dir: the output folder of the training run.
        higher_is_better: True for a score, False for a distance.
        every: k, for a figure that is measured after each k-th epoch and after the last epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        history: History,
        *,
        figure: str,
        measure: Callable[[], float],
        output_dir: str,
        higher_is_better: bool,
        every: int = 1,
    ) -> None:
        self.network, self.history, self.figure, self.measure, self.every = network, history, figure, measure, every
        self.sign = 1 if higher_is_better else -1
        self.path = Path(output_dir) / "best.pt"

    def attach(self, trainer: Engine) -> None:
        """Adds this handler to the trainer, on rank 0 only; it then measures the figure after epochs."""
        if not rank():
            trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Measures the figure if this epoch is due, and writes the weights if the value is the best so far."""
        if trainer.state.epoch % self.every and trainer.state.epoch != trainer.state.max_epochs:
            return
        before = [self.sign * value for value in self.history.values(self.figure) if not math.isnan(value)]
        value = float(self.measure())
        self.history.add(self.figure, value)
        trainer.state.metrics[self.figure] = value
        if math.isnan(value):
            _logger.warning("%s is NaN after epoch %d; no weights are kept for it", self.figure, trainer.state.epoch)
        elif not before or self.sign * value > max(before):
            save_weights(self.network.state_dict(), self.path)


def _clocks() -> tuple[float, float]:
    """Returns the wall time and the processor time of this process, in seconds from any beginning."""
    return time.monotonic(), time.process_time()
