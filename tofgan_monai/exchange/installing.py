"""A verified archive unpacked among the installed bundles, whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tofgan_monai.bundle_runs.paths import bundle_names, installed_dir
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.archive import NAME
from tofgan_monai.exchange.verifying import Verified, is_unchanged
from tofgan_monai.files import require_writable


def install(verified: Verified, *, folder: str | os.PathLike | None = None, name: str | None = None) -> Path:
    """The folder of the installed bundle: exactly the files that were verified, and their manifest.

    An installed bundle that is still as it was installed gives way to another version.

    Args:
        verified: what `verify` returned.
        folder: where bundles are installed; default: where every verb looks for them by name.
        name: the bundle's here; default: its own.

    Raises:
        InputError: the name of a bundle that came with the package, or of a folder with changes; a full disk.
    """
    name = name or verified.content.name
    if not NAME.fullmatch(name):
        raise InputError(
            f"--name {name}: a bundle's name is of plain letters, digits, _ and -, and no device of Windows"
        )
    if name in bundle_names():
        raise InputError(f"{name}: a bundle of that name came with the package; give another: --name clinic_{name}")
    parent = Path(folder) if folder is not None else installed_dir()
    target = parent / name
    if target.exists() and not is_unchanged(target):
        raise InputError(f"{target}: has changes since it was installed; move it away, or give --name another")
    require_writable(parent)
    new, old = (parent / f".{name}.{os.getpid()}.{which}" for which in ("new", "old"))
    try:
        _unpack(verified.content.files, new)
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


def _unpack(files: dict[str, bytes], folder: Path) -> None:
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
