"""The archive: one form for one content, so that the same bundle is the same bytes, and any other form is refused.

A zip file of stored, sorted files below one folder, the bundle's name, with fixed times and modes: whatever can be
hidden in a zip file (links, devices, two files of one name, a bomb, bytes between the files) makes other bytes than
`write` does.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import read_document
from tofgan_monai.exchange.layout import DEVICE, MANIFEST

MAX_BYTES, MAX_FILES = 2**30, 64
NAME = re.compile(rf"(?!{DEVICE}$)[A-Za-z0-9][A-Za-z0-9_-]{{0,63}}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,31}")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


class Content(NamedTuple):
    """What an archive holds: the bundle's name and version, and its files by their path in the bundle."""

    name: str
    version: str
    files: dict[str, bytes]


def write(content: Content) -> bytes:
    """The archive of a bundle's files, with a manifest of their SHA-256."""
    files = {**content.files, MANIFEST: _manifest(content)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(f"{content.name}/{path}", _LONG_AGO)
            entry.create_system = 3  # Unix, whatever this machine is
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files[path])
    return buffer.getvalue()


def _manifest(content: Content) -> bytes:
    sums = {path: hashlib.sha256(data).hexdigest() for path, data in sorted(content.files.items()) if path != MANIFEST}
    described = {"format": 1, "bundle": content.name, "version": content.version, "files": sums}
    return (json.dumps(described, indent=2) + "\n").encode()


def read(data: bytes) -> tuple[Content | None, list[Problem]]:
    """The files of an archive, its manifest among them; None where they cannot be told, with all that is wrong."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if problems := _unsafe(entries):
                return None, problems
            read = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError) as error:
        return None, [Problem("the archive", 0, f"not readable ({shown(str(error))})", "could be read in two ways")]
    (name,) = {path.split("/")[0] for path in read}
    files = {path.removeprefix(f"{name}/"): content for path, content in read.items()}
    return _checked(name, files, data)


def _unsafe(entries: list[zipfile.ZipInfo]) -> list[Problem]:
    """What could do harm on the way to the disk."""
    problems = []
    if not 0 < len(entries) <= MAX_FILES:
        problems.append(Problem("the archive", 0, f"{len(entries)} files", f"a bundle has 1 to {MAX_FILES}"))
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        problems.append(Problem("the archive", 0, f"unpacks to more than {MAX_BYTES} bytes", "could fill the disk"))
    seen: set[str] = set()
    for entry in entries:
        problems += [Problem(shown(entry.filename)[1:-1], 0, *found) for found in _unsafe_entry(entry, seen)]
        seen.add(entry.filename.lower())
    if len({entry.filename.split("/")[0] for entry in entries}) != 1:
        problems.append(Problem("the archive", 0, "more than one folder", "could write over another bundle"))
    return problems


def _unsafe_entry(entry: zipfile.ZipInfo, seen: set[str]) -> list[tuple[str, str]]:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    folder, *parts = entry.filename.split("/")
    found = []
    if entry.filename != entry.orig_filename or not re.fullmatch(r"[A-Za-z0-9_./+-]+", entry.filename):
        found.append(("a name beyond plain letters", "could be another file than it looks like"))
    if not NAME.fullmatch(folder) or not parts or any(part in ("", ".", "..") for part in parts):
        found.append(("a path that is absolute, climbs or names a folder", "could write outside the bundle's folder"))
    if kind not in (0, stat.S_IFREG):
        found.append(("a link, device or folder", "could write to, or read from, anywhere"))
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        found.append(("compressed", "could unpack to more than the disk holds; `tofgan pack` stores"))
    if entry.filename.lower() in seen:
        found.append(("a second file of this name", "could take the place of the one that was checked"))
    return found


def _checked(name: str, files: dict[str, bytes], data: bytes) -> tuple[Content | None, list[Problem]]:
    """The content, if the manifest says so of it, and if it makes this archive and no other."""
    document, problems = read_document(MANIFEST, files.get(MANIFEST, b""))
    if document is None:
        return None, problems
    said: dict[str, Any] = document.content
    content = Content(name, str(said.get("version")), files)
    if not VERSION.fullmatch(content.version) or said.get("format") != 1 or said.get("bundle") != name:
        what = f"format {said.get('format')!r}, bundle {said.get('bundle')!r}, version {said.get('version')!r}"
        problems.append(Problem(MANIFEST, 1, shown(what)[1:-1], f"is not the manifest of {name}"))
    problems += _wrong_sums(said.get("files"), files, document.lines)
    if not problems and write(content) != data:
        what = "not the bytes that `tofgan pack` makes of these files"
        problems.append(Problem("the archive", 0, what, "could hide something in or between the files"))
    return content, problems


def _wrong_sums(said: Any, files: Mapping[str, bytes], lines: Mapping[Any, int]) -> list[Problem]:
    if not isinstance(said, dict):
        return [Problem(MANIFEST, 1, "no list of files", "could be any files")]
    sums = {path: hashlib.sha256(content).hexdigest() for path, content in files.items() if path != MANIFEST}
    return [
        Problem(MANIFEST, lines.get(("files", path), 1), f"{shown(path)[1:-1]} is another", "was changed after packing")
        for path in sorted({*said, *sums})
        if said.get(path) != sums.get(path)
    ]
