"""Smooth random fields in the scanner's millimetres, so that a crop of a head shows the same anatomy as the head."""

from __future__ import annotations

import numpy as np

HALF_WIDTH_MM = 115.0  # a field covers the cube of this half width round the isocentre, more than any head


class SmoothField:
    """A smooth function of the scanner's coordinates, which varies over `scale_mm`: cubic B-splines on a lattice.

    It is evaluated by gathering and adding, without BLAS, so that the bytes do not depend on the number of threads.
    """

    def __init__(self, coefficients: np.ndarray, scale_mm: float) -> None:
        self.coefficients = coefficients
        self.scale_mm = scale_mm

    @classmethod
    def random(cls, rng: np.random.Generator, scale_mm: float) -> SmoothField:
        """A field of about zero mean and unit variance, from white noise on the lattice."""
        n = _lattice_size(scale_mm)
        noise = rng.standard_normal((n, n, n), dtype=np.float32)
        return cls(noise * np.float32(3.02), scale_mm)  # 0.479^-1.5 makes up for the variance that the splines remove

    @classmethod
    def density(cls, points_mm: np.ndarray, weights: np.ndarray, scale_mm: float) -> SmoothField:
        """The density of weights (n,) at points (n, 3): their sum in each cell of the lattice, smoothed."""
        n = _lattice_size(scale_mm)
        cell = np.rint((points_mm + HALF_WIDTH_MM) / scale_mm).astype(int) + 1  # the peak of a spline is one knot later
        kept = np.all((cell >= 0) & (cell < n), axis=1)
        flat = np.ravel_multi_index(tuple(cell[kept].T), (n, n, n))
        total = np.bincount(flat, weights=weights[kept], minlength=n**3)
        return cls(total.reshape(n, n, n).astype(np.float32), scale_mm)

    def on_grid(self, x_mm: np.ndarray, y_mm: np.ndarray, z_mm: np.ndarray) -> np.ndarray:
        """The field on the grid of three axes, (len(x_mm), len(y_mm), len(z_mm)), float32."""
        scaled = [(axis_mm + HALF_WIDTH_MM) / self.scale_mm for axis_mm in (x_mm, y_mm, z_mm)]
        last = len(self.coefficients) - 5
        low, high = np.clip(np.floor([scaled[0].min(), scaled[0].max()]), 0, last).astype(int)
        values = self.coefficients[low : high + 4]  # all coefficients that affect these rows
        for axis in (2, 1, 0):
            positions = np.clip(scaled[axis], 0, last)
            values = _along(values, axis, np.floor(positions).astype(np.intp) - (low if axis == 0 else 0), positions)
        return values


def _lattice_size(scale_mm: float) -> int:
    return int(np.ceil(2 * HALF_WIDTH_MM / scale_mm)) + 5


def _along(values: np.ndarray, axis: int, base: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The cubic B-spline interpolation along an axis: four knots from `base`, weighted by the positions' fractions."""
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
