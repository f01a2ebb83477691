"""The application that all verbs belong to, and what several of them need."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import typer

OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def quieten() -> None:
    """Synthetic image-label pairs of brain angiographies: from TOF-MRA volumes to a vessel segmentation."""
    logging.getLogger("monai.data").setLevel(logging.ERROR)  # it misses a GPU's DICOM decoder each time
    warnings.filterwarnings("ignore", "NvImgCodecPydicomReader")


def run(bundle: str, configs: list[str], given: dict[str, Any], context: typer.Context) -> dict[str, Any]:
    """Runs a bundle's configs with what the verb was given and the further overrides; returns all of these."""
    from tofgan_monai.bundle_runs.paths import bundle_path
    from tofgan_monai.bundle_runs.runs import parse_overrides, run_bundle

    overrides = {**given, **parse_overrides(context.args)}
    run_bundle(bundle_path(bundle), configs, overrides)
    return overrides


def absolute(path: Path | None) -> str | None:
    """The path from the root, as bundles run in their own folder."""
    return None if path is None else os.path.abspath(path)
