"""`python -m monai.bundle run`, with the command shown, mistyped overrides refused and errors unwrapped."""

from __future__ import annotations

import difflib
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tofgan_monai.engine import TrainingDivergedError
from tofgan_monai.errors import InputError

_logger = logging.getLogger(__name__)


def run_bundle(bundle: Path, configs: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Runs configurations of a bundle as MONAI's command would, after logging that command.

    Args:
        bundle: the bundle's folder.
        configs: names in its `configs/`, the later ones overlay the earlier.
        overrides: id -> value, as `--id value` on MONAI's command line; None is left out.

    Raises:
        InputError: an id that the configuration does not have, or what the run itself found wrong.
        TrainingDivergedError: a loss became NaN.
    """
    from monai.bundle import run

    files = [os.fspath(bundle / "configs" / name) for name in configs]
    given = {"bundle_root": os.fspath(bundle), **{k: v for k, v in overrides.items() if v is not None}}
    _refuse_unknown(given, files)
    _logger.info(_command(files, given))
    try:
        run(config_file=files, **given)
    except Exception as error:  # MONAI wraps whatever happens in its configurations
        cause = _root(error)
        if cause is error:
            raise
        raise cause from error


def _command(files: Sequence[str], overrides: Mapping[str, Any]) -> str:
    config = files[0] if len(files) == 1 else str(list(files))
    words = ["python", "-m", "monai.bundle", "run", "--config_file", config]
    for name, value in overrides.items():
        words += [f"--{name}", str(value)]
    return shlex.join(words)


def _refuse_unknown(overrides: Mapping[str, Any], files: Sequence[str]) -> None:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(list(files))
    problems = []
    for name in overrides:
        if name not in parser:
            near = difflib.get_close_matches(name, parser.config, n=1)
            hint = f"did you mean --{near[0]}?" if near else f"it knows {', '.join(parser.config)}"
            problems.append(f"--{name}: {Path(files[0]).parents[1].name} has no such setting; {hint}")
    if problems:
        raise InputError(problems)


def _root(error: BaseException) -> BaseException:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError | TrainingDivergedError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return error
