"""Where a NIfTI file says its voxels lie, and whether another reader would place them elsewhere.

nibabel's affine is the one that this package uses. Other readers of the same file disagree with it in four cases, which
were measured with ITK 5.4.7, SimpleITK 2.5.7 and MONAI 1.6.1: two form codes with different forms, no form code, voxel
sizes (pixdim) that are not those of the sform, and units other than millimetres.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes

WARN_VOXELS = 0.05
"""Two readings closer than this, in voxels at every corner, count as one: a header's numbers are rounded."""

REFUSE_VOXELS = 0.5
"""Two readings further apart than this, in voxels at any corner, make a file that is refused."""

_MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}


def header_doubts(header: Any, affine: np.ndarray, shape: tuple[int, ...]) -> tuple[list[str], list[str]]:
    """The problems and the warnings about a NIfTI header whose voxels another reader would place elsewhere.

    Args:
        header: nibabel's header of the file.
        affine: the affine (4, 4) that nibabel gives the file, to RAS millimetres.
        shape: of the volume, (X, Y, Z).

    Returns:
        Problems, where a corner of the volume lies more than half a voxel elsewhere in the other reading, and warnings,
        where it lies less far away but more than 0.05 voxels.
    """
    problems: list[str] = []
    warnings: list[str] = []
    for name, other, remedy in _other_readings(header, affine):
        corner, distance = farthest_corner(affine, other, shape)
        here, there = (apply_affine(reading, corner).round(2) + 0.0 for reading in (affine, other))
        text = (
            f"{name} would place a corner of the volume {distance:.2f} voxels away from where nibabel places it (voxel "
            f"{tuple(corner.tolist())} at {tuple(there.tolist())} mm against {tuple(here.tolist())} mm)"
        )
        if distance > REFUSE_VOXELS:
            problems.append(f"{text}; {remedy}")
        elif distance > WARN_VOXELS:
            warnings.append(f"{text}; nibabel's reading is used")
    return problems, warnings


def farthest_corner(affine: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """The corner voxel (3,) whose places under two affines (4, 4) differ most, and by how many smallest voxel edges."""
    corners = np.array(list(product(*[(0, edge - 1) for edge in shape])))
    distances_mm = np.linalg.norm(apply_affine(affine, corners) - apply_affine(other, corners), axis=1)
    return corners[distances_mm.argmax()], float(distances_mm.max() / voxel_sizes(affine).min())


def _other_readings(header: Any, affine: np.ndarray) -> list[tuple[str, np.ndarray, str]]:
    """Each other reading of the header: who reads it so, its affine (4, 4), and what makes the readings one."""
    qform, sform = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    zooms_mm = np.asarray(header.get_zooms()[:3], float)
    readings = []
    if qform is None and sform is None:
        readings.append(
            (
                "neither qform nor sform is set, and ITK",
                np.diag([-zooms_mm[0], -zooms_mm[1], zooms_mm[2], 1.0]),
                "set the sform to the true affine (in nibabel: image.set_sform(affine, code=1), then save it)",
            )
        )
    if qform is not None and sform is not None:
        readings.append(
            (
                "the qform differs from the sform, and a reader that takes the qform",
                qform,
                "set both to the true affine (in nibabel: image.set_qform(affine, 1) and image.set_sform(affine, 1))",
            )
        )
    if sform is not None:
        rescaled = sform.copy()
        rescaled[:3, :3] *= zooms_mm / voxel_sizes(sform)
        readings.append(
            (
                "the voxel sizes in pixdim differ from those of the sform, and a reader that takes pixdim (ITK)",
                rescaled,
                "set pixdim to the sform's voxel sizes (in nibabel: image.header.set_zooms), or mend the sform",
            )
        )
    unit = header.get_xyzt_units()[0]
    if unit in _MM_PER_UNIT:
        scaled = affine.copy()
        scaled[:3] *= _MM_PER_UNIT[unit]
        readings.append(
            (
                f"the header's unit is {unit}, and a reader that converts it to millimetres (ITK)",
                scaled,
                'write the affine in millimetres and say so (in nibabel: image.header.set_xyzt_units("mm"))',
            )
        )
    return readings
