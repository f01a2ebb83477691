"""Whether an archive from elsewhere holds a bundle and nothing else; nothing of the archive runs."""

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
from tofgan_monai.exchange.layout import CARD, MANIFEST, METADATA, TENSORS, WEIGHTS
from tofgan_monai.exchange.release import in_words
from tofgan_monai.exchange.signatures import check_signature, signature_path
from tofgan_monai.files import sha256
from tofgan_monai.training.weights import weights_file_digest


class Verified(NamedTuple):
    """An archive in which nothing is wrong: its content, its data card, and who has signed it."""

    content: Content
    card: dict[str, Any]
    signature: str

    @property
    def lines(self) -> list[str]:
        """The archive in words for the person who receives it, line by line."""
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
        archive: a file that `pack` made.
        signers: OpenSSH's file of allowed signers; if given, the archive must be signed.
        signer: name of the one who must have signed it.

    Raises:
        InputError: everything that is wrong, one line each: file and line, what stands there, what it could do.
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
            what = f"version {shown(content.version)}, but {METADATA} has {shown(said)}"
            problems.append(Problem(MANIFEST, 1, what, "could pass for another version"))
    if problems or content is None:
        raise InputError([f"{path.name}: {problem}" for problem in problems])
    return Verified(content, json.loads(content.files[CARD]), signature)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES + 2**20:
            what = f"{path.stat().st_size} bytes, where a bundle has at most {MAX_BYTES}"
            raise InputError(f"{path}: {what}; ask the sender for a bundle alone")
        return path.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror}); give an archive that `tofgan pack` made"
        raise InputError(f"{path}: {what}") from error


def is_unchanged(folder: Path) -> bool:
    """Whether every file of an installed bundle is still as its manifest says; the weights by their digest."""
    try:
        sums = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
        now = {name: sha256(path) for name, path in found.items() if name != MANIFEST}
        if TENSORS in sums:  # `install` wrote models/model.pt from it; version 0.1.0 packed models/model.pt itself
            now[TENSORS] = weights_file_digest(folder / WEIGHTS)
            del now[WEIGHTS]
    except (OSError, ValueError, KeyError):
        return False
    return now == sums
