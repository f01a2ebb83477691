"""Computes the centreline of a vessel label by a thinning that neither loses, cuts nor joins vessels of any width.

scikit-image's `skeletonize` deletes straight tubes of even width (scikit-image issue 3757), and in two dimensions it
shortens diagonal bars to a pixel. The reason is that `skeletonize` deletes voxels that touch each other in one step.
Here a voxel is deleted only if the voxel is simple, which means that its deletion does not change the topology. Voxels
that touch each other are never deleted in one step. The page docs/decisions/0006-thinning.md compares this thinning
with others.

Words used below: a spur is a short side branch that thinning leaves and that is no vessel. A free end is a voxel where
the centreline ends. The depth of a voxel is its distance to the background. A cavity is background inside an object. A
row is the index of a voxel in the list that `_Voxels` keeps.

Sources: Pudney 1998, Computer Vision and Image Understanding 72(3) (thinning in the order of depth); Bertrand and
Malandain 1994, Pattern Recognition Letters 15(2) (simple voxels by two counts of components).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.simple_voxels import ALL, OFFSETS, is_simple

LEVELS_PER_VOXEL = 4  # voxels are deleted in steps of depth of a quarter of the shortest edge
N_SHARES = 32  # and within such a step in 32 steps of how much of the vessel lies about a voxel
ABOUT = np.array([1.1, 2, 0.9]) / 4  # weights of three voxels in a row; of two that are equal, the second one is kept
SPUR = 2.0  # a side branch is a spur if it ends within two radii of its vessel's axis
ASIDE = 0.75  # the largest gap between a straight end and its voxels, in shortest edges
N_SHAFTS = 32  # number of shafts to a cavity that are tried


def thin(label: np.ndarray, spacing_mm: Sequence[float] | None = None) -> np.ndarray:
    """Returns the centreline of a vessel label, one voxel wide and inside the label, as bool of the label's shape.

    Each object (voxels that touch by faces, edges or corners) keeps one connected centreline with the object's loops.
    The free ends of the centreline reach the end of the vessel. Side branches that end within two radii of their
    vessel's axis are deleted. The centreline of a vessel that leaves the volume ends at the volume's border. The
    centreline passes beside cavities. If no way beside the cavities exists, as in a foam with hundreds of cavities, the
    centreline is cut.

    >>> bar = np.zeros((6, 12))
    >>> bar[1:5, 1:11] = 1
    >>> thin(bar).sum(axis=1).tolist()
    [0, 0, 10, 0, 0, 0]

    Args:
        label: label map (X, Y, Z) or (X, Y); vessels are all values other than 0.
        spacing_mm: the edges of a voxel, by default 1. The middle of a vessel is measured in mm.

    Raises:
        InputError: not two or three dimensions, or not one positive spacing for each.
    """
    vessels = np.asarray(label) != 0
    spacing = np.ones(vessels.ndim) if spacing_mm is None else np.asarray(spacing_mm, float)
    if vessels.ndim not in (2, 3) or spacing.shape != (vessels.ndim,) or not (spacing > 0).all():
        raise InputError(
            f"the label has {vessels.ndim} dimensions with spacing {spacing_mm} mm; give a label of two or three "
            "dimensions and a positive spacing for each dimension"
        )
    if vessels.ndim == 2:
        return thin(vessels[..., None], (*spacing, spacing.min()))[..., 0]
    line = np.zeros(vessels.shape, bool)
    if not vessels.any():
        return line
    box = tuple(
        slice(max(side.start - 1, 0), side.stop + 1) for side in ndimage.find_objects(vessels.view(np.uint8))[0]
    )
    padded = np.pad(np.ascontiguousarray(vessels[box]), 1)
    holes, n_holes = ndimage.label(~padded)  # 1 is all background outside, which touches by faces; others are cavities
    if n_holes > 1:
        objects, _ = ndimage.label(padded, np.ones((3, 3, 3)))
        islands = padded & ~np.isin(objects, objects[ndimage.binary_dilation(holes == 1)])
        if islands.any():  # they lie in cavities of other objects and would be joined with them
            inner = np.zeros(vessels.shape, bool)
            inner[box] = islands[1:-1, 1:-1, 1:-1]
            return thin(vessels & ~inner, spacing_mm) | thin(inner, spacing_mm)
    corner = [side.start for side in box]
    line[box] = _Voxels(padded, holes, spacing, corner).centreline()[1:-1, 1:-1, 1:-1]
    return line


class _Voxels:
    """List of the voxels of a label and its cavities, with the depth and the neighbours of each voxel.

    Args:
        padded: the label (X, Y, Z), bool, with a border of background one voxel wide.
        holes: the numbered connected components of the label's background, of the same shape; 1 is the outside.
        spacing: the edges of a voxel in mm.
        corner: where the crop starts in the whole volume, in voxels; it makes the result independent of the crop.
    """

    def __init__(self, padded: np.ndarray, holes: np.ndarray, spacing: np.ndarray, corner: Sequence[int]) -> None:
        filled = holes != 1
        places = np.flatnonzero(filled)
        self.n, self.spacing = len(places), spacing
        self.indices = np.stack(np.unravel_index(places, filled.shape), axis=1)
        self.rows = np.full(filled.shape, self.n, np.int32)  # the row of each voxel in the list; n is background
        self.rows.ravel()[places] = np.arange(self.n)
        self.near = self.rows.ravel()[places[:, None] + OFFSETS @ np.array(filled.strides)]  # (n, 27)
        self.there = np.append(np.ones(self.n, bool), False)  # what thinning has left; the last is background
        self.inside = padded.ravel()[places]
        self.depth = _depths_mm(padded, self.indices, spacing)
        about = np.append(self.inside, False)[self.near] @ np.einsum("i,j,k", ABOUT, ABOUT, ABOUT).ravel()
        level = np.ceil(self.depth * (LEVELS_PER_VOXEL / spacing.min())).astype(int)
        self.turn = level * (N_SHARES + 1) + (about * N_SHARES).astype(int)
        self.deepest = np.append(self.depth, 0)[self.near].max(axis=1)
        self.subfield = (self.indices + corner) % 2 @ (4, 2, 1)  # voxels of one of the 8 subfields never touch
        self._open_cavities(holes)

    def centreline(self) -> np.ndarray:
        """Thins the label, deletes spurs and lengthens the ends; returns the centreline as bool, shaped as `padded`."""
        self._thin()
        while self._prune():
            self._thin()
        self._lengthen()
        line = self.rows < self.n
        line[line] = self.there[:-1] & self.inside
        return line

    def _open_cavities(self, holes: np.ndarray) -> None:
        """Deletes voxels on a way from the outside to each cavity, so that thinning leaves no shell round a cavity."""
        cavities = ndimage.find_objects(holes)[1:]
        if not cavities:
            return
        outside = np.argwhere((holes == 1) & ndimage.binary_dilation(holes != 1))
        nearest_outside = cKDTree(outside)
        for number, box in enumerate(cavities, start=2):
            cavity = np.argwhere(holes[box] == number) + [side.start for side in box]
            distances, nearest = nearest_outside.query(cavity, range(1, min(N_SHAFTS, len(outside)) + 1))
            for shaft in np.argsort(distances, axis=None, kind="stable")[:N_SHAFTS]:
                end, rank = np.unravel_index(shaft, nearest.shape)
                if self._dig(outside[nearest[end, rank]], cavity[end]):
                    self._empty(self.rows[tuple(cavity.T)])
                    break

    def _dig(self, start: np.ndarray, end: np.ndarray) -> bool:
        """Deletes the voxels on a straight way from `start` to `end`, where voxels touch by faces; returns True.

        If one of the voxels is not simple, the function deletes none and returns False.
        """
        lengths = np.abs(end - start)
        order = np.argsort(np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in lengths]), kind="stable")
        axes = np.repeat(np.arange(3), lengths)[order]
        way = start + np.cumsum((np.eye(3, dtype=int) * np.sign(end - start))[axes], axis=0)
        dug: list[int] = []
        for row in self.rows[tuple(way.T)]:
            if self.there[row]:
                if not is_simple(self._code(np.array([row])))[0]:
                    self.there[dug] = True
                    return False
                self.there[row] = False
                dug.append(row)
        return True

    def _empty(self, rows: np.ndarray) -> None:
        """Deletes the simple voxels of a cavity (its rows in the list) until no voxel can be deleted."""
        n_left = -1
        while n_left != (n_left := self.there[rows].sum()):
            for subfield in range(8):
                some = rows[self.there[rows] & (self.subfield[rows] == subfield)]
                self.there[some[is_simple(self._code(some))]] = False

    def _thin(self) -> None:
        """Deletes the simple voxels that are not the end of a line, from the surface of the vessels inwards.

        Of voxels equally deep, those go first that have least of the vessel about them, as they lie aside.
        """
        changed = self.there.copy()
        for turn in np.unique(self.turn[self.there[:-1]]):
            reached = self.turn <= turn
            while len(rows := np.flatnonzero(reached & changed[:-1] & self.there[:-1])):
                changed[rows] = False
                subfields = self.subfield[rows]
                for subfield in np.unique(subfields):
                    some = rows[subfields == subfield]
                    code = self._code(some)
                    gone = some[is_simple(code) & (code & (code - 1) != 0)]  # the end of a line has one neighbour
                    self.there[gone] = False
                    changed[self.near[gone]] = True

    def _prune(self) -> bool:
        """Deletes the spurs, and returns True if at least one spur was deleted."""
        branches = [branch for branch, is_side in map(self._branch, self._ends()) if is_side]
        spurs = [row for branch in branches if self._is_within(branch[0], branch[-1]) for row in branch[:-1]]
        self.there[spurs] = False
        return bool(spurs)

    def _lengthen(self) -> None:
        """Replaces the last part of the line at each free end by a straight line to the surface of the vessel.

        Without this step, the last part of a line may turn into a corner of the vessel. If the straight line ends more
        than half a radius before the old one, the old one stays and is carried on.
        """
        for end in self._ends():
            branch, _ = self._branch(end)
            n_cut = max(n for n in range(1 + len(branch) // 3) if n == 0 or self._is_within(end, branch[n]))
            for n in (n_cut, 0):
                tip = branch[n]
                radius = self.deepest[tip] / self.spacing.min()
                n_steps = int(np.ceil(SPUR * radius))
                back = branch[min(n + n_steps, len(branch) - 1)]
                if back == tip:
                    continue
                direction = self.indices[tip] - self.indices[back]
                direction = direction / np.linalg.norm(direction)
                self.there[branch[:n]] = False
                straight = self._straight(tip, direction, n + 2 * n_steps)
                missing = (self.indices[end] - self.indices[[tip, *straight][-1]]) @ direction
                if missing <= radius / 2:
                    self.there[straight] = True
                    break
                self.there[branch[:n]] = True

    def _straight(self, tip: int, direction: np.ndarray, n_steps: int) -> list[int]:
        """Rows of the voxels on a straight way from `tip` to the surface of the vessel, at most `n_steps`."""
        start = self.indices[tip]
        straight: list[int] = []
        while len(straight) < n_steps and (ahead := self._ahead(tip, start, direction)) is not None:
            straight.append(tip := ahead)
            self.there[tip] = True
        self.there[straight] = False
        return straight

    def _ahead(self, tip: int, start: np.ndarray, direction: np.ndarray) -> int | None:
        """Row of the voxel next to `tip` that is nearest to the ray from `start`; None if no voxel is suitable.

        A suitable voxel lies in the label, ahead of the tip and beside the ray with a gap of less than three quarters
        of the shortest edge, and touches the line at the tip only.
        """
        near = self.near[tip]
        near = near[~self.there[near] & (near < self.n)]
        near = near[self.inside[near] & ((self.indices[near] - self.indices[tip]) @ direction > 0)]
        near = near[self.there[self.near[near]].sum(axis=1) == 1]
        from_start = self.indices[near] - start
        aside = np.abs(from_start - np.outer(from_start @ direction, direction))
        gap_mm = np.linalg.norm((aside - 0.5).clip(0) * self.spacing, axis=1)
        fits = gap_mm < ASIDE * self.spacing.min()
        near, aside = near[fits], aside[fits]
        return near[np.linalg.norm(aside, axis=1).argmin()] if len(near) else None

    def _ends(self) -> np.ndarray:
        rows = np.flatnonzero(self.there)
        return rows[self.there[self.near[rows]].sum(axis=1) == 2]

    def _branch(self, end: int) -> tuple[list[int], bool]:
        """Rows from a free end to the next branch point or the other end of the line; True if it is a branch point."""
        branch = [end]
        while True:
            near = self.near[branch[-1]]
            following = [row for row in near[self.there[near]] if row not in branch[-2:]]
            if len(following) != 1:
                return branch, len(following) > 1
            branch.append(following[0])

    def _is_within(self, end: int, root: int) -> bool:
        """Whether the tip of a branch lies within two radii of the vessel's axis at the voxel `root`.

        Three quarters of a voxel's diagonal are added for rounding.
        """
        reach = np.linalg.norm((self.indices[end] - self.indices[root]) * self.spacing) + self.depth[end]
        return reach <= SPUR * self.deepest[root] + 0.75 * np.linalg.norm(self.spacing)

    def _code(self, rows: np.ndarray) -> np.ndarray:
        """Array (n,) that encodes for each row, in the bits of a number, which of its 26 neighbours are left."""
        return np.packbits(self.there[self.near[rows]], axis=1, bitorder="little").view("<u4")[:, 0] & ALL


def _depths_mm(padded: np.ndarray, indices: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distances (n,) in mm from each voxel, given by its indices (n, 3), to the middle of the nearest background voxel.

    The function searches only background voxels that touch the label, as no other can be the nearest. For a whole head
    the search takes a tenth of the time of SciPy's distance transform. Voxels outside the volume are background, but
    for a single slice the voxels above and below the slice are not.
    """
    wall = ndimage.binary_dilation(padded) & ~padded
    for axis in np.flatnonzero(np.array(padded.shape) == 3):
        np.moveaxis(wall, axis, 0)[[0, -1]] = False
    walls = np.argwhere(wall)
    return cKDTree(walls * spacing).query(indices * spacing)[0] if len(walls) else np.full(len(indices), spacing.min())
