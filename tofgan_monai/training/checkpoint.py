"""The checkpoint of a training: its recipe, and the state that it goes on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tofgan_monai.errors import ChangedTrainingError, InputError
from tofgan_monai.training.recipe import Recipe, settings
from tofgan_monai.training.weights import load_weights, weights_file_digest

FORMAT = 2  # of a checkpoint; in those without a number a recipe was text
MOST_SHOWN = 8  # changed settings in a message


def read_checkpoint(run: str | os.PathLike) -> tuple[Path, dict[str, Any]]:
    """Reads the `checkpoint.pt` in a training's output folder; returns its path and its content.

    The content is `{"format": 2, "epoch": n, "recipe": {...}, "state": {name: state dict}}`.

    Raises:
        InputError: the file is missing, truncated or not a training's.
        ChangedTrainingError: an earlier version wrote it.
    """
    path = Path(run) / "checkpoint.pt"
    content = load_weights(path)
    if not isinstance(content, dict) or not {"recipe", "state"} <= content.keys():
        raise InputError(f"{path}: not the checkpoint of a training; name the output folder of `tofgan train`")
    if content.get("format") != FORMAT:
        raise ChangedTrainingError(
            f"{path}: written by another version of tofgan_monai, whose recipe cannot be compared; choose another "
            "output_dir; this training's best.pt can be the pretrained weights there"
        )
    return path, content


def refuse_changed(before: Recipe, now: Recipe, path: Path) -> None:
    """Raises an error if the recipe of a checkpoint differs from the recipe of the training that would go on from it.

    Raises:
        ChangedTrainingError: settings differ; the message names the checkpoint and the first of these settings.
    """
    old, new = settings(before), settings(now)
    changed = sorted(key for key in {*old, *new} if old.get(key, ...) != new.get(key, ...))
    if changed:
        changes = [f"{key}: {old.get(key, 'absent')!r} then, {new.get(key, 'absent')!r} now" for key in changed]
        more = f"; {len(changes) - MOST_SHOWN} more" if len(changes) > MOST_SHOWN else ""
        raise ChangedTrainingError(
            f"{path} is of another configuration ({'; '.join(changes[:MOST_SHOWN])}{more}); "
            "go on with the old configuration or choose another output_dir"
        )


def start_of(pretrained: str | os.PathLike | None) -> dict[str, Any] | None:
    """Describes the weights that a training starts from: their digest, and the data they have seen; None without.

    The data are known of a training's `checkpoint.pt` that itself started from nothing: `seen` is the provenance of its
    pairs, and None in all other cases.
    """
    if not pretrained:
        return None
    content = load_weights(pretrained)
    recipe = content["recipe"] if content.get("format") == FORMAT else {}
    knows = "pairs" in recipe and recipe.get("pretrained", ...) is None
    return {"sha256": weights_file_digest(pretrained), "seen": recipe["pairs"]["provenance"] if knows else None}
