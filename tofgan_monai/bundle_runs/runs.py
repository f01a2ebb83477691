"""Runs of bundles as by `python -m monai.bundle run`, with checked overrides and clear errors."""

from __future__ import annotations

import ast
import difflib
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tofgan_monai.errors import InputError, TrainingDivergedError
from tofgan_monai.files import require_writable

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

_logger = logging.getLogger(__name__)


def run_bundle(bundle: Path, configs: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Runs configurations of a bundle as MONAI's command does, and logs that command first.

    Args:
        bundle: the bundle's folder.
        configs: names of files in the bundle's `configs/`; later files overlay earlier ones.
        overrides: id -> value, as `--id value` on MONAI's command line; ids with None are left out.

    Raises:
        InputError: the configuration does not have such an id, a value is of another kind than the configuration's own,
            or the run itself found a problem with its input.
        TrainingDivergedError: a loss became NaN.
    """
    from monai.bundle import run

    files = _files(bundle, configs)
    given = {"bundle_root": os.fspath(bundle), **{k: v for k, v in overrides.items() if v is not None}}
    if problems := mistyped(given, bundle, configs):
        raise InputError(problems)
    if "output_dir" in given:
        require_writable(given["output_dir"])
    _logger.info(_command(files, given))
    for name in ("scripts", "workflows"):  # they would log the same settings again
        logging.getLogger(f"monai.bundle.{name}").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"logging_file": False}  # the caller has set up logging
    try:
        run(config_file=files, **quiet, **given)
    except Exception as error:  # MONAI wraps whatever happens in its configurations
        cause = _root(error)
        if isinstance(cause, ImportError):
            raise _not_installed(bundle, cause) from error
        if cause is error:
            raise
        raise cause from error


def inference_config(bundle: Path) -> ConfigParser:
    """Parser of a bundle's inference.yaml, which returns the content of an id."""
    return _parsed(bundle, ["inference.yaml"])


def _parsed(bundle: Path, configs: Sequence[str]) -> ConfigParser:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(_files(bundle, configs))
    return parser


def inference_network(bundle: Path) -> Any:
    """The network that a bundle's inference.yaml defines, with random weights.

    Raises:
        InputError: the configuration names something that is not installed, as a bundle of another version may.
    """
    try:
        return inference_config(bundle).get_parsed_content("network_def")
    except ImportError as error:
        raise _not_installed(bundle, error) from error


def _not_installed(bundle: Path, error: BaseException) -> InputError:
    what = f"names something that is not installed here ({error}); it may be made for another version"
    return InputError(f"{bundle}: {what} of tofgan_monai: ask for a newer bundle")


def _files(bundle: Path, configs: Sequence[str]) -> list[str]:
    return [os.fspath(bundle / "configs" / name) for name in configs]


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Overrides, id -> value, from the words `--id value` or `--id=value` of a command line.

    A value that is a Python literal is read as one; any other is text.

    Raises:
        InputError: a word is neither an id nor the value of one.
    """
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise InputError(f"{' '.join(words)}: overrides come as --ID VALUE")
    return {name[2:]: _literal(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def _literal(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
        return "$None" if value is None else value  # an expression, as a bare None would count as not given
    except (ValueError, SyntaxError):
        return text


def _command(files: Sequence[str], overrides: Mapping[str, Any]) -> str:
    config = files[0] if len(files) == 1 else str(list(files))
    words = ["python", "-m", "monai.bundle", "run", "--config_file", config]
    for name, value in overrides.items():
        words += [f"--{name}", str(value)]
    return shlex.join(words)


def mistyped(overrides: Mapping[str, Any], bundle: Path, configs: Sequence[str]) -> list[str]:
    """The problems of overrides, one line each: an id that the configurations lack, or a value of another kind.

    Args:
        overrides: id -> value.
        bundle: the bundle's folder.
        configs: names of files in its `configs/`.
    """
    parser = _parsed(bundle, configs)
    known = list(parser.get())  # its settings
    problems = []
    for name, value in overrides.items():
        if name not in parser:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean --{near[0]}?" if near else f"it knows {', '.join(known)}"
            problems.append(f"--{name}: {bundle.name} has no such setting; {hint}")
        elif not _is_of_the_kind(value, parser[name]):
            problems.append(f"--{name} {value}: give a value like the configuration's own, {parser[name]}")
    return problems


def _is_of_the_kind(value: Any, default: Any) -> bool:
    """Whether a value is a number if the default is one; expressions and other defaults allow any value."""
    if isinstance(value, str) and value[:1] in ("$", "@", "%"):
        return True
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return True


def _root(error: BaseException) -> BaseException:
    """Returns the cause of an error that a user can act upon, or the error itself if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError | TrainingDivergedError):
            return cause
        if isinstance(cause, OSError) and cause.strerror:
            where = f"{cause.filename}: " if cause.filename else ""
            return InputError(f"{where}{cause.strerror}; look at the path, its permissions and the space on the disk")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return error
