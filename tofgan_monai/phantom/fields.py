"""Smooth random fields as functions of the scanner's coordinates in mm.

The fields do not depend on the field of view, so a cropped head has the same anatomy as the full head.
"""

from __future__ import annotations

import numpy as np

HALF_WIDTH_MM = 115.0  # half the edge of the cube around the isocentre that a field covers; heads are smaller


class SmoothField:
    """A smooth function of the scanner's coordinates: cubic B-splines on a lattice with a distance of `scale_mm`.

    The values are computed without BLAS, so that they do not depend on the number of threads.

    Args:
        coefficients: (n, n, n), the weight of the spline at each point of the lattice.
        scale_mm: distance of the points of the lattice.
    """

    def __init__(self, coefficients: np.ndarray, scale_mm: float) -> None:
        self.coefficients = coefficients
        self.scale_mm = scale_mm

    @classmethod
    def random(cls, rng: np.random.Generator, scale_mm: float) -> SmoothField:
        """Draws a random field with mean 0 and variance 1 (both approximate) from white noise on the lattice."""
        n = _lattice_size(scale_mm)
        noise = rng.standard_normal((n, n, n), dtype=np.float32)
        return cls(noise * np.float32(3.02), scale_mm)  # 0.479^-1.5 makes up for the variance that the splines remove

    @classmethod
    def density(cls, points_mm: np.ndarray, weights: np.ndarray, scale_mm: float) -> SmoothField:
        """Returns a field that is large where many points with large weights lie.

        The coefficient of each point of the lattice is the sum of the weights in the cell around it.

        Args:
            points_mm: (n, 3), scanner's coordinates; points outside the lattice are ignored.
            weights: (n,), weight of each point.
            scale_mm: distance of the points of the lattice.
        """
        n = _lattice_size(scale_mm)
        cell = np.rint((points_mm + HALF_WIDTH_MM) / scale_mm).astype(int) + 1  # the peak of a spline is one knot later
        kept = np.all((cell >= 0) & (cell < n), axis=1)
        flat = np.ravel_multi_index(tuple(cell[kept].T), (n, n, n))
        total = np.bincount(flat, weights=weights[kept], minlength=n**3)
        return cls(total.reshape(n, n, n).astype(np.float32), scale_mm)

    def on_grid(self, x_mm: np.ndarray, y_mm: np.ndarray, z_mm: np.ndarray) -> np.ndarray:
        """Evaluates the field on the grid of three axes; returns (len(x_mm), len(y_mm), len(z_mm)), float32."""
        scaled = [(axis_mm + HALF_WIDTH_MM) / self.scale_mm for axis_mm in (x_mm, y_mm, z_mm)]
        last = len(self.coefficients) - 5
        low, high = np.clip(np.floor([scaled[0].min(), scaled[0].max()]), 0, last).astype(int)
        values = self.coefficients[low : high + 4]  # all coefficients that affect these rows
        for axis in (2, 1, 0):
            positions = np.clip(scaled[axis], 0, last)
            values = _along(values, axis, np.floor(positions).astype(np.intp) - (low if axis == 0 else 0), positions)
        return values


def _lattice_size(scale_mm: float) -> int:
    """Returns the number of lattice points along each axis."""
    return int(np.ceil(2 * HALF_WIDTH_MM / scale_mm)) + 5


def _along(values: np.ndarray, axis: int, base: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Interpolates along one axis with cubic B-splines and returns the array with the new length of this axis.

    Args:
        values: coefficients.
        axis: the axis to interpolate.
        base: (n,), index of the first of the four coefficients that each position uses.
        positions: (n,), in units of the lattice; their fractions give the weights of the four coefficients.
    """
    t = (positions - np.floor(positions)).astype(np.float32)
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    shape = [1, 1, 1]
    shape[axis] = -1
    total = np.take(values, base, axis=axis) * weights[0].reshape(shape)
    for tap in (1, 2, 3):
        part = np.take(values, base + tap, axis=axis)
        part *= weights[tap].reshape(shape)
        total += part
    return total
