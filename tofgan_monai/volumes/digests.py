"""Digests by which volumes are known again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.files import sha256
from tofgan_monai.volumes.volume import load_volume


def content_digest(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, or of all files of a DICOM series' folder."""
    if not os.path.isdir(path):
        return sha256(path)
    files = sorted(file for file in Path(path).iterdir() if file.is_file())
    return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()


def voxels_digest(path: str | os.PathLike) -> str:
    """16 hexadecimal digits of a volume's shape and values, whatever its file's name, compression and type."""
    voxels = load_volume(path).voxels
    digest = hashlib.sha256(str(voxels.shape).encode())
    digest.update(np.ascontiguousarray(voxels, "<f4").data)
    return digest.hexdigest()[:16]


def why_unreadable(path: str | os.PathLike) -> str:
    """Why a volume cannot be read; empty where it can."""
    try:
        load_volume(path)
    except InputError as error:
        return f"{path}: {error}"
    return ""
