"""Measures of a vessel label in mm: volume, length, radius, tortuosity and branch points, by side and by calibre.

The page docs/explanation/measures.md defines each measure and says how exact it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy.spatial import KDTree

from tofgan_monai.metrics.segmentation.calibre import require_ascending
from tofgan_monai.metrics.segmentation.centreline import Centreline, trace_centreline
from tofgan_monai.metrics.segmentation.overlap import Volume, binary_pair

SIDES = ("total", "left", "right")
ALL = "all"
EDGES_MM = (1.5, 2.5)
SAGITTAL = (1.0, 0.0, 0.0, 0.0)
"""The plane x = 0 of the coordinates of the scan."""


@dataclass(frozen=True)
class Measures:
    """Measures of the vessels of one side and one class of calibre.

    Attributes:
        volume_mm3: volume of the voxels of the label.
        length_mm: length of the centreline.
        mean_radius_mm: mean radius along the centreline; None without a centreline.
        max_radius_mm: largest radius on the centreline; None without a centreline.
        tortuosity: total length of the branches over the total distance between their ends; 1 for straight branches,
            None without a branch that has two ends.
        branch_points: number of the points where the centreline divides.
    """

    volume_mm3: float
    length_mm: float
    mean_radius_mm: float | None
    max_radius_mm: float | None
    tortuosity: float | None
    branch_points: int


def calibre_names(edges_mm: Sequence[float] = EDGES_MM) -> tuple[str, ...]:
    """Returns the names of the classes of calibre (diameter) with these limits, smallest calibres first.

    >>> calibre_names((1.5, 2.5))
    ('below 1.5 mm', '1.5 to 2.5 mm', '2.5 mm and more')
    """
    if not edges_mm:
        return ()
    between = (f"{low:g} to {high:g} mm" for low, high in pairwise(edges_mm))
    return (f"below {edges_mm[0]:g} mm", *between, f"{edges_mm[-1]:g} mm and more")


def vessel_measures(
    label: Volume,
    affine: np.ndarray,
    *,
    midline: Sequence[float] = SAGITTAL,
    edges_mm: Sequence[float] = EDGES_MM,
) -> dict[tuple[str, str], Measures]:
    """Returns the measures of a label for each side ("total", "left", "right") and calibre ("all" and each class).

    The calibre at a point of the centreline is twice the radius there. A voxel has the calibre of the nearest point, a
    branch the mean calibre along it. Volume, length and branch points of both sides add up to the total, as do those of
    all classes.

    Args:
        label: vessels (X, Y, Z) as 1 or True.
        affine: matrix (4, 4) from voxel indices to RAS millimetres.
        midline: plane a x + b y + c z + d = 0 in RAS millimetres as (a, b, c, d); a positive value is on the right.
        edges_mm: the limits between the classes of calibre, ascending; see `calibre_names`.

    Raises:
        InputError: not a binary volume of three dimensions, or limits that do not ascend.
    """
    affine = np.asarray(affine, float)
    vessels, _ = binary_pair(label, label, voxel_sizes(affine).tolist())
    require_ascending(edges_mm)
    table = _Table(vessels, affine, np.asarray(midline, float), edges_mm)
    names = calibre_names(edges_mm)
    classes: dict[str, int | None] = {ALL: None} | {name: index for index, name in enumerate(names)}
    return {(side, name): table.measures(side, index) for side in SIDES for name, index in classes.items()}


class _Table:
    """The side and the class of calibre of each voxel, edge, branch and branch point of a label.

    Args:
        vessels: the label, bool.
        affine: its affine.
        midline: the plane between left and right.
        edges_mm: the limits between the classes of calibre.
    """

    def __init__(self, vessels: np.ndarray, affine: np.ndarray, midline: np.ndarray, edges_mm: Sequence[float]) -> None:
        line = self.line = trace_centreline(vessels, affine)
        self.voxel_mm3 = abs(np.linalg.det(affine[:3, :3]))
        self.edge_radius_mm = line.radius_mm[line.edges].mean(axis=1)
        middles = line.points_mm[line.edges].mean(axis=1)
        n_branches = int(line.branch.max(initial=-1)) + 1
        sums = [
            np.bincount(line.branch, line.length_mm * values, n_branches)
            for values in (*middles.T, self.edge_radius_mm)
        ]
        of_branches = np.stack(sums) / np.bincount(line.branch, line.length_mm, n_branches)
        self.lengths_and_chords = _lengths_and_chords(line, n_branches)
        junctions, first = np.unique(line.junction, return_index=True)
        first = first[junctions >= 0]
        voxels_mm = apply_affine(affine, np.argwhere(vessels))
        nearest = KDTree(line.points_mm).query(voxels_mm)[1] if len(voxels_mm) else np.zeros(0, int)

        def placed(points_mm: np.ndarray, radius_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """Returns whether each point is on the right of the midline, and its class of calibre."""
            return points_mm @ midline[:3] + midline[3] >= 0, np.digitize(2 * radius_mm, edges_mm)

        self.branches = placed(of_branches[:3].T, of_branches[3])
        self.edges = placed(middles, self.edge_radius_mm)
        self.vertices = placed(line.points_mm, line.radius_mm)
        self.junctions = placed(line.points_mm[first], line.radius_mm[first])
        self.voxels = placed(voxels_mm, line.radius_mm[nearest])

    def measures(self, side: str, index: int | None) -> Measures:
        """Returns the measures of one side, and of one class of calibre or (None) of all."""

        def chosen(of: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
            right, classes = of
            by_side = np.ones(len(right), bool) if side == "total" else right == (side == "right")
            return by_side if index is None else by_side & (classes == index)

        edges, vertices = chosen(self.edges), chosen(self.vertices)
        length_mm, chord_mm = self.lengths_and_chords[:, chosen(self.branches)].sum(axis=1)
        weights = self.line.length_mm[edges]
        return Measures(
            float(chosen(self.voxels).sum() * self.voxel_mm3),
            float(weights.sum()),
            float(np.average(self.edge_radius_mm[edges], weights=weights)) if edges.any() else None,
            float(self.line.radius_mm[vertices].max()) if vertices.any() else None,
            float(length_mm / chord_mm) if chord_mm > 0 else None,
            int(chosen(self.junctions).sum()),
        )


def _lengths_and_chords(line: Centreline, n_branches: int) -> np.ndarray:
    """Returns the length of each branch and the distance between its ends in mm, (2, b); 0 and 0 for a closed loop."""
    ends, counts = np.unique(
        np.stack([np.repeat(line.branch, 2), line.edges.ravel()], axis=1), axis=0, return_counts=True
    )
    ends = ends[counts == 1]  # of an open branch there are two, next to each other
    first, last = line.points_mm[ends[::2, 1]], line.points_mm[ends[1::2, 1]]
    steps_mm = np.linalg.norm(np.diff(line.points_mm[line.edges], axis=1)[:, 0], axis=1)
    result = np.zeros((2, n_branches))
    result[1, ends[::2, 0]] = np.linalg.norm(last - first, axis=1)
    result[0] = np.bincount(line.branch, steps_mm, n_branches) * (result[1] > 0)
    return result
