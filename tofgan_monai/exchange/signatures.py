"""Signs archives and checks their signatures with OpenSSH, as git does with commits.

The signature is a separate file ARCHIVE.sig. The file of allowed signers lists names and public keys, in the format of
ssh-keygen.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tofgan_monai.errors import InputError

NAMESPACE = "tofgan-bundle"


def signature_path(archive: str | os.PathLike) -> Path:
    """Returns the path of the signature that belongs to an archive: ARCHIVE.sig."""
    return Path(f"{os.fspath(archive)}.sig")


def sign(data: bytes, key: str | os.PathLike) -> bytes:
    """Returns the signature of an archive as bytes.

    Args:
        data: the bytes of the archive.
        key: file of a private OpenSSH key.

    Raises:
        InputError: the program ssh-keygen is not installed, or it cannot use the key.
    """
    return _keygen(["sign", "-f", os.fspath(key)], data, f"{key}: cannot sign")


def check_signature(archive: Path, data: bytes, signers: str | os.PathLike, signer: str) -> None:
    """Checks that an archive was signed by the required signer.

    Args:
        archive: path of the archive, for the path of the signature and for messages.
        data: the bytes of the archive.
        signers: file of allowed signers.
        signer: name of the required signer in that file.

    Raises:
        InputError: ssh-keygen is not installed, the signature is missing, or it is not by this signer.
    """
    signature = signature_path(archive)
    if not signature.is_file():
        raise InputError(f"{signature}: no signature found; ask the sender for it, or verify without --signers")
    words = ["verify", "-f", os.fspath(signers), "-I", signer, "-s", os.fspath(signature)]
    _keygen(words, data, f"{archive}: is not signed by {signer}, as listed in {signers}")


def _keygen(words: list[str], data: bytes, failed: str) -> bytes:
    """Runs `ssh-keygen -Y` and returns its standard output.

    Args:
        words: subcommand and options.
        data: bytes for the standard input.
        failed: beginning of the error message if ssh-keygen fails.

    Raises:
        InputError: ssh-keygen is not installed, or it fails.
    """
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", *words, "-n", NAMESPACE], input=data, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise InputError("ssh-keygen: not found; install OpenSSH 8.1 or newer, or leave signatures out") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise InputError(f"{failed} ({said[-1] if said else 'ssh-keygen failed'})")
    return done.stdout
