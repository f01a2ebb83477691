"""Finds the folders of bundles by name or by path.

A bundle was shipped with the package, was installed by the user (`tofgan install`), or is in any other folder.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tofgan_monai.errors import InputError

_METADATA = Path("configs/metadata.json")  # MONAI also recognises a bundle by this file
_TEXTS = (".yaml", ".yml", ".json", ".conf", ".md", ".txt", "LICENSE")
_MARKS = {  # the marks of UTF-32 begin like the marks of UTF-16, so UTF-32 comes first
    codecs.BOM_UTF8: "UTF-8 with a byte-order mark",
    **dict.fromkeys((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "UTF-32"),
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "UTF-16"),
}


def bundles_dir() -> Path:
    """Returns the folder of the shipped bundles: in an installed package, or beside the package in a git checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "bundles"
    return installed if installed.is_dir() else package.parent / "bundles"


def bundle_names() -> list[str]:
    """Returns the sorted names of the shipped bundles."""
    return _names(bundles_dir())


def installed_dir() -> Path:
    """Returns the folder of installed bundles: the environment variable TOFGAN_BUNDLES, or ~/.tofgan/bundles."""
    return Path(os.environ.get("TOFGAN_BUNDLES") or Path.home() / ".tofgan" / "bundles")


def known_bundles() -> list[Path]:
    """Returns the folders of all bundles that commands find by name: first the shipped, then the installed bundles."""
    return [folder / name for folder in (bundles_dir(), installed_dir()) for name in _names(folder)]


def _names(folder: Path) -> list[str]:
    """Returns the sorted names of the bundles in a folder; hidden folders are left out."""
    names = (metadata.parents[1].name for metadata in folder.glob(f"*/{_METADATA}"))
    return sorted(name for name in names if not name.startswith("."))


def bundle_path(bundle: str | os.PathLike) -> Path:
    """Returns the absolute path of a bundle's folder.

    Args:
        bundle: the name of a shipped or installed bundle, or the path of any bundle. A known name has precedence over
            a folder of that name in the working directory; give such a folder as `./NAME`.

    Raises:
        InputError: the name is not known, and there is no folder with a configs/metadata.json at this path; or a
            configuration or the data card is not in UTF-8, for example after it was edited on Windows.
    """
    known = {folder.name: folder for folder in reversed(known_bundles())}
    folder = known.get(os.fspath(bundle), Path(bundle).expanduser())
    if not (folder / _METADATA).is_file():
        what = f"is a folder without {_METADATA}" if folder.is_dir() else "no such bundle or folder"
        raise InputError(f"{bundle}: {what}; give a bundle's folder or one of {', '.join(sorted(known))}")
    paths = [path for path in (*folder.glob("configs/*"), folder / "docs" / "data_card.json") if path.is_file()]
    texts = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    if wrong := [f"{folder / name}:{line}: {what}; {remedy}" for name, line, what, remedy in misencoded(texts)]:
        raise InputError(wrong)
    return folder.absolute() if os.fspath(bundle) in known else folder.resolve()


def misencoded(files: Mapping[str, bytes]) -> Iterator[tuple[str, int, str, str]]:
    """Yields name, line, fault and remedy for each text file that is not in UTF-8, or begins with a byte-order mark.

    Args:
        files: dict from name to content; only the kinds of text files that a bundle has are read.
    """
    for name, data in files.items():
        if not name.endswith(_TEXTS):
            continue
        remedy = "save the file as UTF-8 without a byte-order mark"
        encoding = next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), None)
        if encoding or b"\0" in data[:4]:
            yield name, 1, f"the encoding is {encoding or 'UTF-16 or UTF-32'}", remedy
            continue
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            if name.endswith((".yaml", ".yml", ".json")):
                remedy += ", and write this letter within quotes by its number, such as \\u00fc"
            line = data.count(b"\n", 0, error.start) + 1
            yield name, line, "the encoding is not UTF-8, perhaps Latin-1 or Windows-1252", remedy
