"""The centreline of a vessel label as a graph of smooth curves in mm.

A vertex is a voxel of the centreline, moved to where the smooth curve passes. An edge joins two vertices. A branch is a
chain of edges between two vertices that are branch points or free ends, or a closed loop.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from tofgan_monai.metrics.segmentation.calibre import radii_mm
from tofgan_monai.metrics.segmentation.thinning import thin

_NEIGHBOUR = 1.8  # in voxels: neighbours touch by faces, edges or corners, up to sqrt(3) apart
_PASSES = 30
_SHRINK, _SWELL = 0.5, -0.515


class Centreline(NamedTuple):
    """The centreline of a label with n vertices, m edges and b branches.

    Attributes:
        points_mm: positions of the vertices in RAS millimetres, (n, 3).
        radius_mm: radius of the vessel at each vertex, (n,): that of the largest ball that fits into the vessel, has
            its centre on the centreline and holds the vertex.
        edges: the two vertices of each edge, (m, 2). A vertex without neighbours has an edge to itself.
        length_mm: length of each edge, (m,). The edge at a free end reaches half a step beyond it, to the end of the
            voxel; the edge of a vertex without neighbours is as long as the mean of the edges of a voxel.
        branch: index of the branch of each edge, (m,), from 0 to b - 1.
        junction: index of the branch point of each vertex, (n,); -1 for vertices that are no branch point. Neighbouring
            vertices with three edges or more are one branch point.
    """

    points_mm: np.ndarray
    radius_mm: np.ndarray
    edges: np.ndarray
    length_mm: np.ndarray
    branch: np.ndarray
    junction: np.ndarray


def trace_centreline(vessels: np.ndarray, affine: np.ndarray) -> Centreline:
    """Returns the centreline of a vessel label (X, Y, Z), bool, whose affine (4, 4) leads to RAS millimetres.

    The voxels of `thin` are the vertices. Of three neighbours that all touch, the two farthest apart have no edge. Then
    the staircases of the voxels are smoothed; a free end stays in its place.

    Source: Taubin 1995, SIGGRAPH (smoothing that does not shrink); Toussaint 1980, Pattern Recognition 12:261 (the
    edges are those of the relative neighbourhood graph); Hildebrand and Rüegsegger 1997, J Microscopy 185:67 (radius).
    """
    spacing_mm = voxel_sizes(affine)
    line = thin(vessels, spacing_mm)
    voxels = np.argwhere(line)
    pairs = _edges(voxels, spacing_mm)
    degree = np.bincount(pairs.ravel(), minlength=len(voxels))
    points_mm = _smoothed(apply_affine(affine, voxels), pairs, degree)
    length_mm = np.linalg.norm(points_mm[pairs[:, 0]] - points_mm[pairs[:, 1]], axis=1)
    length_mm *= 1 + (degree[pairs] == 1).sum(axis=1) / 2
    lone = np.flatnonzero(degree == 0)
    edges = np.concatenate([pairs, np.stack([lone, lone], axis=1)])
    length_mm = np.concatenate([length_mm, np.full(len(lone), spacing_mm.mean())])
    radius_mm = _largest_balls(points_mm, radii_mm(vessels, line, spacing_mm.tolist()))
    return Centreline(points_mm, radius_mm, edges, length_mm, _branches(edges, degree), _junctions(pairs, degree))


def _largest_balls(points_mm: np.ndarray, depth_mm: np.ndarray) -> np.ndarray:
    """Returns for each point (n, 3) the radius of the largest ball that holds it; each point has a ball, (n,)."""
    radius_mm = depth_mm.copy()
    if len(points_mm):
        held = KDTree(points_mm).query_ball_point(points_mm, depth_mm)
        np.maximum.at(radius_mm, np.concatenate(held).astype(int), np.repeat(depth_mm, [len(those) for those in held]))
    return radius_mm


def _edges(voxels: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Returns the edges (m, 2) between neighbouring voxels (n, 3), without the longest of three that touch."""
    if len(voxels) < 2:
        return np.zeros((0, 2), int)
    pairs = KDTree(voxels).query_pairs(_NEIGHBOUR, output_type="ndarray").astype(int)
    steps_mm = np.linalg.norm((voxels[pairs[:, 0]] - voxels[pairs[:, 1]]) * spacing_mm, axis=1)
    rank = np.empty(len(pairs), int)  # a strict order, so that of three equally long edges one is left out
    rank[np.lexsort((pairs[:, 1], pairs[:, 0], steps_mm.round(6)))] = np.arange(1, len(pairs) + 1)
    n = len(voxels)
    ranks = sparse.csr_array((rank, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    ranks = (ranks + ranks.T).tocsr()
    kept = np.ones(len(pairs), bool)
    for index, (a, b) in enumerate(pairs):
        near_a = dict(zip(*_row(ranks, a), strict=True))
        kept[index] = not any(
            max(near_a[c], other) < rank[index] for c, other in zip(*_row(ranks, b), strict=True) if c in near_a
        )
    return pairs[kept]


def _row(matrix: sparse.csr_array, row: int) -> tuple[list[int], list[int]]:
    within = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return matrix.indices[within].tolist(), matrix.data[within].tolist()


def _smoothed(points_mm: np.ndarray, pairs: np.ndarray, degree: np.ndarray) -> np.ndarray:
    n = len(points_mm)
    links = sparse.coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    links = links + links.T
    moves = (degree > 1)[:, None]
    for share in (_SHRINK, _SWELL) * _PASSES:
        points_mm = points_mm + share * moves * (links @ points_mm / np.maximum(degree, 1)[:, None] - points_mm)
    return points_mm


def _branches(edges: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """Returns the branch of each edge, (m,): edges that share a vertex with two edges are of one branch."""
    m = len(edges)
    ends = np.stack([edges.ravel(), np.repeat(np.arange(m), 2)], axis=1)
    ends = ends[degree[ends[:, 0]] == 2]
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    joined = sparse.coo_array((np.ones(len(ends) // 2), (ends[::2, 1], ends[1::2, 1])), shape=(m, m))
    return connected_components(joined, directed=False)[1]


def _junctions(pairs: np.ndarray, degree: np.ndarray) -> np.ndarray:
    n = len(degree)
    inner = pairs[(degree[pairs] > 2).all(axis=1)]
    joined = sparse.coo_array((np.ones(len(inner)), (inner[:, 0], inner[:, 1])), shape=(n, n))
    which = connected_components(joined, directed=False)[1]
    junction = np.full(n, -1)
    is_junction = degree > 2
    junction[is_junction] = np.unique(which[is_junction], return_inverse=True)[1]
    return junction
