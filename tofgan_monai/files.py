"""Functions that write a file or folder whole or not at all, lock a folder for one process, and compute a SHA-256."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError

_logger = logging.getLogger(__name__)
_LOCK = ".lock"


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Context manager that yields a temporary path; the file written there replaces `path` when the block ends.

    The temporary file lies in the folder of `path` and is deleted if the with-block raises an exception. The temporary
    file has the ending of `path` (`.nii.gz`, `.npy`), because some writers choose the format by the ending. A folder
    that is made at the temporary path becomes `path` if there is none yet.

    Raises:
        InputError: the folder cannot be written to or the disk is full. An OSError about any other file is not changed.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is not None and Path(error.filename) not in (temporary, path, *path.parents):
            raise
        raise _unwritable(path, error) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def require_writable(folder: str | os.PathLike) -> None:
    """Makes the folder if it is missing, and checks that a file can be written there; call this before a long run.

    Raises:
        InputError: no file can be written into the folder.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


@contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[None]:
    """Context manager that makes a folder for a run; a run that raises an exception leaves no empty folder behind.

    Raises:
        InputError: no file can be written into the folder.
    """
    folder = Path(os.path.abspath(folder))
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    require_writable(folder)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # a folder is not empty: the run has written something
            if missing and os.listdir(folder) == [_LOCK]:
                (folder / _LOCK).unlink()
            for one in missing:
                one.rmdir()
        raise


@contextmanager
def held(folder: str | os.PathLike, work: str) -> Iterator[None]:
    """Context manager that locks a folder for this process; the lock ends with the with-block or with the process.

    On a file system without locks, the function logs a warning and runs the with-block without a lock.

    Args:
        folder: the folder to lock; the file `.lock` remains in this folder afterwards.
        work: the name of the work in the error message, such as `training`.

    Raises:
        InputError: another process has locked the folder.
    """
    with open(Path(folder) / _LOCK, "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            remedy = "wait until it ends, or choose another output folder"
            raise InputError(f"{folder}: another {work} process is running in this folder; {remedy}") from error
        except OSError as error:
            message = "%s: this file system has no locks (%s); do not start a second %s process in this folder"
            _logger.warning(message, folder, error, work)
        yield


def _unwritable(path: str | os.PathLike, error: OSError) -> InputError:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free some space or choose another output folder" if is_full else "choose another output folder"
    return InputError(f"{path} cannot be written ({error.strerror or error}); {remedy}")


def write_whole(path: str | os.PathLike, content: str | bytes | memoryview) -> None:
    """Writes bytes, or a text in UTF-8, into the file `path`, whole or not at all; see `written_whole`."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes content as indented JSON into the file `path`; the file is written whole or not at all."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def write_json_lines(path: str | os.PathLike, lines: Iterable[Any]) -> None:
    """Writes one line of JSON for each of `lines` into the file `path`; the file is written whole or not at all."""
    write_whole(path, "".join(json.dumps(line) + "\n" for line in lines))


def sha256(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
