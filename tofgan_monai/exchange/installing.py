"""Unpacks a verified archive into the folder of installed bundles; after an error nothing of it stays there."""

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
    """Writes a verified bundle into the folder of installed bundles, and returns the path of the new bundle folder.

    An installed bundle with the same name is replaced if no file of it has changed since it was installed.

    Args:
        verified: what `verify` returned.
        folder: the folder of installed bundles; default: `installed_dir()`, where all commands find bundles by name.
        name: the name that the bundle gets here; default: the name in the archive.

    Raises:
        InputError: a bundle with this name came with the package, or was installed and changed; the name is not of
            plain letters; or the folder cannot be written, for example because the disk is full.
    """
    name = name or verified.content.name
    if not NAME.fullmatch(name):
        what = "a bundle's name has only plain letters, digits, _ and -, and is no device of Windows"
        raise InputError(f"--name {name}: {what}; give another name")
    if name in bundle_names():
        raise InputError(f"{name}: a bundle with this name came with the package; give --name clinic_{name}")
    parent = Path(folder) if folder is not None else installed_dir()
    target = parent / name
    if target.exists() and not is_unchanged(target):
        raise InputError(f"{target}: was changed after it was installed; move the folder away, or give another --name")
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
    """Writes verified files into a folder, and the weights into models/model.pt, where MONAI Label looks for them."""
    for name, data in files.items():
        target = folder / (WEIGHTS if name == TENSORS else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_model(data) if name == TENSORS else data)


def _model(tensors: bytes) -> memoryview:
    """Converts the bytes of a safetensors file into the bytes of a models/model.pt with the same tensors.

    The tensors are sorted by name, as safetensors returns another order at each call.
    """
    return saved(dict(sorted(safetensors.torch.load(tensors).items())))
