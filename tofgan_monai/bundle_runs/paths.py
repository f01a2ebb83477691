"""The folders of bundles: those shipped with the package, those that the user installed, and any other folder."""

from __future__ import annotations

import os
from pathlib import Path

from tofgan_monai.errors import InputError

_METADATA = Path("configs/metadata.json")  # MONAI, too, recognises a bundle by this file


def bundles_dir() -> Path:
    """The folder of the shipped bundles: inside the package in a wheel, beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "bundles"
    return installed if installed.is_dir() else package.parent / "bundles"


def bundle_names() -> list[str]:
    """The names of the shipped bundles, sorted."""
    return _names(bundles_dir())


def installed_dir() -> Path:
    """The folder of installed bundles: the environment variable TOFGAN_BUNDLES, or ~/.tofgan/bundles."""
    return Path(os.environ.get("TOFGAN_BUNDLES") or Path.home() / ".tofgan" / "bundles")


def known_bundles() -> list[Path]:
    """The folders of all bundles that can be called by name: the shipped ones, then the installed ones."""
    return [folder / name for folder in (bundles_dir(), installed_dir()) for name in _names(folder)]


def _names(folder: Path) -> list[str]:
    names = (metadata.parents[1].name for metadata in folder.glob(f"*/{_METADATA}"))
    return sorted(name for name in names if not name.startswith("."))


def bundle_path(bundle: str | os.PathLike) -> Path:
    """Absolute path of a bundle's folder.

    Args:
        bundle: the name of a shipped or installed bundle, or the path of any bundle. A known name has precedence over
            a folder of that name in the working directory; give such a folder as `./NAME`.

    Raises:
        InputError: the name is not known, and no folder of this path has a configs/metadata.json.
    """
    known = {folder.name: folder for folder in reversed(known_bundles())}
    if os.fspath(bundle) in known:
        return known[os.fspath(bundle)].absolute()
    folder = Path(bundle).expanduser()
    if (folder / _METADATA).is_file():
        return folder.resolve()
    what = f"a folder without {_METADATA}" if folder.is_dir() else "no such bundle or folder"
    raise InputError(f"{bundle}: {what}; give a bundle's folder or one of {', '.join(sorted(known))}")
