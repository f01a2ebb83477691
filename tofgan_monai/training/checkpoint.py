"""A training's checkpoint, read for whoever asks what the training was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.training.weights import load_weights


def read_checkpoint(run: str | os.PathLike) -> tuple[Path, dict[str, Any]]:
    """The `checkpoint.pt` in the output folder of a training, where it lies and what it holds.

    Raises:
        InputError: none, or not that of a training.
    """
    path = Path(run) / "checkpoint.pt"
    content = load_weights(path)
    if not isinstance(content, dict) or not {"recipe", "state"} <= content.keys():
        raise InputError(f"{path}: not the checkpoint of a training; name the output folder of `tofgan train`")
    return path, content
