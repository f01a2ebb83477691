"""Checks that an archive from another clinic holds a bundle and nothing else; no code of the archive runs."""

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
    """An archive from another clinic in which `verify` has found no problem.

    Attributes:
        content: name, version and files of the bundle.
        card: its data card.
        signature: words on the signature, such as `signed by NAME`.
    """

    content: Content
    card: dict[str, Any]
    signature: str

    @property
    def lines(self) -> list[str]:
        """Lines of text that describe the archive to the receiver: name, training data, audit and signature."""
        entry = self.card["weights"][WEIGHTS]
        seen = f"{kinds(entry['seen'])} (known from: {shown(entry['known_from'])})"
        return [
            f"{self.content.name} {self.content.version}, {len(self.content.files)} files",
            f"{WEIGHTS} {entry['sha256'][:16]} has seen {seen}, audit: {in_words(entry['audit'])}",
            self.signature,
        ]


def verify(archive: str | os.PathLike, signers: str | os.PathLike | None = None, signer: str | None = None) -> Verified:
    """Checks an archive and returns its content, its data card and words on its signature.

    Args:
        archive: path of a file that `pack` has written.
        signers: OpenSSH file of allowed signers; if given, the archive must be signed.
        signer: name of the required signer in that file.

    Raises:
        InputError: the archive cannot be read, is not signed by the required signer, or has problems. Each problem has
            a line in the message: file and line number, the fault, and what harm it could do.
    """
    if (signers is None) != (signer is None):
        raise InputError("--signers FILE and --signer NAME belong together; give both or neither")
    path = Path(archive)
    data = _bytes(path)
    signature = "not signed"
    if signers is not None and signer is not None:
        check_signature(path, data, signers, signer)
        signature = f"signed by {signer}"
    elif signature_path(path).exists():
        signature = "signed; the signer was not checked: give --signers FILE --signer NAME"
    content, problems = read(data)
    if content is not None:
        problems += check_files(content.files)
    if content is not None and not problems:
        said = json.loads(content.files[METADATA])["version"]
        if said != content.version:
            what = f"has version {shown(content.version)}, but {METADATA} has {shown(said)}"
            problems.append(
                Problem(MANIFEST, 1, what, "could be taken for another version; ask the sender for the archive again")
            )
    if problems or content is None:
        raise InputError([f"{path.name}: {problem}" for problem in problems])
    return Verified(content, json.loads(content.files[CARD]), signature)


def _bytes(path: Path) -> bytes:
    """Reads the file of an archive.

    Raises:
        InputError: the file cannot be read, or is larger than any archive may be.
    """
    try:
        if path.stat().st_size > MAX_BYTES + 2**20:
            what = f"has {path.stat().st_size} bytes, where a bundle has at most {MAX_BYTES}"
            raise InputError(f"{path}: {what}; ask the sender for an archive with the bundle alone")
        return path.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror}); give an archive that `tofgan pack` made"
        raise InputError(f"{path}: {what}") from error


def is_unchanged(folder: Path) -> bool:
    """Whether an installed bundle has the files in its manifest and no others, each still with the same SHA-256.

    The weights are compared by their digest, as `install` writes them in another format than the archive's.
    """
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
