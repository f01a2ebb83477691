"""Trainings that show their progress, can be killed at any moment and go on to the same weights, bit-equal on the CPU.

A training writes into its output folder: `checkpoint.pt` (the whole state, after every epoch), `best.pt` (the weights
with the best quality figure), `losses.jsonl` (a line an epoch) and TensorBoard's files. All randomness of an epoch
comes from the seed and the epoch's number, so a checkpoint needs no generator states.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.data.utils import set_rnd
from monai.engines import Trainer
from torch import nn
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.gan.step import TrainingDivergedError
from tofgan_monai.ranks import averaged_figures, from_first, n_ranks, rank, require_joined
from tofgan_monai.training.weights import load_weights, save_weights

_logger = logging.getLogger(__name__)


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
                figure = float(value)
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


def seed_epoch(seed: int, epoch: int, loader: DataLoader) -> None:
    """Seeds torch, NumPy and the loader's random transforms from the seed and the epoch's number.

    Several ranks have torch and NumPy seeded alike, and their transforms each in its own way.
    """
    number = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch.manual_seed(number)
    np.random.seed(number)
    set_rnd(loader.dataset, seed=(number + rank()) % 2**32)


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


def run_resumable(
    trainer: Trainer,
    state: Mapping[str, Any],
    output_dir: str,
    *,
    history: History,
    seed: int,
    recipe: Mapping[str, Any],
    save_first: bool = False,
) -> None:
    """Runs the trainer to its `max_epochs`, from the checkpoint in `output_dir` if there is one.

    Args:
        trainer: a MONAI trainer, with `history` among its handlers.
        state: name -> networks, optimisers, objective: whatever has a `state_dict` is kept in the checkpoint.
        output_dir: where checkpoints and the history go.
        history: the trainer's.
        seed: of all randomness.
        recipe: name -> whatever may not change when the training goes on; compared by its text.
        save_first: a checkpoint before the first step, too: for a state whose beginning the seed does not give.

    Raises:
        InputError: the checkpoint is of another configuration or truncated, or the folder cannot be written to.
        TrainingDivergedError: a loss became NaN.
    """
    folder = Path(output_dir)
    checkpoint = folder / "checkpoint.pt"
    saved = {name: value for name, value in {**state, "history": history}.items() if hasattr(value, "state_dict")}
    texts = {name: str(value) for name, value in {**recipe, "seed": seed}.items()}
    loader: Any = trainer.data_loader
    max_epochs = trainer.state.max_epochs or 0

    def now() -> dict[str, Any]:
        states = {name: value.state_dict() for name, value in saved.items()}
        return {"epoch": trainer.state.epoch, "recipe": texts, "state": states}

    require_joined()
    content = load_weights(checkpoint) if not rank() and checkpoint.exists() else None
    if n_ranks() > 1:  # all begin with the first one's weights, on the same pairs
        content = from_first(content or now())
    if content:
        _refuse_another_recipe(content["recipe"], texts, checkpoint)
        for name, value in saved.items():
            value.load_state_dict(content["state"][name])
        trainer.state.epoch, trainer.state.iteration = content["epoch"], content["epoch"] * len(loader)
        if content["epoch"] >= max_epochs:
            _logger.info(f"{folder}: finished already ({content['epoch']} epochs); nothing to do")
            return
        if content["epoch"]:
            _logger.info(f"{folder}: going on after epoch {content['epoch']} of {max_epochs}")

    def save(engine: Engine) -> None:
        with written_whole(folder / "losses.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(epoch) + "\n" for epoch in history.epochs), encoding="utf-8")
        save_weights(now(), checkpoint)

    if save_first and not content and not rank():
        save_weights(now(), checkpoint)
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: seed_epoch(seed, engine.state.epoch, loader))
    if not rank():
        trainer.add_event_handler(Events.EPOCH_COMPLETED, save)
    total = max_epochs * len(loader)
    quiet = rank() > 0
    with tqdm(
        total=total, initial=trainer.state.iteration, desc=folder.name, unit="step", mininterval=1, disable=quiet
    ) as bar:
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: bar.update() and None)
        try:
            trainer.run()
        except TrainingDivergedError as error:
            kept = f"the last good checkpoint is {checkpoint}" if history.epochs else "no epoch was complete"
            raise TrainingDivergedError(
                f"{error} in iteration {trainer.state.iteration}; {kept}; train anew with lower learning rates"
            ) from error


def _refuse_another_recipe(before: Mapping[str, str], now: Mapping[str, str], checkpoint: Path) -> None:
    changed = [
        f"{name}: {_first_difference(before.get(name, 'absent'), now.get(name, 'absent'))}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise InputError(
            f"{checkpoint} is of another configuration ({'; '.join(changed)}); "
            "go on with the old configuration or choose another output_dir"
        )


def _first_difference(before: str, now: str) -> str:
    lines = zip_longest(before.splitlines(), now.splitlines(), fillvalue="nothing")
    old, new = next((old, new) for old, new in lines if old != new)
    return f"{old.strip()!r} then, {new.strip()!r} now"
