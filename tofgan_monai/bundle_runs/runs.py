"""Runs bundles as `python -m monai.bundle run` does, with checked overrides and clear errors.

An override is a new value for an id of the configuration, such as `max_epochs`.
"""

from __future__ import annotations

import ast
import difflib
import logging
import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tofgan_monai.errors import InputError, TrainingDivergedError
from tofgan_monai.files import held, new_folder

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

_logger = logging.getLogger(__name__)
_SYNTAX = ("$", "@", "%")  # first letters of an expression, a reference and a macro in MONAI's parser
_REWRITTEN = re.compile("#|[@%]::")
_POSITIVE = (math.ulp(0.0), math.inf)
_NOT_NEGATIVE = (0, math.inf)
_RANGES = {  # smallest and largest value of a setting, by the last part of its id
    **dict.fromkeys(("batch_size", "max_epochs", "n", "n_fakes", "patches_per_unit", "pairs_per_epoch"), (1, math.inf)),
    **dict.fromkeys(("width", "critic_width", "latent_dim", "critic_steps", "penalty_interval"), (1, math.inf)),
    **dict.fromkeys(("lr", "generator_lr", "critic_lr", "init_std", "max_grad_norm", "target_epsilon"), _POSITIVE),
    **dict.fromkeys(("n_vessel", "n_random", "seed", "num_workers", "instance_noise", "share_epsilon"), _NOT_NEGATIVE),
    **dict.fromkeys(("levels", "steps_per_epoch", "n_validation", "n_heads"), (1, math.inf)),
    **dict.fromkeys(("simulated", "simulated_validation", "cldice_weight", "min_piece_mm3"), _NOT_NEGATIVE),
    **dict.fromkeys(("ema_decay", "dropout", "overlap"), (0, math.nextafter(1, 0))),
    **dict.fromkeys(("threshold", "prob", "strip_share", "simulated_share"), (0, 1)),
}


def run_bundle(bundle: Path, configs: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Runs configurations of a bundle as MONAI's command does, and logs that command first.

    Args:
        bundle: the bundle's folder.
        configs: names of files in the bundle's `configs/`; later files overlay earlier ones.
        overrides: dict from id to value, as `--id value` on MONAI's command line; ids with None are left out.

    A training run locks its output folder until it ends.

    Raises:
        InputError: the configuration does not have such an id; a value is out of range, or is not a number where the
            configuration has a number; another process trains in the output folder; or the run finds a problem with
            its input.
        TrainingDivergedError: a loss became NaN.
    """
    given = {"bundle_root": os.fspath(bundle), **{k: v for k, v in overrides.items() if v is not None}}
    if problems := mistyped(given, bundle, configs):
        raise InputError(problems)
    is_training = "train.yaml" in configs and "output_dir" in given
    with (
        new_folder(given["output_dir"]) if "output_dir" in given else nullcontext(),
        held(given["output_dir"], "training") if is_training else nullcontext(),
    ):
        _run(_files(bundle, configs), {name: verbatim(value) for name, value in given.items()}, bundle)


def _run(files: list[str], given: dict[str, Any], bundle: Path) -> None:
    """Logs MONAI's command and runs it.

    Args:
        files: paths of the configurations.
        given: dict from id to value, in a form that MONAI's parser does not change.
        bundle: folder of the bundle, for the error if a package is not installed.
    """
    from monai.bundle import run

    _logger.info(_command(files, given))
    for name in ("scripts", "workflows"):  # they would log the same settings again
        logging.getLogger(f"monai.bundle.{name}").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"logging_file": False}  # the caller has set up logging
    try:
        run(config_file=files, **quiet, **given)
    except Exception as error:  # MONAI wraps every exception from its configurations
        cause = _root(error)
        if isinstance(cause, ImportError):
            raise _not_installed(bundle, cause) from error
        if cause is error:
            raise
        raise cause from error


def verbatim(value: Any) -> Any:
    """Returns a setting in a form that MONAI's parser does not change; lists and dicts are converted item by item.

    A text that begins with `$`, `@` or `%` is returned unchanged, as an expression, a reference or a macro for MONAI.
    """
    if isinstance(value, str):
        return value if value.startswith(_SYNTAX) else as_text(value)
    if isinstance(value, Mapping):
        return {name: verbatim(inner) for name, inner in value.items()}
    return [verbatim(inner) for inner in value] if isinstance(value, list | tuple) else value


def as_text(text: str) -> str:
    """Returns a text in a form that MONAI's parser does not change: the text itself, or an expression that gives it.

    The parser replaces `#` by `::` in every text, and resolves `@::` and `%::` as relative ids.
    """
    if not text.startswith(_SYNTAX) and not _REWRITTEN.search(text):
        return text
    return "$" + "".join(f"\\x{ord(char):02x}" if char in "#@%" else char for char in repr(text))


def inference_config(bundle: Path) -> ConfigParser:
    """Returns a MONAI ConfigParser that has read a bundle's inference.yaml."""
    return read_configs(bundle, ["inference.yaml"])


def read_configs(bundle: Path, configs: Sequence[str]) -> ConfigParser:
    """Returns a MONAI ConfigParser that has read these files in a bundle's `configs/`; later files overlay earlier."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(_files(bundle, configs))
    return parser


def missing_settings(bundle: Path, names: Sequence[str]) -> list[str]:
    """Returns those of the names that are no id of a bundle's inference.yaml."""
    parser = inference_config(bundle)
    return [name for name in names if name not in parser]


def inference_setting(bundle: Path, name: str, overrides: Mapping[str, Any]) -> Any:
    """Returns the value that an id of a bundle's inference.yaml has in a run with overrides; None if there is no id.

    Args:
        bundle: the bundle's folder.
        name: the id, such as `progress#settings`.
        overrides: dict from id to value, as in `run_bundle`.

    Raises:
        InputError: a value needs a file that cannot be read.
    """
    parser = inference_config(bundle)
    given = {"bundle_root": os.fspath(bundle), **{k: v for k, v in overrides.items() if v is not None}}
    parser.update({name: verbatim(value) for name, value in given.items()})
    try:
        return parser.get_parsed_content(name) if name in parser else None
    except Exception as error:  # MONAI wraps every exception from its configurations
        raise _root(error) from error


def inference_network(bundle: Path) -> Any:
    """Builds the network that a bundle's inference.yaml defines, with random weights.

    Raises:
        InputError: the configuration names a class or module that is not installed, for example because the bundle was
            made for another version of tofgan_monai.
    """
    try:
        return inference_config(bundle).get_parsed_content("network_def")
    except ImportError as error:
        raise _not_installed(bundle, error) from error


def _not_installed(bundle: Path, error: BaseException) -> InputError:
    """Returns the error for a bundle that names a class or module which is not installed."""
    what = f"names something that is not installed here ({error}); the bundle may be for another version"
    return InputError(f"{bundle}: {what} of tofgan_monai: ask for a newer bundle")


def _files(bundle: Path, configs: Sequence[str]) -> list[str]:
    """Returns the paths of configurations, given by the names of files in a bundle's `configs/`."""
    return [os.fspath(bundle / "configs" / name) for name in configs]


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Returns a dict from id to value, read from the words `--id value` or `--id=value` of a command line.

    A value that is a Python literal, such as `3` or `[1, 2]`, is read as this literal. `true` and `false` are read as
    in YAML. Any other value is text.

    Raises:
        InputError: a word is neither an id nor the value of an id.
    """
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise InputError(f"{' '.join(words)}: overrides come as --ID VALUE")
    return {name[2:]: _literal(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def _literal(text: str) -> Any:
    """Returns the Python literal in a text, `$None` for the literal None, or the text itself if it is no literal."""
    if text in ("true", "false"):  # as the configuration itself spells them
        return text == "true"
    try:
        value = ast.literal_eval(text)
        return "$None" if value is None else value  # an expression, as None means that no value is given
    except (ValueError, SyntaxError):
        return text


def _command(files: Sequence[str], overrides: Mapping[str, Any]) -> str:
    """Returns MONAI's command line for these configurations and overrides, quoted for a shell."""
    config = files[0] if len(files) == 1 else str(list(files))
    words = ["python", "-m", "monai.bundle", "run", "--config_file", config]
    for name, value in overrides.items():
        words += [f"--{name}", str(value)]
    return shlex.join(words)


def mistyped(overrides: Mapping[str, Any], bundle: Path, configs: Sequence[str]) -> list[str]:
    """Returns the problems of overrides, one line each: unknown ids, values of another kind, values out of range.

    Args:
        overrides: dict from id to value.
        bundle: the bundle's folder.
        configs: names of files in its `configs/`.
    """
    parser = read_configs(bundle, configs)
    known = list(parser.get())  # ids of the first level
    problems, unlike = [], []
    for name, value in overrides.items():
        if name not in parser:
            if near := difflib.get_close_matches(name, known, n=1):
                problems.append(f"--{name}: {bundle.name} has no such setting; did you mean --{near[0]}?")
            else:
                unlike.append(f"--{name}")
        elif not _is_of_the_kind(value, parser[name]):
            problems.append(
                f"--{name} {value}: is of another kind; give a value like the configuration's own, {parser[name]}"
            )
        elif allowed := _allowed(name, value):
            problems.append(f"--{name} {value}: out of range; give {allowed}")
    if unlike:
        problems.append(f"{', '.join(unlike)}: {bundle.name} has no such setting; its settings are {', '.join(known)}")
    return problems


def _allowed(name: str, value: Any) -> str | None:
    """Returns the allowed range in words if a setting's value is a number outside it; None for any other value."""
    low, high = _RANGES.get(re.split("#|::", name)[-1], (-math.inf, math.inf))
    if isinstance(value, str | bool | None) or not isinstance(value, int | float) or low <= value <= high:
        return None
    least = f"at least {low}" if low in (0, 1) else "more than 0"
    return least if high == math.inf else f"{least} and {'at most 1' if high == 1 else 'less than 1'}"


def _is_of_the_kind(value: Any, default: Any) -> bool:
    """Whether a setting's value is of the same kind as the default: true or false, a whole number, or a number.

    Any value is accepted if the default is of another kind, and an expression is accepted for any default.
    """
    if isinstance(value, str) and value[:1] in _SYNTAX:
        return True
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return True


def _root(error: BaseException) -> BaseException:
    """Returns the first exception in a chain of causes that a user can act upon; the error itself if there is none.

    These are InputError, TrainingDivergedError, and OSError, which is returned as an InputError with a remedy.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError | TrainingDivergedError):
            return cause
        if isinstance(cause, OSError) and cause.strerror:
            where = f"{cause.filename}: " if cause.filename else ""
            return InputError(f"{where}{cause.strerror}; look at the path, its permissions and the space on the disk")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return error
