"""The application that all verbs belong to, the options that several verbs share, and how a verb runs a bundle."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Context, Option

OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}

BundleArgument = Annotated[str, Argument(help="name or folder of a bundle")]
WeightsOption = Annotated[Path | None, Option(help="weights to use instead of the bundle's own")]
SeedOption = Annotated[int, Option(min=0, help="seed of all random draws")]
WorkersOption = Annotated[int, Option(min=1, help="number of processes that work at the same time")]
InceptionOption = Annotated[
    Path | None, Option(help="Inception weights of the original FID; default: EfficientNet-Lite0")
]

_MONAI_WARNINGS = (
    "parsing config_file",  # any configuration is code
    r"monai\.metrics\.utils get_mask_edges:always_return_as_numpy",  # MONAI 1.6 calls its own function this way
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def silence_missing_decoder() -> None:
    """Make synthetic image-label pairs of brain angiographies (TOF-MRA) and train a vessel segmentation on them."""
    logging.getLogger("monai.data").setLevel(logging.ERROR)  # it reports a missing GPU decoder each time
    warnings.filterwarnings("ignore", "NvImgCodecPydicomReader")


def run_bundle(bundle: str, configs: list[str], given: dict[str, Any], context: Context) -> dict[str, Any]:
    """Runs configurations of a bundle with the values that the verb sets and the user's overrides; returns them all."""
    from tofgan_monai.bundle_runs import paths, runs

    overrides = {**given, **runs.parse_overrides(context.args)}
    folder = paths.bundle_path(bundle)
    with quiet_monai(folder):
        runs.run_bundle(folder, configs, overrides)
    return overrides


@contextmanager
def quiet_monai(bundle: Path | None) -> Iterator[None]:
    """Silences MONAI's own warnings by name while a bundle runs, if `tofgan verify` would pass its configurations.

    MONAI warns at each run that a configuration may run any code. It has no list of what is allowed; `tofgan verify`
    has one. The warnings stay for a bundle that holds anything beyond that list. None stands for code without a bundle.
    """
    is_silent = bundle is None or passes_inspection(bundle)
    with warnings.catch_warnings():
        for message in _MONAI_WARNINGS if is_silent else ():
            warnings.filterwarnings("ignore", message)
        yield


def passes_inspection(bundle: Path) -> bool:
    """Whether `tofgan verify` would find nothing wrong with the files in a bundle's `configs` folder."""
    from tofgan_monai.exchange.inspection import inspect_bundle

    files = {f"configs/{path.name}": path.read_bytes() for path in bundle.glob("configs/*") if path.is_file()}
    return not inspect_bundle(files)[1]


def absolute(path: Path | None) -> str | None:
    """The absolute form of a path; bundles run in their own folder, where a relative path would name another file."""
    return None if path is None else os.path.abspath(path)
