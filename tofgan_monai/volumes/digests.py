"""Digests that identify volumes by their content; the names of the files do not matter."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from tofgan_monai.files import sha256
from tofgan_monai.volumes.volume import load_volume


def content_digest(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file, or one SHA-256 of all files in the folder of a DICOM series."""
    if not os.path.isdir(path):
        return sha256(path)
    files = sorted(file for file in Path(path).iterdir() if file.is_file())
    return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()


def voxels_digest(path: str | os.PathLike) -> str:
    """Returns 16 hexadecimal digits that identify a volume by its shape and values; the file's name does not matter."""
    return array_digest(load_volume(path).voxels)


def array_digest(voxels: np.ndarray) -> str:
    """Returns 16 hexadecimal digits that identify an array by its shape and its values as float32."""
    digest = hashlib.sha256(str(voxels.shape).encode())
    digest.update(np.ascontiguousarray(voxels, "<f4").data)
    return digest.hexdigest()[:16]
