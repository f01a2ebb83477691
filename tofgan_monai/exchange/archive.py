"""Writes and reads the archive of a bundle. The same files always give the same bytes; other bytes are refused.

The archive is a zip file of stored, sorted files below one folder, the bundle's name, with fixed times and modes.
A zip file can hide links, devices, two files with one name, a zip bomb (a small file that unpacks to a huge one) or
bytes between the files. Each of these changes the bytes, so `read` compares the archive with what `write` makes of the
files in it. The manifest is the file `manifest.json` with the SHA-256 of every other file.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import Document, read_document
from tofgan_monai.exchange.layout import DEVICE, MANIFEST

FORMAT = 2  # format 1, of tofgan_monai 0.1.0, had a pickle for the weights
MAX_BYTES, MAX_FILES = 2**30, 64
NAME = re.compile(rf"(?!{DEVICE}$)[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}")
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


class Content(NamedTuple):
    """The content of an archive: name and version of the bundle, and a dict from path in the bundle to file content."""

    name: str
    version: str
    files: dict[str, bytes]


def write(content: Content) -> bytes:
    """Returns the bytes of the archive that holds a bundle's files and a manifest with their SHA-256."""
    described = {"format": FORMAT, "bundle": content.name, "version": content.version, "files": _sums(content.files)}
    files = {**content.files, MANIFEST: (json.dumps(described, indent=2) + "\n").encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(f"{content.name}/{path}", _FIXED_TIME)
            entry.create_system = 3  # Unix, on whichever machine
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files[path])
    return buffer.getvalue()


def _sums(files: Mapping[str, bytes]) -> dict[str, str]:
    """Returns a dict from path to SHA-256 for the files of a bundle, without the manifest itself."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in sorted(files.items()) if path != MANIFEST}


def read(data: bytes) -> tuple[Content | None, list[Problem]]:
    """Returns the content of an archive (None if it cannot be read safely) and the list of its problems."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if problems := list(_unsafe(entries)):
                return None, problems
            files = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError) as error:
        what = f"is not readable as a zip file ({shown(str(error))})"
        return None, [
            Problem("the archive", 0, what, "could be read in two ways; ask the sender for the archive again")
        ]
    (name,) = {path.split("/")[0] for path in files}
    return _checked(name, {path.removeprefix(f"{name}/"): content for path, content in files.items()}, data)


def _unsafe(entries: list[zipfile.ZipInfo]) -> Iterator[Problem]:
    """Yields a problem for each entry of a zip file that could do harm while the archive is unpacked."""
    if not 0 < len(entries) <= MAX_FILES:
        yield Problem("the archive", 0, f"has {len(entries)} files", f"a bundle has 1 to {MAX_FILES} files")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        yield Problem("the archive", 0, f"unpacks to more than {MAX_BYTES} bytes", "could fill the disk")
    seen: set[str] = set()
    for entry in entries:
        for found in _unsafe_entry(entry, seen):
            yield Problem(shown(entry.filename)[1:-1], 0, *found)
        seen.add(entry.filename.lower())
    if len({entry.filename.split("/")[0] for entry in entries}) != 1:
        yield Problem("the archive", 0, "holds more than one folder", "could write over another bundle")


def _unsafe_entry(entry: zipfile.ZipInfo, seen: set[str]) -> Iterator[tuple[str, str]]:
    """Yields fault and possible harm of one entry; `seen` are the lower-case names of the entries before it."""
    folder, *parts = entry.filename.split("/")
    if entry.filename != entry.orig_filename or not re.fullmatch(r"[A-Za-z0-9_./+-]+", entry.filename):
        yield "has a name beyond plain letters", "could look like another file's name"
    if not NAME.fullmatch(folder) or not parts or any(part in ("", ".", "..") for part in parts):
        yield "has a path that is absolute, contains '..' or names a folder", "could write outside the bundle's folder"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        yield "is a link, device or folder", "could write to, or read from, anywhere"
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        yield "is compressed", "could unpack to more than the disk holds; `tofgan pack` compresses nothing"
    if entry.filename.lower() in seen:
        yield "is a second file with this name", "could take the place of the first file, which was checked"


def _checked(name: str, files: dict[str, bytes], data: bytes) -> tuple[Content | None, list[Problem]]:
    """Returns the content of an unpacked archive and its problems; None as content if the manifest is not readable.

    There is a problem if the manifest does not fit the files, or if `write` makes other bytes of them.

    Args:
        name: the only folder in the archive.
        files: dict from path below that folder to content.
        data: bytes of the whole archive.
    """
    manifest, problems = read_document(MANIFEST, files.get(MANIFEST, b""))
    if manifest is None:
        return None, problems
    said = manifest.content
    if said.get("format") == 1:
        could = "has a pickle for weights, which could be any code; ask the sender to pack it by a newer tofgan_monai"
        return None, [Problem(MANIFEST, manifest.lines["format",], "is of tofgan_monai 0.1.0", could)]
    content = Content(name, str(said.get("version")), files)
    if not VERSION.fullmatch(content.version) or said.get("format") != FORMAT or said.get("bundle") != name:
        what = f"format {said.get('format')!r}, bundle {said.get('bundle')!r}, version {said.get('version')!r}"
        problems.append(Problem(MANIFEST, 1, shown(what)[1:-1], f"is not the manifest of the bundle {name}"))
    problems += _wrong_sums(manifest, files)
    if not problems and write(content) != data:
        what = "differs from the bytes that `tofgan pack` makes of these files"
        problems.append(Problem("the archive", 0, what, "could hide something in or between the files"))
    return content, problems


def _wrong_sums(manifest: Document, files: Mapping[str, bytes]) -> list[Problem]:
    """Returns a problem for each file whose SHA-256 is not the one in the manifest, and for each missing file."""
    said: Any = manifest.content.get("files")
    if not isinstance(said, dict):
        return [Problem(MANIFEST, 1, "has no list of files", "could belong to any files")]
    sums, could = _sums(files), "was changed after packing; ask the sender for the archive again"
    changed = [path for path in sorted({*said, *sums}) if said.get(path) != sums.get(path)]
    return [
        Problem(MANIFEST, manifest.lines.get(("files", path), 1), f"{shown(path)[1:-1]} has another SHA-256", could)
        for path in changed
    ]
