"""Ignite handlers of a training: the history of its figures, and the file of its best weights."""

from __future__ import annotations

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


class History:
    """Ignite handler that collects the figures of a training: for each epoch, the means of what its iterations return.

    The means are over all ranks. Attach this handler before those that add figures of their own. Its state belongs into
    the checkpoint.

    Raises:
        TrainingDivergedError: a figure became NaN or infinite.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self._sums: dict[str, list[float]] = {}

    def attach(self, trainer: Engine) -> None:
        """Makes the trainer collect all floats and scalar tensors that its iterations return."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _begin(self, trainer: Engine) -> None:
        self._began = time.monotonic()
        self._sums = {}

    def _collect(self, trainer: Engine) -> None:
        output: Any = trainer.state.output
        for name, value in output.items():
            if isinstance(value, float) or (isinstance(value, torch.Tensor) and value.ndim == 0):
                figure = float(value)
                if not math.isfinite(figure):
                    raise TrainingDivergedError(f"the {name} became {figure}")
                # MONAI's keys are enums, which torch.load(weights_only=True) refuses.
                self._sums.setdefault(str(name), []).append(figure)

    def _finish(self, trainer: Engine) -> None:
        means = averaged_figures({name: float(np.mean(values)) for name, values in self._sums.items()})
        done = {"epoch": trainer.state.epoch, "iteration": trainer.state.iteration}
        self.epochs.append({**done, **means, "seconds": time.monotonic() - self._began})

    def add(self, name: str, value: float) -> None:
        """Adds a figure to the history of the last epoch."""
        self.epochs[-1][name] = float(value)

    def values(self, name: str) -> list[float]:
        """The values of a figure in the history so far, one for each epoch that has the figure."""
        return [epoch[name] for epoch in self.epochs if name in epoch]

    def state_dict(self) -> dict[str, Any]:
        """Returns the figures of all epochs so far, for the checkpoint."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the figures of the epochs so far from the state in a checkpoint."""
        self.epochs = state["epochs"]


class KeepBest:
    """Ignite handler that measures a quality figure and keeps the weights with the best value in `best.pt`.

    Args:
        network: the network whose weights are kept.
        history: gets the figure; attach it before this handler.
        figure: the figure's name in the history and in TensorBoard.
        measure: returns the figure.
        output_dir: the training's output folder.
        higher_is_better: False for a distance.
        every: the figure is measured every so many epochs, and after the last epoch.
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
        """Makes the trainer measure the figure after its epochs, on the first rank."""
        if not rank():
            trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Measures the figure if it is due, and writes the weights if no earlier value was as good."""
        if trainer.state.epoch % self.every and trainer.state.epoch != trainer.state.max_epochs:
            return
        before = [self.sign * value for value in self.history.values(self.figure)]
        value = float(self.measure())
        self.history.add(self.figure, value)
        trainer.state.metrics[self.figure] = value
        if not before or self.sign * value > max(before):
            save_weights(self.network.state_dict(), self.path)
