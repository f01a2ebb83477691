"""Ignite handlers of a training: its history of figures, and its best weights."""

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
    """Ignite handler that keeps the means of an epoch's iteration outputs, one dictionary of figures per epoch.

    Where several ranks share the training the means are over all of them. Attach it before the handlers that add
    figures of their own. Its state belongs into the checkpoint.

    Raises:
        TrainingDivergedError: a figure became NaN or infinite.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self._sums: dict[str, list[float]] = {}

    def attach(self, trainer: Engine) -> None:
        """Collects whatever floats the iterations return."""
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
                figure = value.item() if isinstance(value, torch.Tensor) else value
                if not math.isfinite(figure):
                    raise TrainingDivergedError(f"the {name} became {figure}")
                self._sums.setdefault(str(name), []).append(figure)  # MONAI's keys are enums: no weights_only load

    def _finish(self, trainer: Engine) -> None:
        means = averaged_figures({name: float(np.mean(values)) for name, values in self._sums.items()})
        seconds = time.monotonic() - self._began
        self.epochs.append(
            {"epoch": trainer.state.epoch, "iteration": trainer.state.iteration, **means, "seconds": seconds}
        )

    def add(self, name: str, value: float) -> None:
        """Joins a figure to the last epoch's."""
        self.epochs[-1][name] = float(value)

    def values(self, name: str) -> list[float]:
        """The figure's values so far, for the epochs that have it."""
        return [epoch[name] for epoch in self.epochs if name in epoch]

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.epochs = state["epochs"]


class KeepBest:
    """Ignite handler: every k epochs and after the last measures a figure and keeps the weights with the best one.

    Args:
        network: whose weights are kept in `output_dir/best.pt`.
        history: takes the figure; attached before this handler.
        figure: its name there and in TensorBoard.
        measure: returns the figure.
        output_dir: of the training.
        higher_is_better: False for a distance.
        every: epochs between two measurements.
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
        """Runs when an epoch is complete, on the first rank."""
        if not rank():
            trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Measures and keeps."""
        if trainer.state.epoch % self.every and trainer.state.epoch != trainer.state.max_epochs:
            return
        before = [self.sign * value for value in self.history.values(self.figure)]
        value = float(self.measure())
        self.history.add(self.figure, value)
        trainer.state.metrics[self.figure] = value
        if not before or self.sign * value > max(before):
            save_weights(self.network.state_dict(), self.path)
