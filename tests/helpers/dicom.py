"""DICOM slices for tests, written by ITK."""

from __future__ import annotations

import locale
import os
from pathlib import Path
from typing import Any

import itk
import numpy as np

AXIAL = (1, 0, 0, 0, 1, 0)
MR = "1.2.840.10008.5.1.4.1.1.4"


def write_slice(path: Path, voxels: np.ndarray, position: tuple[float, ...], **tags: Any) -> None:
    """One DICOM slice (rows, columns), or several frames of one file (frames, rows, columns)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = itk.image_from_array(voxels.astype(np.int16)[None] if voxels.ndim == 2 else voxels.astype(np.int16))
    image.SetSpacing([*tags.get("spacing", (0.5, 0.6)), 0.7])
    image.SetOrigin([float(place) for place in position])
    known = {
        "0008|0008": tags.get("image_type", "ORIGINAL\\PRIMARY\\M\\ND"),
        "0008|0016": MR,
        "0008|0060": "MR",
        "0008|103e": tags.get("description", "TOF"),
        "0010|0010": "Muster^Anna",
        "0018|0050": tags.get("thickness", "0.7"),
        "0020|000d": "1.2.3",
        "0020|000e": tags.get("series", "1.2.3.4"),
        "0020|0052": "1.2.3.6",
        "0020|0032": "\\".join(str(place) for place in position),
        "0020|0037": "\\".join(str(cosine) for cosine in tags.get("directions", AXIAL)),
    }
    dictionary = image.GetMetaDataDictionary()
    for tag, value in known.items():
        dictionary[tag] = value
    writer = itk.GDCMImageIO.New()
    writer.KeepOriginalUIDOn()
    before = locale.setlocale(locale.LC_ALL)
    itk.imwrite(image, os.fspath(path), imageio=writer)
    locale.setlocale(locale.LC_ALL, before)  # ITK 5.4.7 leaves "C": later tests would read text as ASCII
