"""The training loop, which shows a progress bar and can be killed at any moment.

A training run that was killed continues from its last checkpoint and reaches the same weights, on the CPU bit for bit.
A training run writes into its output folder `checkpoint.pt` (the whole state, after every epoch), `best.pt` (the
weights with the best quality figure), `losses.jsonl` (one line for each epoch) and TensorBoard's files. All random
numbers of an epoch depend on the seed and the epoch's number, so a checkpoint needs no states of random generators.
The recipe is a list of all settings that decide the weights (see `tofgan_monai.training.recipe`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.data.utils import set_rnd
from monai.engines import Trainer
from tqdm import tqdm

from tofgan_monai.errors import TrainingDivergedError
from tofgan_monai.files import write_json_lines
from tofgan_monai.ranks import from_first, rank, require_joined, world_size
from tofgan_monai.training.checkpoint import FORMAT, read_checkpoint, refuse_changed, start_of
from tofgan_monai.training.handlers import History
from tofgan_monai.training.recipe import recipe_of
from tofgan_monai.training.weights import save_weights

_logger = logging.getLogger(__name__)


def seed_epoch(seed: int, epoch: int, loader: DataLoader) -> None:
    """Seeds torch, NumPy and the loader's random transforms, from the seed of the training run and the epoch's number.

    All ranks use the same seed for torch and NumPy; each rank uses a different seed for its transforms.
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
    parts: Mapping[str, Any],
    pretrained: str | os.PathLike | None = None,
    save_first: bool = False,
) -> None:
    """Runs the trainer to its `max_epochs`, starting at the checkpoint in `output_dir` if this file exists.

    The checkpoint holds the recipe of the training run, which describes `state`, `parts`, the batches, the loss and the
    seed by their constructor arguments. A training run continues only with an unchanged recipe.

    Args:
        trainer: a MONAI trainer, with `history` among its handlers.
        state: dict from name to object, such as a network or an optimiser. If the object has a `state_dict`, this state
            is kept in the checkpoint.
        output_dir: the folder for the checkpoint and the history.
        history: the trainer's history.
        seed: the seed for all random numbers.
        parts: dict from name to any other object that decides the weights, such as the training step or the pairs; see
            `recipe_of`.
        pretrained: the file of the weights that the training run starts from.
        save_first: whether a checkpoint is also written before the first step; this is needed if the seed does not
            determine the first state.

    Raises:
        InputError: the checkpoint is truncated, or the folder cannot be written to.
        ChangedTrainingError: the checkpoint has another recipe, or another version of this package wrote it.
        TrainingDivergedError: a loss or a gradient became NaN or infinite.
    """
    folder = Path(output_dir)
    checkpoint = folder / "checkpoint.pt"
    saved = {name: value for name, value in {**state, "history": history}.items() if hasattr(value, "state_dict")}
    require_joined()
    recipe = recipe_of(trainer, {**state, **parts, "seed": seed, "pretrained": start_of(pretrained)})
    loader: Any = trainer.data_loader
    max_epochs = trainer.state.max_epochs or 0

    def now() -> dict[str, Any]:
        states = {name: value.state_dict() for name, value in saved.items()}
        return {"format": FORMAT, "epoch": trainer.state.epoch, "recipe": recipe, "state": states}

    content = read_checkpoint(folder)[1] if not rank() and checkpoint.exists() else None
    if world_size() > 1:  # all ranks begin with the first rank's weights, on the same pairs
        content = from_first(content or now())
    if content:
        refuse_changed(content["recipe"], recipe, checkpoint)
        for name, value in saved.items():
            value.load_state_dict(content["state"][name])
        trainer.state.epoch, trainer.state.iteration = content["epoch"], content["epoch"] * len(loader)
        if content["epoch"] >= max_epochs:
            _logger.info(f"{folder}: this training run is already complete ({content['epoch']} epochs)")
            return
        if content["epoch"]:
            _logger.info(f"{folder}: the training run continues after epoch {content['epoch']} of {max_epochs}")

    def save(engine: Engine) -> None:
        write_json_lines(folder / "losses.jsonl", history.epochs)
        save_weights(now(), checkpoint)

    if save_first and not content and not rank():
        save_weights(now(), checkpoint)
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: seed_epoch(seed, engine.state.epoch, loader))
    if not rank():
        trainer.add_event_handler(Events.EPOCH_COMPLETED, save)
    total, done = max_epochs * len(loader), trainer.state.iteration
    bar = tqdm(total=total, initial=done, desc=folder.name, unit="step", mininterval=1, disable=rank() > 0)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: bar.update() and None)
    try:
        with bar:
            trainer.run()
    except TrainingDivergedError as error:
        kept = f"the last good checkpoint is {checkpoint}" if history.epochs else "no epoch was completed"
        what = f"{error} in iteration {trainer.state.iteration}"
        raise TrainingDivergedError(f"{what}; {kept}; train again with lower learning rates") from error
