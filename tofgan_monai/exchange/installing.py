"""A verified archive unpacked among the installed bundles, whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import safetensors.torch

from tofgan_monai.bundle_runs.paths import bundle_names, installed_dir
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.archive import NAME
from tofgan_monai.exchange.layout import TENSORS, WEIGHTS
from tofgan_monai.exchange.verifying import Verified, is_unchanged
from tofgan_monai.files import require_writable
from tofgan_monai.training.weights import saved


def install(verified: Verified, *, folder: str | os.PathLike | None = None, name: str | None = None) -> Path:
    """The folder of the installed bundle: the files that were verified, with the weights in models/model.pt.

    An installed bundle of this name that is unchanged since it was installed is replaced.

    Args:
        verified: what `verify` returned.
        folder: where bundles are installed; default: where every verb looks for them by name.
        name: the bundle's name here; default: its own.

    Raises:
        InputError: the name is that of a bundle that came with the package or of a changed folder, or the disk is full.
    """
    name = name or verified.content.name
    if not NAME.fullmatch(name):
        what = "a bundle's name is of plain letters, digits, _ and -, and no device of Windows"
        raise InputError(f"--name {name}: {what}; give another")
    if name in bundle_names():
        raise InputError(f"{name}: a bundle of that name came with the package; give another: --name clinic_{name}")
    parent = Path(folder) if folder is not None else installed_dir()
    target = parent / name
    if target.exists() and not is_unchanged(target):
        raise InputError(f"{target}: has changes since it was installed; move it away, or give --name another")
    require_writable(parent)
    new, old = (parent / f".{name}.{os.getpid()}.{which}" for which in ("new", "old"))
    try:
        unpack(verified.content.files, new)
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); free some space or give --folder") from error
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
    return target


def unpack(files: dict[str, bytes], folder: Path) -> None:
    """Writes verified files into a folder; the weights go to models/model.pt, where MONAI Label looks for them."""
    for name, data in files.items():
        target = folder / (WEIGHTS if name == TENSORS else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_model(data) if name == TENSORS else data)


def _model(tensors: bytes) -> memoryview:
    """The file models/model.pt of a safetensors file; sorted, as safetensors returns another order at each call."""
    return saved(dict(sorted(safetensors.torch.load(tensors).items())))
