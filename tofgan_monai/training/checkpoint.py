"""The checkpoint of a training run, which holds the run's recipe and the state from which the run can continue.

The recipe lists all settings that decide the weights (see `tofgan_monai.training.recipe`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tofgan_monai.errors import ChangedTrainingError, InputError
from tofgan_monai.training.recipe import Recipe, settings
from tofgan_monai.training.weights import load_weights, weights_file_digest

FORMAT = 2  # format of a checkpoint; in checkpoints without this number the recipe is text
MOST_SHOWN = 8  # largest number of changed settings in a message


def read_checkpoint(run: str | os.PathLike) -> tuple[Path, dict[str, Any]]:
    """Reads `checkpoint.pt` in the output folder of a training run; returns the path and the content of this file.

    The content is `{"format": 2, "epoch": n, "recipe": {...}, "state": {name: state dict}}`.

    Raises:
        InputError: the file is missing, truncated or not a checkpoint.
        ChangedTrainingError: another version of this package wrote the file.
    """
    path = Path(run) / "checkpoint.pt"
    content = load_weights(path)
    if not isinstance(content, dict) or not {"recipe", "state"} <= content.keys():
        raise InputError(f"{path} is not the checkpoint of a training run; give the output folder of `tofgan train`")
    if content.get("format") != FORMAT:
        raise ChangedTrainingError(
            f"{path} was written by another version of tofgan_monai and cannot be continued; choose another output_dir "
            "(best.pt of the old folder can serve as pretrained weights)"
        )
    return path, content


def refuse_changed(before: Recipe, now: Recipe, path: Path) -> None:
    """Checks that the recipe in a checkpoint equals the recipe of the training run that will continue from it.

    Args:
        before: the recipe in the checkpoint.
        now: the recipe of the training run that will continue.
        path: the path of the checkpoint, for the message.

    Raises:
        ChangedTrainingError: settings differ; the message names the checkpoint and up to 8 of these settings.
    """
    old, new = settings(before), settings(now)
    changed = sorted(key for key in {*old, *new} if old.get(key, ...) != new.get(key, ...))
    if changed:
        changes = [f"{key} was {old.get(key, 'absent')!r}, is {new.get(key, 'absent')!r} now" for key in changed]
        more = f"; {len(changes) - MOST_SHOWN} more" if len(changes) > MOST_SHOWN else ""
        raise ChangedTrainingError(
            f"{path} belongs to another configuration ({'; '.join(changes[:MOST_SHOWN])}{more}); "
            "restore the old configuration or choose another output_dir"
        )


def start_of(pretrained: str | os.PathLike | None) -> dict[str, Any] | None:
    """Returns a dict that describes the weights that a training run starts from; None if it starts from random weights.

    The dict holds `sha256`, the digest of the weights, and `seen`, the provenance of the pairs that these weights were
    trained on. `seen` is known only if `pretrained` is the `checkpoint.pt` of a training run that started from random
    weights; otherwise it is None.
    """
    if not pretrained:
        return None
    content = load_weights(pretrained)
    recipe = content["recipe"] if isinstance(content, dict) and content.get("format") == FORMAT else {}
    knows = "pairs" in recipe and recipe.get("pretrained", ...) is None
    return {"sha256": weights_file_digest(pretrained), "seen": recipe["pairs"]["provenance"] if knows else None}
