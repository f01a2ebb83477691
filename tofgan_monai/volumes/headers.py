"""Checks of NIfTI headers that different programs would read differently, so that voxels get different positions.

A reading is the affine that a program gets from a header. This package uses the affine that nibabel reads. Other
programs read another affine from the same file in four cases, which
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
    """Returns problems and warnings about a NIfTI header that another program would read with another affine.

    Args:
        header: nibabel's header of the file.
        affine: the affine (4, 4) to RAS millimetres that nibabel reads from the file.
        shape: shape of the volume, (X, Y, Z).

    Returns:
        Two lists of lines. A line is a problem if a corner of the volume moves by more than 0.5 voxels under the other
        affine, and a warning if it moves by more than 0.05 voxels.
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
    """Returns the corner voxel (3,) whose positions under two affines (4, 4) differ most, and this distance.

    The unit of the distance is the smallest edge of a voxel.
    """
    corners = np.array(list(product(*[(0, edge - 1) for edge in shape])))
    distances_mm = np.linalg.norm(apply_affine(affine, corners) - apply_affine(other, corners), axis=1)
    return corners[distances_mm.argmax()], float(distances_mm.max() / voxel_sizes(affine).min())


def _other_readings(header: Any, affine: np.ndarray) -> list[tuple[str, np.ndarray, str]]:
    """Returns a tuple for each other possible reading of the header: text for the message, affine (4, 4), remedy."""
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
