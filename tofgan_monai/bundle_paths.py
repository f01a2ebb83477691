"""Where the bundles are: in an installed wheel, in the checkout, or wherever the user says."""

from __future__ import annotations

import os
from pathlib import Path

from tofgan_monai.errors import InputError

_METADATA = Path("configs/metadata.json")  # what MONAI, too, tells a bundle by


def bundles_dir() -> Path:
    """The folder of the bundles that came with the package: inside it in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "bundles"
    return installed if installed.is_dir() else package.parent / "bundles"


def bundle_names() -> list[str]:
    """The names of the bundles that came with the package, sorted."""
    return sorted(metadata.parents[1].name for metadata in bundles_dir().glob(f"*/{_METADATA}"))


def bundle_path(bundle: str | os.PathLike) -> Path:
    """The absolute path of a bundle's folder, from its name or from a path to any bundle.

    A bundle that came with the package goes before a folder of its name in the working directory: that one is `./NAME`.

    Raises:
        InputError: neither a known name nor a folder with configs/metadata.json.
    """
    if os.fspath(bundle) in bundle_names():
        return bundles_dir() / bundle
    folder = Path(bundle).expanduser()
    if (folder / _METADATA).is_file():
        return folder.resolve()
    what = f"a folder without {_METADATA}" if folder.is_dir() else "no such bundle or folder"
    raise InputError(f"{bundle}: {what}; give a bundle's folder or one of {', '.join(bundle_names())}")
