"""The grid of axial patches: their size, the padding of narrow slices, and where the centre of a patch may lie."""

from __future__ import annotations

from collections.abc import Sequence

PATCH_SIZE = 96
"""Edge of a patch in voxels."""


def padding_of(shape: Sequence[int], size: int = PATCH_SIZE) -> list[tuple[int, int]]:
    """Returns the padding (before, after), in voxels, for each axis of a volume, so that a patch fits into each slice.

    Args:
        shape: shape of the volume, (X, Y, Z).
        size: edge of a patch in voxels.
    """
    missing = [max(size - edge, 0) for edge in shape[:2]]
    return [(n // 2, n - n // 2) for n in missing] + [(0, 0)]


def centre_box(shape: Sequence[int], size: int = PATCH_SIZE) -> tuple[slice, ...]:
    """Returns the slices of the box of a volume (X, Y, Z) whose voxels can be the centre of a whole axial patch.

    The centre lies at index size // 2 of its patch. An axis that is shorter than a patch will be padded to the size of
    the patch; such an axis has one possible index for the centre.
    """
    firsts = [size // 2 - before for before, _ in padding_of(shape, size)[:2]]
    sides = zip(firsts, shape[:2], strict=True)
    return (*(slice(first, first + max(edge - size + 1, 1)) for first, edge in sides), slice(0, shape[2]))
