"""Functions on what pydicom, of the extra `dicom`, holds in memory."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset


def as_bytes(dataset: Dataset) -> bytes:
    """Returns the bytes of a DICOM file; if pydicom wrote the file itself, its errors would not tell a full disk."""
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
