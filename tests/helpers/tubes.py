"""Labels of tubes and trees with a known axis, and what can be counted and measured on their centrelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import KDTree

SPACINGS_MM = [(1.0, 1.0, 1.0), (0.5, 0.5, 0.7), (0.4, 0.4, 1.0)]
TOUCHING = np.ones((3, 3, 3))

Segment = tuple[np.ndarray, np.ndarray, float]
"""The two ends of an axis in mm, and the radius round it in mm."""


@dataclass(frozen=True)
class Tree:
    """A label of straight tubes that branch, and what is known of it; the radius is that of its first tube."""

    label: np.ndarray
    spacing_mm: tuple[float, ...]
    axis: np.ndarray  # (n, 3), the indices of the voxels on the axis, from end to end
    radius_mm: float
    length_mm: float
    n_ends: int
    is_round: bool

    def half(self) -> np.ndarray:
        """The label on one side of a plane with half of the axis's voxels on either side and few on the plane."""
        normals = np.random.default_rng(0).normal(size=(3, 50))
        normals /= np.linalg.norm(normals, axis=0)
        away_mm = (self.axis * self.spacing_mm) @ normals  # (n, 50)
        middles = np.median(away_mm, axis=0)
        best = (np.abs(away_mm - middles) < self.radius_mm).sum(axis=0).argmin()
        grid = np.moveaxis(np.indices(self.label.shape), 0, -1) * self.spacing_mm
        return self.label & (grid @ normals[:, best] < middles[best])


def draw(
    segments: Sequence[Segment], spacing_mm: Sequence[float], *, flat: bool, square: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The label of tubes round axes, with flat or round ends, and the place of its first voxel in mm.

    The voxels of the axes are in the label, however thin the tubes are. A square tube has edges of twice the radius;
    its axis must be parallel to X, Y or Z.
    """
    points = np.concatenate([[start, stop] for start, stop, _ in segments])
    margin = max(radius for *_, radius in segments) + 2 * max(spacing_mm)
    low = points.min(axis=0) - margin
    shape = np.ceil((points.max(axis=0) + margin - low) / spacing_mm).astype(int) + 1
    grid = np.moveaxis(np.indices(shape), 0, -1) * spacing_mm + low
    label = np.zeros(shape, bool)
    for start, stop, radius in segments:
        length = np.linalg.norm(stop - start)
        direction = (stop - start) / length
        along = (grid - start) @ direction
        off = grid - start - along.clip(0, length)[..., None] * direction
        aside = np.abs(off).max(axis=-1) if square else np.linalg.norm(off, axis=-1)
        label |= (aside < radius) & ((along >= 0) & (along <= length) if flat else True)
    label[tuple(voxels_on(segments, low, spacing_mm).T)] = True
    return label, low


def voxels_on(segments: Sequence[Segment], low: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The indices of the voxels (n, 3) on the axes of tubes, in a label whose first voxel lies at `low`."""
    ends = [((start - low) / spacing_mm, (stop - low) / spacing_mm) for start, stop, _ in segments]
    lines = [np.linspace(a, b, int(np.ceil(np.abs(b - a).max())) + 1) for a, b in ends]  # a voxel a step
    return np.unique(np.floor(np.concatenate(lines) + 0.500001).astype(int), axis=0)  # halves all go up


def random_tree(seed: int) -> Tree:
    """A tube (even seeds) or a tree with one or two generations of branches, of random width, place and direction.

    The radius is 0.5 to 4 voxels. Half are parallel to the voxels' edges, of these most have a whole width.
    """
    rng = np.random.default_rng(seed)
    spacing_mm = SPACINGS_MM[seed % 3]
    parallel, flat, square = rng.random(3) < 0.5
    square &= parallel
    radius = float(rng.integers(1, 9) / 2 if parallel and rng.random() < 0.6 else rng.uniform(0.5, 4)) * min(spacing_mm)
    first, side = rng.permutation(np.eye(3))[:2] if parallel else np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
    n_generations = 0 if seed % 2 == 0 else 1 + seed // 2 % 2
    arm = max((8 if n_generations else 12) * radius, (16 if n_generations else 32) * max(spacing_mm))
    start = rng.choice([0, 0.5], 3) * spacing_mm if rng.random() < 0.5 else rng.random(3)
    segments = [(start, start + arm * first, radius)]
    tips = [(first, side)]
    for _ in range(n_generations):
        grown = []
        for (_, stop, r), (ahead, aside) in zip(segments[-len(tips) :], tips, strict=True):
            r *= 1 if parallel else 2 ** (-1 / 3)
            for sign in (-1, 1):
                direction = sign * aside if parallel else 0.6 * ahead + sign * 0.8 * aside
                grown.append(((stop, stop + arm * direction, r), (direction, np.cross(ahead, aside))))
        segments += [segment for segment, _ in grown]
        tips = [tip for _, tip in grown]
    label, low = draw(segments, spacing_mm, flat=flat, square=square)
    if not flat:  # a round end reaches a radius beyond the end of the axis
        ends = [(start, -first, radius)]
        ends += [(stop, tip, r) for (_, stop, r), (tip, _) in zip(segments[-len(tips) :], tips, strict=True)]
        segments += [(end, end + r * direction, r) for end, direction, r in ends]
    length = sum(float(np.linalg.norm(stop - start)) for start, stop, _ in segments)
    return Tree(label, spacing_mm, voxels_on(segments, low, spacing_mm), radius, length, 1 + len(tips), not square)


def n_ends(line: np.ndarray) -> int:
    """Number of voxels of a centreline that touch one other voxel of it."""
    neighbours = ndimage.convolve(line.astype(np.int8), TOUCHING.astype(np.int8), mode="constant")
    return int((line & (neighbours == 2)).sum())


def length_mm(line: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Length of a connected centreline without loops (X, Y, Z), with half a step for each free end.

    Its staircases are smoothed first (Taubin 1995, SIGGRAPH), as they are up to 13 % longer than the slope.
    """
    voxels = np.argwhere(line)
    if len(voxels) < 2:
        return float(len(voxels) * min(spacing_mm))
    a, b = KDTree(voxels).query_pairs(1.8, output_type="ndarray").T
    points = voxels * spacing_mm
    steps = np.linalg.norm(points[a] - points[b], axis=1)
    tree = minimum_spanning_tree(sparse.coo_array((steps, (a, b)), shape=(len(points),) * 2)).tocoo()
    links = ((tree + tree.T) > 0).astype(float)
    degree = links.sum(axis=1)[:, None]
    for share in (0.5, -0.515) * 30:
        points = points + share * (degree > 1) * (links @ points / degree - points)
    steps = np.linalg.norm(points[tree.row] - points[tree.col], axis=1)
    return float(steps @ (1 + ((degree == 1)[tree.row, 0].astype(int) + (degree == 1)[tree.col, 0]) / 2))
