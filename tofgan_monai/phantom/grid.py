"""The grid of an image: where its voxels lie in the scanner, in the patient and in template coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from nibabel.affines import from_matvec

from tofgan_monai.phantom.shapes import Points

Block = tuple[slice, slice, slice]
"""The range of voxels along each axis."""
BLOCK_SHAPE = (24, 24, 64)  # about so many voxels fit the cache with all that is computed in them


@dataclass
class Grid:
    """The grid of an image.

    Attributes:
        axes_mm: positions of the voxels along the three axes of the scanner, relative to the isocentre.
        rotation: (3, 3), from the axes of the scanner to RAS axes of the patient.
        centre_mm: (3,), RAS position of the isocentre.
        spacing_mm: (3,), voxel size.
    """

    axes_mm: tuple[np.ndarray, np.ndarray, np.ndarray]
    rotation: np.ndarray
    centre_mm: np.ndarray
    spacing_mm: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        x, y, z = self.axes_mm
        return len(x), len(y), len(z)

    @property
    def corner_mm(self) -> np.ndarray:
        """Position (3,) of the first voxel along the axes of the scanner."""
        return np.array([axis[0] for axis in self.axes_mm])

    @property
    def affine(self) -> np.ndarray:
        """Matrix (4, 4) from voxel indices to RAS mm."""
        return from_matvec(self.rotation * self.spacing_mm, self.rotation @ self.corner_mm + self.centre_mm)

    def to_scanner(self, points_mm: np.ndarray) -> np.ndarray:
        """Converts points (n, 3) from RAS mm to mm along the axes of the scanner."""
        return (points_mm - self.centre_mm) @ self.rotation

    def blocks(self) -> Iterator[Block]:
        """Divides the grid into blocks of about BLOCK_SHAPE voxels; those that differ along x alone are neighbours."""
        parts = []
        for n, size in zip(self.shape, BLOCK_SHAPE, strict=True):
            edges = np.linspace(0, n, max(1, round(n / size)) + 1).astype(int).tolist()
            parts.append([slice(start, end) for start, end in pairwise(edges)])
        for y, z, x in product(parts[1], parts[2], parts[0]):
            yield x, y, z

    def template(self, block: Block, stretch: np.ndarray) -> Points:
        """Returns x, y and z of voxels in template coordinates: RAS mm divided by the head's stretch, float32.

        Args:
            block: the voxels.
            stretch: (3,), the stretch of the head.
        """
        x, y, z = (axis[part] for axis, part in zip(self.axes_mm, block, strict=True))
        r, c = self.rotation, self.centre_mm
        out = []
        for i in range(3):
            plane = (r[i, 0] * x[:, None] + r[i, 1] * y[None] + c[i]).astype(np.float32)
            values = plane[:, :, None] + (r[i, 2] * z).astype(np.float32)
            values /= np.float32(stretch[i])
            out.append(values)
        return out
