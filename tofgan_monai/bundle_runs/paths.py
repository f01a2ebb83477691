"""Where the bundles are: in an installed wheel, in the checkout, installed by the user, or wherever the user says."""

from __future__ import annotations

import os
from pathlib import Path

from tofgan_monai.errors import InputError

_METADATA = Path("configs/metadata.json")  # what MONAI, too, tells a bundle by


def bundles_dir() -> Path:
    """The folder of the bundles that came with the package: inside it in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "bundles"
    return installed if installed.is_dir() else package.parent / "bundles"


def bundle_names() -> list[str]:
    """The names of the bundles that came with the package, sorted."""
    return _names(bundles_dir())


def installed_dir() -> Path:
    """The folder of the bundles that the user has installed: TOFGAN_BUNDLES, or .tofgan/bundles at home."""
    return Path(os.environ.get("TOFGAN_BUNDLES") or Path.home() / ".tofgan" / "bundles")


def known_bundles() -> list[Path]:
    """The folders of all bundles that have a name here: those that came with the package, then the installed ones."""
    return [folder / name for folder in (bundles_dir(), installed_dir()) for name in _names(folder)]


def _names(folder: Path) -> list[str]:
    names = (metadata.parents[1].name for metadata in folder.glob(f"*/{_METADATA}"))
    return sorted(name for name in names if not name.startswith("."))


def bundle_path(bundle: str | os.PathLike) -> Path:
    """The absolute path of a bundle's folder, from its name or from a path to any bundle.

    A bundle that came with the package, or was installed, goes before a folder of its name in the working directory:
    that one is `./NAME`.

    Raises:
        InputError: neither a known name nor a folder with configs/metadata.json.
    """
    known = {folder.name: folder for folder in reversed(known_bundles())}
    if os.fspath(bundle) in known:
        return known[os.fspath(bundle)].absolute()
    folder = Path(bundle).expanduser()
    if (folder / _METADATA).is_file():
        return folder.resolve()
    what = f"a folder without {_METADATA}" if folder.is_dir() else "no such bundle or folder"
    raise InputError(f"{bundle}: {what}; give a bundle's folder or one of {', '.join(sorted(known))}")
