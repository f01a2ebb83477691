"""Smooth random fields as functions of the scanner's coordinates in mm.

The fields do not depend on the field of view, so a cropped head has the same anatomy as the full head.
"""

from __future__ import annotations

from collections.abc import Callable

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
        return self.on_planes(self.across(y_mm, z_mm), x_mm)

    def across(self, y_mm: np.ndarray, z_mm: np.ndarray) -> np.ndarray:
        """Interpolates along y and z alone; returns (n, len(y_mm), len(z_mm)): a plane for each lattice point along x.

        `on_planes` interpolates between these planes, so that they are computed once for many ranges of x.
        """
        base, weights = self._taps(y_mm)
        values = _along(self.coefficients[:, base[0] : base[-1] + 4], 2, *self._taps(z_mm))
        return _along(values, 1, base - base[0], weights)

    def on_planes(self, planes: np.ndarray, x_mm: np.ndarray) -> np.ndarray:
        """Interpolates between the planes of `across`; returns the field, (len(x_mm), *planes.shape[1:]), float32."""
        return _along(planes, 0, *self._taps(x_mm))

    def _taps(self, axis_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the index (n,) of the first of the four coefficients of each position, and their weights (4, n)."""
        positions = np.clip((axis_mm + HALF_WIDTH_MM) / self.scale_mm, 0, len(self.coefficients) - 5)
        base = np.floor(positions)
        t = (positions - base).astype(np.float32)
        weights = (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6
        return base.astype(np.intp), np.stack(weights)


class WhenUsed(dict[str, np.ndarray]):
    """Arrays by name, each computed when it is first used.

    Args:
        compute: from a name to its array.
    """

    def __init__(self, compute: Callable[[str], np.ndarray]) -> None:
        super().__init__()
        self.compute = compute

    def __missing__(self, name: str) -> np.ndarray:
        value = self[name] = self.compute(name)
        return value


def _lattice_size(scale_mm: float) -> int:
    """Returns the number of lattice points along each axis."""
    return int(np.ceil(2 * HALF_WIDTH_MM / scale_mm)) + 5


def _along(values: np.ndarray, axis: int, base: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Interpolates along one axis with cubic B-splines and returns the array with the new length of this axis.

    Args:
        values: coefficients.
        axis: the axis to interpolate.
        base: (n,), index of the first of the four coefficients that each position uses.
        weights: (4, n), the weights of these coefficients.
    """
    shape = [1, 1, 1]
    shape[axis] = -1
    total = np.take(values, base, axis=axis)
    total *= weights[0].reshape(shape)
    part = np.empty_like(total)
    for tap in (1, 2, 3):
        np.take(values, base + tap, axis=axis, out=part, mode="clip")  # no index is clipped; "raise" copies the result
        part *= weights[tap].reshape(shape)
        total += part
    return total
