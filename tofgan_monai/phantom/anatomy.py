"""The tissues of a simulated head: their surfaces as approximate signed distances in mm, and the signal at each voxel.

Template coordinates are RAS millimetres of a head of standard size, with the anterior commissure near the origin. All
shapes are ellipsoids (superquadrics for the brain and the skin) that smooth noise deforms. The sulci lie where such
noise is zero, which is a folded surface. The signal is in units of grey matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Vector = tuple[float, float, float]
Points = Sequence[np.ndarray] | np.ndarray
"""x, y and z in mm: three arrays of the same shape."""
Volumes = Mapping[str, np.ndarray]


def ellipsoid(at: Points, *, centre: Vector, radii: Vector, power: float = 2.0) -> np.ndarray:
    """Returns the distance in mm from points to a superquadric, measured along the ray from its centre.

    The distance is negative inside.

    Args:
        at: the points in mm.
        centre: centre of the shape in mm.
        radii: half axes in mm.
        power: exponent of the superquadric: 2 (an ellipsoid) or 2.5 (more like a box).
    """
    total: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0
    for values, middle, radius in zip(at, centre, radii, strict=True):
        away = values - np.float32(middle)
        square = away * away
        squares = squares + square
        square *= np.float32(1 / radius**2)
        if power != 2.0:  # 2.5: u^2.5 as u^2 * (u^2)^0.25, with two square roots, is ten times faster than a power
            square *= np.sqrt(np.sqrt(square))
        total = total + square
    if power != 2.0:
        total = np.exp(np.log(total + np.float32(1e-6)) * np.float32(0.8))
    length = np.sqrt(squares)
    return length - length / np.sqrt(np.maximum(total, np.float32(1e-6)))


def intracranial(at: Points) -> np.ndarray:
    """Returns the signed distance in mm from template coordinates to the inner skull; negative inside."""
    cerebrum = ellipsoid(at, centre=(0, -16, 12), radii=(66, 84, 62), power=2.5)
    cerebellum = ellipsoid(at, centre=(0, -50, -42), radii=(50, 37, 27))
    face = ellipsoid(at, centre=(0, 50, -58), radii=(75, 58, 38))
    clivus = ellipsoid(at, centre=(0, 3, -47), radii=(18, 16, 20))
    return np.maximum(np.minimum(cerebrum, cerebellum), -np.minimum(face, clivus))


def outside(at: Points) -> np.ndarray:
    """Returns the signed distance in mm from template coordinates to the skin; negative inside the head."""
    cap = ellipsoid(at, centre=(0, -13, 10), radii=(79, 98, 80), power=2.5)
    jaw = ellipsoid(at, centre=(0, 6, -62), radii=(68, 88, 70), power=2.5)
    return np.minimum(cap, jaw)


def _inside(distance: np.ndarray, soft_mm: float = 0.8) -> np.ndarray:
    """Turns a signed distance in mm into a fraction: 1 inside, 0 outside, and a ramp of `soft_mm` at the surface."""
    return np.clip(np.float32(0.5) - distance / np.float32(soft_mm), 0, 1)


def _ventricles(at: Points, s: float) -> np.ndarray:
    """Returns the signed distance in mm from points to the ventricles, whose size is `s` times the usual size."""
    x, y, z = at
    sides = (np.abs(x), y, z)
    body = ellipsoid((sides[0], y, z - np.float32(0.12) * y), centre=(9, -8, 20), radii=(6 * s, 33, 7 * s))
    horn = ellipsoid(sides, centre=(24, -40, 6), radii=(6 * s, 18, 9 * s))
    third = ellipsoid(at, centre=(0, -9, 0), radii=(2.2 * s, 13, 12))
    fourth = ellipsoid(at, centre=(0, -44, -34), radii=(6 * s, 4 * s, 11))
    return np.minimum(np.minimum(body, horn), np.minimum(third, fourth))


def _brain(at: Points, depth: np.ndarray, drawn: Mapping[str, float], fields: Volumes, levels: Volumes) -> np.ndarray:
    """Returns the signal of grey matter, white matter and fluid; `depth` is the distance in mm below the inner skull.

    The other arguments are those of `tissue`.
    """
    x, y, z = at
    sides = (np.abs(x), y, z)
    fold = np.abs(fields["fold"])
    shallow = np.clip((np.float32(26) - depth) / np.float32(10), 0, 1)
    width = np.float32(drawn["sulcus_width"])
    fluid = np.clip(np.float32(1.6) - fold / width, 0, 1) * shallow
    np.maximum(fluid, np.clip(np.float32(2.2) - depth, 0, 1), out=fluid)
    falx = np.clip(np.float32(1.4) - np.abs(x + fields["texture"]), 0, 1) * (np.abs(y - 8) + np.abs(z - 6) > 44)
    np.maximum(fluid, falx * np.float32(0.8), out=fluid)
    cistern = ellipsoid(at, centre=(0, 1, -21), radii=(13, 14, 7)) + fields["small"] * np.float32(2)
    sylvian = ellipsoid(sides, centre=(40, -8, -6), radii=(3.0, 22, 13)) + fields["small"] * 3
    pontine = ellipsoid(sides, centre=(0, -15, -36), radii=(16, 5, 18)) + fields["small"]
    np.maximum(fluid, _inside(np.minimum(np.minimum(cistern, sylvian), pontine), 2.0), out=fluid)
    vents = _ventricles(at, drawn["ventricles"]) + fields["texture"] * np.float32(0.5)
    np.maximum(fluid, _inside(vents), out=fluid)
    np.maximum(fluid, fields["sleeve"], out=fluid)
    white = np.clip((fold - width - np.float32(0.22)) * 4, 0, 1) * np.clip((depth - 4) / 2, 0, 1)
    white *= np.clip(2 - np.abs(fields["small"]) * (depth > 30), 0, 1)  # deep grey nuclei
    choroid = _inside(np.abs(vents + 1) - np.float32(0.8)) * (fields["small"] > np.float32(0.9))
    signal = levels["grey"] + white * (levels["white"] - levels["grey"])
    signal *= 1 + fields["texture"] * np.float32(drawn["texture"])
    signal += fluid * (levels["fluid"] - signal)
    return signal + choroid * np.float32(0.45) * levels["grey"]


def _face(at: Points, fields: Volumes, levels: Volumes, marrow: float) -> np.ndarray:
    """Returns the signal below and in front of the brain: muscle, fat, sinuses with air, and eyes in orbital fat.

    `marrow` is the signal of the marrow in clivus and petrous bones over the signal of fat; 0 or less leaves it out.
    """
    sides = (np.abs(at[0]), *at[1:])
    mix = fields["small"] + np.float32(0.4) * fields["texture"]
    signal = levels["muscle"] * np.clip(mix * 3 + np.float32(1.2), np.float32(0.12), 1)
    signal += np.clip(mix * 4 - np.float32(4.4), 0, 1) * (levels["fat"] * np.float32(0.6) - signal)
    if marrow > 0:
        clivus = ellipsoid(at, centre=(0, -6, -42), radii=(13, 7, 14))
        petrous = ellipsoid(sides, centre=(28, -20, -42), radii=(20, 9, 8))
        share = _inside(np.minimum(clivus, petrous) + fields["small"] * 2, 3.0) * np.float32(marrow)
        signal += share * (levels["fat"] - signal)
    sinus = ellipsoid(at, centre=(0, 12, -43), radii=(15, 17, 12)) + fields["small"] * 3
    nose = ellipsoid(at, centre=(0, 55, -45), radii=(15, 34, 26)) + fields["small"] * 3
    mastoid = ellipsoid(sides, centre=(52, -28, -48), radii=(15, 18, 18)) + fields["small"] * 5
    air = _inside(np.minimum(np.minimum(sinus, nose), mastoid))
    signal *= 1 - air
    orbit = _inside(ellipsoid(sides, centre=(31, 58, -34), radii=(18, 27, 17)))
    signal += orbit * (levels["fat"] * np.float32(0.8) - signal)
    eye = _inside(ellipsoid(sides, centre=(31, 68, -34), radii=(12, 12, 12)))
    return signal + eye * (levels["fluid"] * np.float32(0.8) - signal)


def tissue(at: Points, drawn: Mapping[str, float], fields: Volumes, levels: Volumes) -> tuple[np.ndarray, np.ndarray]:
    """Returns the signal of a head without vessels, and the signed distance in mm to the inner skull (negative inside).

    Args:
        at: template coordinates in mm; both results have the shape of one of these arrays.
        drawn: the parameters of the head.
        fields: smooth noise on the same grid, by the names wide, small, fold and texture. The field sleeve is the
            fraction of fluid around arteries.
        levels: the signal of grey, white, fluid, fat and muscle; each array can be broadcast to the shape of the grid.
    """
    inner = intracranial(at) + fields["wide"] * np.float32(drawn["deformation"])
    skin = outside(at) + fields["wide"] * np.float32(drawn["deformation"]) + fields["small"] * np.float32(0.3)
    signal = _brain(at, -inner, drawn, fields, levels)
    marrow = np.clip(1 - np.abs(inner - np.float32(5.5)) / np.float32(1.6), 0, 1) * np.clip(fields["small"] + 0.4, 0, 1)
    bone = levels["muscle"] * np.float32(0.12) + marrow * levels["fat"] * np.float32(0.3)
    scalp = np.clip((inner - 8 - fields["small"]) * np.float32(0.8), 0, 1)
    rim = np.clip(np.minimum(-skin - np.float32(1.6), skin + 6 + 2 * fields["fold"]), 0, 1)
    flesh = levels["muscle"] + rim * (levels["fat"] - levels["muscle"])
    deep = np.clip((-skin - 7) * np.float32(0.3), 0, 1)
    flesh += deep * (_face(at, fields, levels, drawn["marrow"]) - flesh)
    bone += scalp * (flesh - bone)
    signal += (1 - _inside(inner)) * (bone - signal)
    signal *= _inside(skin)
    return signal, inner
