"""Signatures by OpenSSH in the way of git: a separate file ARCHIVE.sig, and a file of allowed signers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tofgan_monai.errors import InputError

NAMESPACE = "tofgan-bundle"


def signature_path(archive: str | os.PathLike) -> Path:
    """The path of the signature that belongs to an archive."""
    return Path(f"{os.fspath(archive)}.sig")


def sign(data: bytes, key: str | os.PathLike) -> bytes:
    """The signature of an archive's bytes by a private key of OpenSSH.

    Raises:
        InputError: ssh-keygen is missing, or cannot use the key.
    """
    return _keygen(["sign", "-f", os.fspath(key)], data, f"{key}: cannot sign")


def check_signature(archive: Path, data: bytes, signers: str | os.PathLike, signer: str) -> None:
    """Checks that `signer`, one of the allowed signers, has signed the bytes of the archive.

    Raises:
        InputError: ssh-keygen or the signature is missing, or the signature is not by that signer.
    """
    signature = signature_path(archive)
    if not signature.is_file():
        raise InputError(f"{signature}: no signature; ask for one, or verify without --signers")
    words = ["verify", "-f", os.fspath(signers), "-I", signer, "-s", os.fspath(signature)]
    _keygen(words, data, f"{archive}: not signed by {signer} of {signers}")


def _keygen(words: list[str], data: bytes, failed: str) -> bytes:
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", *words, "-n", NAMESPACE], input=data, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise InputError("ssh-keygen: not found; install OpenSSH 8.1 or newer, or do without signatures") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise InputError(f"{failed} ({said[-1] if said else 'ssh-keygen failed'})")
    return done.stdout
