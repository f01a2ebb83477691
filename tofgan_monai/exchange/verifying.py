"""Whether an archive from elsewhere holds a bundle and nothing else; nothing of it runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from tofgan_monai.errors import InputError
from tofgan_monai.exchange.archive import MAX_BYTES, Content, read
from tofgan_monai.exchange.checks import check_files
from tofgan_monai.exchange.data_card import kinds
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.layout import CARD, MANIFEST, METADATA, WEIGHTS
from tofgan_monai.exchange.release import in_words
from tofgan_monai.exchange.signatures import check_signature, signature_path
from tofgan_monai.files import sha256


class Verified(NamedTuple):
    """An archive that was found good: its content, what its card says, who has signed it."""

    content: Content
    card: dict[str, Any]
    signature: str

    @property
    def lines(self) -> list[str]:
        """What a person wants to know of it, line by line."""
        entry = self.card["weights"][WEIGHTS]
        seen = f"{kinds(entry['seen'])} (known from: {shown(entry['known_from'])})"
        return [
            f"{self.content.name} {self.content.version}, {len(self.content.files)} files",
            f"{WEIGHTS} {entry['sha256'][:16]} has seen {seen}, audit: {in_words(entry['audit'])}",
            self.signature,
        ]


def verify(archive: str | os.PathLike, signers: str | os.PathLike | None = None, signer: str | None = None) -> Verified:
    """The verified content of an archive.

    Args:
        archive: as `pack` made it.
        signers: OpenSSH's file of allowed signers; with it the archive must be signed.
        signer: who of them has signed it.

    Raises:
        InputError: everything that is wrong, a line each: file:line, what stands there, what it could do.
    """
    if (signers is None) != (signer is None):
        raise InputError("--signers FILE and --signer NAME belong together: give both or neither")
    path = Path(archive)
    data = _bytes(path)
    signature = "not signed"
    if signers is not None and signer is not None:
        check_signature(path, data, signers, signer)
        signature = f"signed by {signer}"
    elif signature_path(path).exists():
        signature = "signed; by whom was not checked: give --signers FILE --signer NAME"
    content, problems = read(data)
    if content is not None:
        problems += check_files(content.files)
    if content is not None and not problems:
        said = json.loads(content.files[METADATA])["version"]
        if said != content.version:
            what = f"version {shown(content.version)}, in {METADATA} {shown(said)}"
            problems.append(Problem(MANIFEST, 1, what, "could pass for another version"))
    if problems or content is None:
        raise InputError([f"{path.name}: {problem}" for problem in problems])
    return Verified(content, json.loads(content.files[CARD]), signature)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES + 2**20:
            raise InputError(f"{path}: {path.stat().st_size} bytes; a bundle has no more than {MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the archive that `tofgan pack` made"
        ) from error


def is_unchanged(folder: Path) -> bool:
    """Whether an installed bundle is still, file by file, what its manifest says."""
    try:
        sums = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return False
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    return {name: sha256(path) for name, path in files.items() if name != MANIFEST} == sums
