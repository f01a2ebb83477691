"""Ellipsoids and boxes with round edges: distances to them, and bounds of these distances in a region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

Vector = tuple[float, float, float]
Points = Sequence[np.ndarray] | np.ndarray
"""x, y and z in mm: three arrays of the same shape."""
ROUNDING_MM = 0.01  # more than the rounding error of a distance in float32


@dataclass(frozen=True)
class Region:
    """Points with the box that holds them.

    Attributes:
        points: x, y and z in mm.
        low: (3,), lowest x, y and z.
        high: (3,), highest x, y and z.
    """

    points: Points
    low: Sequence[float]
    high: Sequence[float]

    @classmethod
    def around(cls, points: Points) -> Region:
        """Returns the region of some points."""
        return cls(points, [float(p.min()) for p in points], [float(p.max()) for p in points])


@dataclass(frozen=True)
class Shape:
    """A superquadric.

    Attributes:
        centre: centre in mm.
        radii: half axes in mm.
        power: exponent of the superquadric: 2 (an ellipsoid) or 2.5 (more like a box).
        slope: by how much z rises per mm of y; 0 for an upright shape.
    """

    centre: Vector
    radii: Vector
    power: float = 2.0
    slope: float = 0.0

    def distance(self, at: Points) -> np.ndarray:
        """Returns the distance in mm from points to the shape, measured along the ray from its centre.

        The distance is negative inside.
        """
        x, y, z = at
        parts, squares = [], []
        for values, middle, radius in zip((x, y, self._upright(y, z)), self.centre, self.radii, strict=True):
            away = values - np.float32(middle)
            away *= away
            part = away * np.float32(1 / radius**2)
            if self.power != 2.0:  # 2.5: u^2.5 as u^2 * (u^2)^0.25, with two square roots, is ten times faster
                root = np.sqrt(part)
                part *= np.sqrt(root, out=root)
            parts.append(part)
            squares.append(away)
        total, length = _sum(parts), _sum(squares)
        if self.power != 2.0:
            total += np.float32(1e-6)
            np.log(total, out=total)
            total *= np.float32(0.8)
            np.exp(total, out=total)
        np.sqrt(length, out=length)
        np.maximum(total, np.float32(1e-6), out=total)
        np.sqrt(total, out=total)
        np.divide(length, total, out=total)
        return np.subtract(length, total, out=total)

    def bounds(self, region: Region) -> tuple[float, float]:
        """Returns a lower and an upper bound of the distance in mm in a region."""
        low, high = list(region.low), list(region.high)
        if self.slope:
            ends = [self.slope * region.low[1], self.slope * region.high[1]]
            low[2], high[2] = low[2] - max(ends), high[2] - min(ends)
        box = list(zip(low, high, self.centre, strict=True))
        near = [max(a - c, c - b, 0.0) for a, b, c in box]
        far = [max(c - a, b - c) for a, b, c in box]
        shortest, longest = math.hypot(*near), math.hypot(*far)  # from the centre
        least, most = self._scale(near), self._scale(far)  # 1 at the surface
        # The distance is length (1 - 1 / scale), or length - radius where the radius along the ray is length / scale.
        widest = max(self.radii) * 3 ** (0.5 - 1 / self.power)
        lower = max((shortest if least > 1 else longest) * (1 - 1 / least), shortest - min(longest / least, widest))
        upper = min((longest if most > 1 else shortest) * (1 - 1 / most), longest - shortest / most)
        return lower - ROUNDING_MM, upper + ROUNDING_MM

    def _upright(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Returns z less what the slope adds."""
        return z - np.float32(self.slope) * y if self.slope else z

    def _scale(self, away: Sequence[float]) -> float:
        """Returns by which factor the shape would have to grow to reach a point `away` mm from its centre."""
        total = sum((a / r) ** self.power for a, r in zip(away, self.radii, strict=True))
        if self.power != 2.0:
            total = (total + 1e-6) ** (2 / self.power)
        return math.sqrt(max(total, 1e-6))


def _sum(parts: list[np.ndarray]) -> np.ndarray:
    """Adds three arrays into the first."""
    first, second, third = parts
    first += second
    first += third
    return first


def least(
    shapes: Sequence[Shape], at: Points | Region, *, floor: float = -math.inf, ceil: float = math.inf
) -> np.ndarray:
    """Returns the signed distance in mm to the union of shapes: the least of their distances.

    In a region, distances below `floor` and above `ceil` need not be exact: another number below or above can stand for
    them. If all distances in the region are below, or all above, the result is one number without axes.
    """
    if isinstance(at, Region):
        bounds = [shape.bounds(at) for shape in shapes]
        high = min(upper for _, upper in bounds)
        if high < floor:
            return np.asarray(floor, at.points[0].dtype)
        shapes = [shape for shape, (lower, _) in zip(shapes, bounds, strict=True) if lower <= min(high, ceil)]
        if not shapes:
            return np.asarray(ceil, at.points[0].dtype)
        at = at.points
    return reduce(np.minimum, [shape.distance(at) for shape in shapes])
