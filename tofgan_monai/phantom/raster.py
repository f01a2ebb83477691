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
    at = np.arange(0, len(rows) - 1, np.clip(0.45 * radius_mm / STEP_MM, 0.25, 4))
    return np.column_stack([np.interp(at, np.arange(len(rows)), column) for column in rows.T])


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
    part_mm = np.asarray(spacing_mm, float) / PARTS
    fine = np.array(shape) * PARTS
    position = points_mm / part_mm + (PARTS - 1) / 2  # in parts
    reach = radius_mm[:, None] / part_mm
    near = np.all((position > -reach - 1) & (position < fine + reach), axis=1)
    position, radius_mm, owner = position[near], radius_mm[near], np.flatnonzero(near)
    keys = []  # each key encodes a part of a voxel and the ball that fills it (its owner), so that one sort is enough
    bucket = np.ceil(radius_mm / 0.1).astype(int)
    for size in np.unique(bucket):
        chosen = np.flatnonzero(bucket == size)
        half = np.ceil(size * 0.1 / part_mm + 0.5).astype(int)
        offsets = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), -1).reshape(-1, 3)
        inside = np.sqrt((((np.maximum(np.abs(offsets) - 0.5, 0)) * part_mm) ** 2).sum(1)) <= size * 0.1
        offsets = offsets[inside].astype(np.int32)
        for block in np.array_split(chosen, max(1, len(chosen) * len(offsets) // 200_000)):
            base = np.rint(position[block]).astype(np.int32)
            away = np.zeros((len(block), len(offsets)))
            for axis in range(3):
                step = base[:, axis, None] + offsets[:, axis]
                away += ((step - position[block, axis, None]) * part_mm[axis]) ** 2
            row, column = np.nonzero(away <= radius_mm[block][:, None] ** 2)
            cell = base[row] + offsets[column]
            kept = np.all((cell >= 0) & (cell < fine), axis=1)
            cell = cell[kept].astype(np.int64)
            code = (cell[:, 0] * fine[1] + cell[:, 1]) * fine[2] + cell[:, 2]
            keys.append(code * len(points_mm) + owner[block][row[kept]])
    if not keys:
        return np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    key = np.sort(np.concatenate(keys))
    code, who = np.divmod(key, len(points_mm))
    first = np.flatnonzero(np.diff(code, prepend=-1))  # of the balls that fill a part, the first counts
    code, who = code[first], who[first]
    x, rest = np.divmod(code, fine[1] * fine[2])
    y, z = np.divmod(rest, fine[2])
    voxel = np.ravel_multi_index((x // PARTS, y // PARTS, z // PARTS), shape)
    n = int(np.prod(shape))
    fraction = np.bincount(voxel, minlength=n) / PARTS**3
    total = np.bincount(voxel, weights=signal[who], minlength=n) / PARTS**3
    return fraction.astype(np.float32).reshape(shape), total.astype(np.float32).reshape(shape)
