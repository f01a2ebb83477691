"""Whether the packages are installed that write DICOM files and speak DICOMweb: the extra `dicom`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import TYPE_CHECKING

from tofgan_monai.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

_PACKAGES = {"pydicom": 3, "highdicom": 0, "dicomweb-client": 0}  # with the lowest major version
INSTALL = "pip install 'tofgan-monai[dicom]'"


def missing_packages() -> list[str]:
    """Returns the names of the packages of the extra `dicom` that are not installed, or too old."""
    missing = []
    for name, lowest in _PACKAGES.items():
        try:
            is_missing = int(version(name).split(".")[0]) < lowest
        except PackageNotFoundError:
            is_missing = True
        if is_missing:
            missing.append(f"{name} {lowest} or newer" if lowest else name)
    return missing


def require_extra(what: str) -> None:
    """Returns if the extra `dicom` is installed.

    Args:
        what: what needs the extra, the first word of the message, such as `--dicom`.

    Raises:
        InputError: a package is missing or too old, for example in MONAI Label's environment, which has pydicom 2.4.
    """
    if missing := missing_packages():
        raise InputError(f"{what} needs the extra dicom ({', '.join(missing)} not found); run {INSTALL}")


def as_bytes(dataset: Dataset) -> bytes:
    """Returns the bytes of a DICOM file; if pydicom wrote the file itself, its errors would not tell a full disk."""
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
