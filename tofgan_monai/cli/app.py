"""The typer application of all verbs (subcommands), the options that several verbs share, and functions for bundles.

A bundle is a folder of MONAI with a network, its weights and its configurations.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Context, Option

from tofgan_monai.errors import InputError

OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}

BundleArgument = Annotated[str, Argument(help="name or folder of a bundle")]
WeightsOption = Annotated[Path | None, Option(help="weights to use instead of the bundle's own")]
SeedOption = Annotated[int, Option(min=0, help="seed of all random draws")]
WorkersOption = Annotated[int, Option(min=1, help="number of processes that work at the same time")]
PrecisionOption = Annotated[
    Literal["float32", "bfloat16", "int8"] | None,
    Option(help="of the 3D network: bfloat16 needs a processor or GPU that has it, int8 the extra fast"),
]
DeviceOption = Annotated[
    str | None, Option(help="cpu, cuda, cuda:1 or another device of PyTorch; default: cuda if there is one")
]
ForceOption = Annotated[bool, Option("--force", help="overwrite the stack if it exists")]
InceptionOption = Annotated[
    Path | None, Option(help="file with the Inception weights of the original FID; default: EfficientNet-Lite0")
]

_MONAI_WARNINGS = (
    "parsing config_file",  # MONAI warns that a configuration may run any code
    r"monai\.metrics\.utils get_mask_edges:always_return_as_numpy",  # MONAI 1.6 itself uses this deprecated argument
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def prepare_process() -> None:
    """Make synthetic image-label pairs of brain angiographies (TOF-MRA) and train a vessel segmentation on them."""
    # Otherwise PyTorch's threads spin while they wait for one another, and slow each other down beside other programs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.getLogger("monai.data").setLevel(logging.ERROR)  # else MONAI reports a missing GPU decoder at each start
    warnings.filterwarnings("ignore", "NvImgCodecPydicomReader")


def run_bundle(bundle: str, configs: list[str], given: dict[str, Any], context: Context) -> dict[str, Any]:
    """Runs configurations of a bundle and returns all values that replaced values in these configurations.

    Args:
        bundle: name or folder of the bundle.
        configs: file names in the bundle's folder `configs`, such as "train.yaml".
        given: values that the verb sets, by their names in the configurations.
        context: context of the verb; its further options --ID VALUE replace the values in `given`.

    Raises:
        InputError: PyTorch cannot use the `device` here, or the run finds a problem; see `runs.run_bundle`.
    """
    from tofgan_monai.bundle_runs import paths, runs

    overrides = {**given, **runs.parse_overrides(context.args)}
    folder = paths.bundle_path(bundle)
    if isinstance(overrides.get("device"), str):
        usable_device(overrides["device"])
    with quiet_monai(folder):
        runs.run_bundle(folder, configs, overrides)
    return overrides


def require_settings(bundle: str, names: Sequence[str]) -> None:
    """Checks that a bundle is of the kind that a verb runs: its inference.yaml has these ids.

    Raises:
        InputError: it has not; the message lists the known bundles that have them.
    """
    from tofgan_monai.bundle_runs import paths, runs

    folder = paths.bundle_path(bundle)
    if missing := runs.missing_settings(folder, names):
        fitting = [known.name for known in paths.known_bundles() if not runs.missing_settings(known, names)]
        told = f"{folder.name} has no {', '.join(missing)} in its inference.yaml; give a bundle for this verb"
        raise InputError(f"{told}, such as {', '.join(fitting)}")


@contextmanager
def quiet_monai(bundle: Path | None) -> Iterator[None]:
    """Context manager that hides the warnings in `_MONAI_WARNINGS` while a bundle runs.

    MONAI warns at each run that a configuration may run any code. `tofgan verify` has a list of allowed classes and
    functions. If a bundle uses others, the warnings stay visible.

    Args:
        bundle: folder of the bundle; None for code that runs without a bundle, which is always silent.
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


def require_new_stack(output: Path, *, force: bool) -> None:
    """Checks, before any work, that a verb overwrites a stack only if the user says so.

    Args:
        output: the stack that the verb will write.
        force: value of --force.

    Raises:
        InputError: the stack exists and `force` is False.
    """
    if output.is_file() and not force:
        raise InputError(f"{output} exists already; give another name, or --force to overwrite it")


def absolute(path: Path | None) -> str | None:
    """Returns a path as absolute text, or None for None.

    A bundle runs in its own folder, where a relative path would mean another file.
    """
    return None if path is None else os.path.abspath(path)


def possible_precision(precision: str | None) -> str | None:
    """Returns a precision that the user gave, if this machine can compute in it; None for None.

    Raises:
        InputError: it cannot, for example because the extra `fast` is not installed.
    """
    if precision:
        from tofgan_monai.segmentation import precision as precisions

        precisions.require_precision(precision)
    return precision


def usable_device(device: str | None) -> str | None:
    """Returns the expression of a device that the user gave, if PyTorch can use it here; None for None.

    Raises:
        InputError: PyTorch cannot.
    """
    if device is None or device.startswith("$"):
        return device
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {device}: not usable here ({reason}); choose another, such as cpu") from error
    return f"$torch.device({device!r})"
