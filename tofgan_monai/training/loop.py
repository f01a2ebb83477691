"""Trainings that show their progress, can be killed at any moment and go on to the same weights, bit-equal on the CPU.

A training writes into its output folder: `checkpoint.pt` (the whole state, after every epoch), `best.pt` (the weights
with the best quality figure), `losses.jsonl` (a line an epoch) and TensorBoard's files. All randomness of an epoch
comes from the seed and the epoch's number, so a checkpoint needs no generator states.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.data.utils import set_rnd
from monai.engines import Trainer
from tqdm import tqdm

from tofgan_monai.errors import ChangedTrainingError, TrainingDivergedError
from tofgan_monai.files import written_whole
from tofgan_monai.ranks import from_first, rank, require_joined, world_size
from tofgan_monai.training.handlers import History
from tofgan_monai.training.weights import load_weights, save_weights

_logger = logging.getLogger(__name__)


def seed_epoch(seed: int, epoch: int, loader: DataLoader) -> None:
    """Seeds torch, NumPy and the loader's random transforms from the seed and the epoch's number.

    Several ranks have torch and NumPy seeded alike, and their transforms each in its own way.
    """
    number = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch.manual_seed(number)
    np.random.seed(number)
    set_rnd(loader.dataset, seed=(number + rank()) % 2**32)


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
        InputError: the checkpoint is truncated, or the folder cannot be written to.
        ChangedTrainingError: the checkpoint has another recipe.
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
    if world_size() > 1:  # all begin with the first one's weights, on the same pairs
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
        raise ChangedTrainingError(
            f"{checkpoint} is of another configuration ({'; '.join(changed)}); "
            "go on with the old configuration or choose another output_dir"
        )


def _first_difference(before: str, now: str) -> str:
    lines = zip_longest(before.splitlines(), now.splitlines(), fillvalue="nothing")
    old, new = next((old, new) for old, new in lines if old != new)
    return f"{old.strip()!r} then, {new.strip()!r} now"
