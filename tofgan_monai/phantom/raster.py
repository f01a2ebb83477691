"""Computes the fraction of each voxel that tubes fill. Each voxel has 27 parts; the parts inside a tube are counted."""

from __future__ import annotations

import numpy as np

from tofgan_monai.phantom.trunks import STEP_MM

PARTS = 3  # number of parts of a voxel along each axis


def along(rows: np.ndarray, radius_mm: float) -> np.ndarray:
    """Resamples the points of a branch so densely that balls at the points form a smooth tube.

    Args:
        rows: (n, k), a row for each point, STEP_MM apart; all k columns are interpolated.
        radius_mm: radius of the branch; the new distance is 0.45 times this radius, within limits.
    """
    if len(rows) < 2:
        return rows
    at = np.arange(0, len(rows) - 1, min(max(0.45 * radius_mm / STEP_MM, 0.25), 4.0))
    node = at.astype(int)
    return rows[node] + (at - node)[:, None] * (rows[node + 1] - rows[node])


def rasterise(
    points_mm: np.ndarray, radius_mm: np.ndarray, signal: np.ndarray, *, shape: tuple[int, ...], spacing_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draws balls on a grid; tubes are rows of balls.

    Args:
        points_mm: (n, 3), centres of the balls along the axes of the grid; 0 is the centre of the first voxel.
        radius_mm: (n,), radii of the balls.
        signal: (n,), signal of the balls; where balls overlap, the signal of the ball with the lower index counts.
        shape: number of voxels along each axis of the grid.
        spacing_mm: (3,), voxel size of the grid.

    Returns:
        The fraction of each voxel that the balls fill, and the sum over the voxel's parts of the balls' signal divided
        by the number of parts; both have the shape of the grid, float32.
    """
    n, cube = int(np.prod(shape)), PARTS**3
    code, owner = _filled_parts(points_mm, radius_mm, np.array(shape), np.asarray(spacing_mm, float) / PARTS)
    at, touched = code // cube, np.zeros(n, bool)
    touched[at] = True
    voxel = np.flatnonzero(touched)
    shift = np.empty(n, code.dtype)  # from the code of a part to its place among the parts of touched voxels
    shift[voxel] = (np.arange(len(voxel)) - voxel) * cube
    first = np.full(len(voxel) * cube, len(signal), owner.dtype)
    np.minimum.at(first, code + shift[at], owner)  # of the balls that fill a part, the first counts
    filled = np.flatnonzero(first < len(signal))
    fraction, total = np.zeros(n, np.float32), np.zeros(n, np.float32)
    fraction[voxel] = np.bincount(filled // cube, minlength=len(voxel)) / cube
    total[voxel] = np.bincount(filled // cube, weights=signal[first[filled]], minlength=len(voxel)) / cube
    return fraction.reshape(shape), total.reshape(shape)


def _filled_parts(
    points_mm: np.ndarray, radius_mm: np.ndarray, shape: np.ndarray, part_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the parts of voxels that balls fill; a part that several balls fill is found several times.

    Args:
        points_mm: (n, 3), centres of the balls; see `rasterise`.
        radius_mm: (n,), radii of the balls.
        shape: (3,), number of voxels along each axis of the grid.
        part_mm: (3,), size of a part.

    Returns:
        The codes (m,) of the parts and the indices (m,) of the balls. The code of a part is the flat index of its voxel
        times PARTS^3, plus the flat index of the part in the voxel.
    """
    fine = shape * PARTS
    dtype = np.dtype(np.int32 if fine.prod() < 2**31 else np.int64).type
    position = points_mm / part_mm + (PARTS - 1) / 2  # in parts
    reach = radius_mm[:, None] / part_mm
    near = np.flatnonzero(np.all((position > -reach - 1) & (position < fine + reach), axis=1)).astype(np.int32)
    near = near[np.argsort(-radius_mm[near], kind="stable")]
    codes, owners = [np.zeros(0, dtype)], [np.zeros(0, np.int32)]
    while len(near):
        half = (reach[near[0]] + 0.5).astype(int)  # the largest ball comes first
        balls, near = np.split(near, [np.clip(2**16 // np.prod(2 * half + 1), 16, 4096)])
        away, code = np.zeros(len(balls)), np.zeros(len(balls), dtype)  # over three axes of cells and one of balls
        for axis in range(3):
            centre = position[balls, axis]
            cell = np.rint(centre) + np.arange(-half[axis], half[axis] + 1)[:, None]
            square = ((cell - centre) * part_mm[axis]) ** 2
            square[(cell < 0) | (cell >= fine[axis])] = np.inf
            voxel, part = np.divmod(cell.astype(dtype), dtype(PARTS))
            step = dtype(shape[axis + 1 :].prod() * PARTS**3), dtype(PARTS ** (2 - axis))
            away = away[..., None, :] + square
            code = code[..., None, :] + (voxel * step[0] + part * step[1])
        inside = np.flatnonzero(away <= radius_mm[balls] ** 2)
        codes.append(code.ravel()[inside])
        owners.append(balls[inside % len(balls)])
    return np.concatenate(codes), np.concatenate(owners)
