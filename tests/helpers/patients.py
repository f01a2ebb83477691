"""A patient's small volumes in several orientations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (112, 104, 6)


def affine_of(orientation: str) -> np.ndarray:
    """Millimetres of a voxel index: 0.5x0.5x0.7 mm, turned by 15 degrees where oblique."""
    cos, sin = np.cos(np.pi / 12), np.sin(np.pi / 12)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    axes = {"RAS": np.eye(3), "LPS": np.diag([-1, -1, 1]), "oblique": turn @ np.eye(3)[:, [2, 0, 1]]}[orientation]
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag([0.5, 0.5, 0.7])
    affine[:3, 3] = [-31, 17, 5]
    return affine


def write_patient(
    folder: Path, orientation: str, seed: int, names: Sequence[str] = ("image", "label", "mask")
) -> dict[str, str]:
    """Writes the NIfTI files of a patient, a volume of noise with bright vessel voxels; returns its cohort item."""
    rng = np.random.default_rng(seed)
    shape = SHAPE if orientation != "oblique" else (SHAPE[2], *SHAPE[:2])
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(1, -1) if edge == SHAPE[2] else slice(6, -6) for edge in shape)] = 1
    label = (rng.random(shape) < 0.05).astype(np.uint8) * mask
    image = (rng.uniform(50, 100, shape) + 200 * label).astype(np.float32) * mask
    folder.mkdir(parents=True)
    for name, volume in zip(names, (image, label, mask), strict=False):
        nib.save(nib.Nifti1Image(volume, affine_of(orientation)), folder / f"{name}.nii.gz")
    paths = {name: str(folder / f"{name}.nii.gz") for name in names}
    return {"subject": folder.name, "patient": folder.name, **paths}
