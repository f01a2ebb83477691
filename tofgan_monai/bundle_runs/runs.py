"""`python -m monai.bundle run`, with the command shown, mistyped overrides refused and errors unwrapped."""

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
    """Runs configurations of a bundle as MONAI's command would, after logging that command.

    Args:
        bundle: the bundle's folder.
        configs: names in its `configs/`, the later ones overlay the earlier.
        overrides: id -> value, as `--id value` on MONAI's command line; None is left out.

    Raises:
        InputError: an id that the configuration does not have, a value of another kind than its own, or what the run
            itself found wrong with files.
        TrainingDivergedError: a loss became NaN.
    """
    from monai.bundle import run

    files = [os.fspath(bundle / "configs" / name) for name in configs]
    given = {"bundle_root": os.fspath(bundle), **{k: v for k, v in overrides.items() if v is not None}}
    if problems := mistyped(given, bundle, configs):
        raise InputError(problems)
    if "output_dir" in given:
        require_writable(given["output_dir"])
    _logger.info(_command(files, given))
    for name in ("scripts", "workflows"):  # they would list the same again
        logging.getLogger(f"monai.bundle.{name}").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"logging_file": False}  # the caller has set up logging
    try:
        run(config_file=files, **quiet, **given)
    except Exception as error:  # MONAI wraps whatever happens in its configurations
        cause = _root(error)
        if isinstance(cause, ImportError):
            what = f"names something that is not installed here ({cause}); it may be made for another version"
            raise InputError(f"{bundle}: {what} of tofgan_monai: ask for a newer bundle") from error
        if cause is error:
            raise
        raise cause from error


def inference_config(bundle: Path) -> ConfigParser:
    """A bundle's inference.yaml, whose contents can be asked for by their ids."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(os.fspath(bundle / "configs" / "inference.yaml"))
    return parser


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """`--id value` or `--id=value`, values read as Python literals where they are such.

    Raises:
        InputError: words that do not come in such pairs.
    """
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise InputError(f"{' '.join(words)}: overrides come as --ID VALUE")
    return {name[2:]: _literal(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def _literal(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
        return "$None" if value is None else value  # an expression: a bare None would count as not given
    except (ValueError, SyntaxError):
        return text


def _command(files: Sequence[str], overrides: Mapping[str, Any]) -> str:
    config = files[0] if len(files) == 1 else str(list(files))
    words = ["python", "-m", "monai.bundle", "run", "--config_file", config]
    for name, value in overrides.items():
        words += [f"--{name}", str(value)]
    return shlex.join(words)


def mistyped(overrides: Mapping[str, Any], bundle: Path, configs: Sequence[str]) -> list[str]:
    """What is wrong with overrides of a bundle's configurations: ids that they lack, values of another kind."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([os.fspath(bundle / "configs" / name) for name in configs])
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
    """Whether a number is given where the default is one; MONAI's expressions can be anything."""
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
    """What a person can mend in the chain of causes, else the error itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError | TrainingDivergedError):
            return cause
        if isinstance(cause, OSError) and cause.strerror:
            where = f"{cause.filename}: " if cause.filename else ""
            return InputError(f"{where}{cause.strerror}; look at the path, its permissions and the space on the disk")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return error
