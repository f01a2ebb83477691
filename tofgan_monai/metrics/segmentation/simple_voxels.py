"""Simple voxels: voxels whose removal keeps the number of objects, loops and cavities of a 3D object."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# A neighbourhood of 27 voxels is a number with a bit for each: bit 9 x + 3 y + z. The voxel itself is bit 13.
OFFSETS = np.indices((3, 3, 3)).reshape(3, -1).T - 1
STRIDES = (9, 3, 1)


def _bits(chosen: np.ndarray) -> np.uint32:
    return np.uint32((1 << np.flatnonzero(chosen)).sum())


ALL = _bits(np.abs(OFFSETS).sum(axis=1) > 0)
BY_FACES = _bits(np.abs(OFFSETS).sum(axis=1) == 1)
BY_EDGES = BY_FACES | _bits(np.abs(OFFSETS).sum(axis=1) == 2)
NOT_LAST = [_bits(OFFSETS[:, axis] < 1) for axis in range(3)]
NOT_FIRST = [_bits(OFFSETS[:, axis] > -1) for axis in range(3)]


def is_simple(code: np.ndarray) -> np.ndarray:
    """Array (n,) that says whether each voxel is simple: its deletion does not change the topology.

    A voxel is simple under two conditions. Its neighbours in the object are connected with each other by faces, edges
    or corners. Its background neighbours that share a face with it are connected with each other by faces, on ways
    through the 18 voxels that share a face or an edge with it.

    Args:
        code: for each voxel, the neighbours in the object as the bits of a number, (n,).
    """
    background = ~code & BY_EDGES
    faces = background & BY_FACES
    candidates = (code > 0) & (faces > 0)
    simple = np.zeros(len(code), bool)
    code, background, faces = code[candidates], background[candidates], faces[candidates]
    one_object = _flood(code, code, _grow_by_corners) == code
    simple[candidates] = one_object & (faces & ~_flood(faces, background, _grow_by_faces) == 0)
    return simple


def _flood(start: np.ndarray, within: np.ndarray, grow: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Array (n,) of the bits of `within` that are connected to the lowest bit of `start`, for each voxel.

    Args:
        start: for each voxel, neighbours as the bits of a number, (n,); the search begins at the lowest of these bits.
        within: the neighbours that the search may reach, (n,).
        grow: function that adds to a set of bits the neighbours of these bits.
    """
    reached = start & (~start + np.uint32(1))
    while True:
        grown = grow(reached) & within
        if (grown == reached).all():
            return reached
        reached = grown


def _grow_by_faces(bits: np.ndarray) -> np.ndarray:
    return bits | _moved(bits, 0) | _moved(bits, 1) | _moved(bits, 2)


def _grow_by_corners(bits: np.ndarray) -> np.ndarray:
    for axis in range(3):
        bits = bits | _moved(bits, axis)
    return bits


def _moved(bits: np.ndarray, axis: int) -> np.ndarray:
    """Bits of neighbourhoods, moved by one voxel forwards and backwards along an axis; union of both."""
    stride = np.uint32(STRIDES[axis])
    return (bits & NOT_LAST[axis]) << stride | (bits & NOT_FIRST[axis]) >> stride
