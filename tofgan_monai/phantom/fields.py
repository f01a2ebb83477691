"""Smooth random fields as functions of the scanner's coordinates in mm.

The fields do not depend on the field of view, so a cropped head has the same anatomy as the full head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tofgan_monai.phantom.grid import Block

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
        return FieldOnGrid(self, (x_mm, y_mm, z_mm)).block((slice(None),) * 3)


class FieldOnGrid:
    """A smooth field on the grid of three axes, evaluated block by block.

    Args:
        field: the field.
        axes_mm: three axes of ascending scanner's coordinates.
    """

    def __init__(self, field: SmoothField, axes_mm: Sequence[np.ndarray]) -> None:
        self.coefficients = field.coefficients
        self.taps = [_taps((axis + HALF_WIDTH_MM) / field.scale_mm, len(field.coefficients)) for axis in axes_mm]
        self._planes: tuple[tuple[slice, slice], np.ndarray] | None = None

    def block(self, block: Block) -> np.ndarray:
        """Evaluates the field in a block, (X, Y, Z), float32.

        A block that differs from the last one along x alone is faster.
        """
        x, y, z = ((base[part], weights[:, part]) for (base, weights), part in zip(self.taps, block, strict=True))
        if self._planes is None or self._planes[0] != block[1:]:
            start = y[0][0]
            values = _along(self.coefficients[:, start : y[0][-1] + 4], 2, *z)
            self._planes = block[1:], _along(values, 1, y[0] - start, y[1])
        return _along(self._planes[1], 0, *x)


class WhenUsed(dict[str, np.ndarray]):
    """Arrays by name, each computed when it is first used.

    Args:
        compute: dict from a name to the function that computes its array.
    """

    def __init__(self, compute: Mapping[str, Callable[[], np.ndarray]]) -> None:
        super().__init__()
        self.compute = compute

    def __missing__(self, name: str) -> np.ndarray:
        value = self[name] = self.compute[name]()
        return value


def _lattice_size(scale_mm: float) -> int:
    """Returns the number of lattice points along each axis."""
    return int(np.ceil(2 * HALF_WIDTH_MM / scale_mm)) + 5


def _taps(positions: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the coefficients that affect the spline at some positions.

    Args:
        positions: (m,), in units of the lattice.
        n: number of lattice points along the axis.

    Returns:
        The index (m,) of the first of the four coefficients of each position, and the weights (4, m) of the four.
    """
    positions = np.clip(positions, 0, n - 5)
    base = np.floor(positions)
    t = (positions - base).astype(np.float32)
    weights = (1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6
    return base.astype(np.intp), np.stack(weights)


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
