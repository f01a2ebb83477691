"""Where the tissues of a head lie: surfaces as approximate signed distances in mm, and the mixture at each voxel.

Coordinates are RAS millimetres with the anterior commissure near the origin. All shapes are ellipsoids (superquadrics
for the brain and the head), pushed about by smooth noise; sulci are the zero level set of such a noise, which is a
folded sheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Shape:
    """A person's head: the template stretched along each axis."""

    stretch: Vector

    def template(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Template coordinates of a person's points."""
        a, b, c = (np.float32(s) for s in self.stretch)
        return x / a, y / b, z / c


def ellipsoid(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, *, centre: Vector, radii: Vector, power: float = 2.0
) -> np.ndarray:
    """Distance to a superquadric along the ray from its centre, mm; negative inside."""
    total: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0
    for values, middle, radius in zip((x, y, z), centre, radii, strict=True):
        away = values - np.float32(middle)
        square = away * away
        squares = squares + square
        square *= np.float32(1 / radius**2)
        if power != 2.0:  # 2.5: the square times the fourth root of itself is ten times faster than a power
            square *= np.sqrt(np.sqrt(square))
        total = total + square
    if power != 2.0:
        total = np.exp(np.log(total + np.float32(1e-6)) * np.float32(0.8))
    length = np.sqrt(squares)
    return length - length / np.sqrt(np.maximum(total, np.float32(1e-6)))


def intracranial(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Signed distance to the inner table of the skull, mm, in template coordinates; negative inside."""
    cerebrum = ellipsoid(x, y, z, centre=(0, -16, 12), radii=(66, 84, 62), power=2.5)
    cerebellum = ellipsoid(x, y, z, centre=(0, -50, -42), radii=(50, 37, 27))
    face = ellipsoid(x, y, z, centre=(0, 50, -58), radii=(75, 58, 38))
    clivus = ellipsoid(x, y, z, centre=(0, 3, -47), radii=(18, 16, 20))
    return np.maximum(np.minimum(cerebrum, cerebellum), -np.minimum(face, clivus))


def outside(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Signed distance to the skin, mm, in template coordinates; negative inside."""
    cap = ellipsoid(x, y, z, centre=(0, -13, 10), radii=(79, 98, 80), power=2.5)
    jaw = ellipsoid(x, y, z, centre=(0, 6, -62), radii=(68, 88, 70), power=2.5)
    return np.minimum(cap, jaw)


def _inside(distance: np.ndarray, soft_mm: float = 0.8) -> np.ndarray:
    """1 inside, 0 outside, a ramp of `soft_mm` across the surface."""
    return np.clip(np.float32(0.5) - distance / np.float32(soft_mm), 0, 1)


def _ventricles(x: np.ndarray, y: np.ndarray, z: np.ndarray, size: float) -> np.ndarray:
    s = size
    side = np.abs(x)
    body = ellipsoid(side, y, z - np.float32(0.12) * y, centre=(9, -8, 20), radii=(6 * s, 33, 7 * s))
    horn = ellipsoid(side, y, z, centre=(24, -40, 6), radii=(6 * s, 18, 9 * s))
    third = ellipsoid(x, y, z, centre=(0, -9, 0), radii=(2.2 * s, 13, 12))
    fourth = ellipsoid(x, y, z, centre=(0, -44, -34), radii=(6 * s, 4 * s, 11))
    return np.minimum(np.minimum(body, horn), np.minimum(third, fourth))


def _brain(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, depth: np.ndarray, drawn: Mapping[str, float],
    fields: Mapping[str, np.ndarray], levels: Mapping[str, np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Signal of the brain and its fluid."""
    fold = np.abs(fields["fold"])
    shallow = np.clip((np.float32(26) - depth) / np.float32(10), 0, 1)
    width = np.float32(drawn["sulcus_width"])
    fluid = np.clip(np.float32(1.6) - fold / width, 0, 1) * shallow
    np.maximum(fluid, np.clip(np.float32(2.2) - depth, 0, 1), out=fluid)
    falx = np.clip(np.float32(1.4) - np.abs(x + fields["texture"]), 0, 1) * (np.abs(y - 8) + np.abs(z - 6) > 44)
    np.maximum(fluid, falx * np.float32(0.8), out=fluid)
    cistern = ellipsoid(x, y, z, centre=(0, 1, -21), radii=(13, 14, 7)) + fields["small"] * np.float32(2)
    sylvian = ellipsoid(np.abs(x), y, z, centre=(40, -8, -6), radii=(3.0, 22, 13)) + fields["small"] * 3
    pontine = ellipsoid(np.abs(x), y, z, centre=(0, -15, -36), radii=(16, 5, 18)) + fields["small"]
    np.maximum(fluid, _inside(np.minimum(np.minimum(cistern, sylvian), pontine), 2.0), out=fluid)
    vents = _ventricles(x, y, z, drawn["ventricles"]) + fields["texture"] * np.float32(0.5)
    np.maximum(fluid, _inside(vents), out=fluid)
    np.maximum(fluid, fields["sleeve"], out=fluid)
    white = np.clip((fold - width - np.float32(0.22)) * 4, 0, 1) * np.clip((depth - 4) / 2, 0, 1)
    white *= np.clip(2 - np.abs(fields["small"]) * (depth > 30), 0, 1)  # deep grey nuclei
    choroid = _inside(np.abs(vents + 1) - np.float32(0.8)) * (fields["small"] > np.float32(0.9))
    signal = levels["grey"] + white * (levels["white"] - levels["grey"])
    signal *= 1 + fields["texture"] * np.float32(drawn["texture"])
    signal += fluid * (levels["fluid"] - signal)
    return signal + choroid * np.float32(0.45) * levels["grey"]


def _face(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, fields: Mapping[str, np.ndarray], levels: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Signal below and before the brain: muscle, fat, bone, air-filled sinuses, the eyes in their fat."""
    mix = fields["small"] + np.float32(0.4) * fields["texture"]
    signal = levels["muscle"] * np.clip(mix * 3 + np.float32(1.2), np.float32(0.12), 1)
    signal += np.clip(mix * 4 - np.float32(4.4), 0, 1) * (levels["fat"] * np.float32(0.6) - signal)
    sinus = ellipsoid(x, y, z, centre=(0, 12, -43), radii=(15, 17, 12)) + fields["small"] * 3
    nose = ellipsoid(x, y, z, centre=(0, 55, -45), radii=(15, 34, 26)) + fields["small"] * 3
    mastoid = ellipsoid(np.abs(x), y, z, centre=(52, -28, -48), radii=(15, 18, 18)) + fields["small"] * 5
    air = _inside(np.minimum(np.minimum(sinus, nose), mastoid))
    signal *= 1 - air
    orbit = _inside(ellipsoid(np.abs(x), y, z, centre=(31, 58, -34), radii=(18, 27, 17)))
    signal += orbit * (levels["fat"] * np.float32(0.8) - signal)
    eye = _inside(ellipsoid(np.abs(x), y, z, centre=(31, 68, -34), radii=(12, 12, 12)))
    return signal + eye * (levels["fluid"] * np.float32(0.8) - signal)


def tissue(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, drawn: Mapping[str, float],
    fields: Mapping[str, np.ndarray], levels: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Signal without vessels, distance to the inner skull and to the skin (mm, negative inside), all of x's shape.

    Args:
        x, y, z: template coordinates, mm.
        drawn: the head's parameters.
        fields: smooth noise on the same grid: wide, small, fold, texture; and sleeve, the fluid around arteries.
        levels: signal of grey, white, fluid, fat, muscle, each broadcastable to x's shape.
    """
    inner = intracranial(x, y, z) + fields["wide"] * np.float32(drawn["deformation"])
    skin = outside(x, y, z) + fields["wide"] * np.float32(drawn["deformation"]) + fields["small"] * np.float32(0.3)
    signal = _brain(x, y, z, -inner, drawn, fields, levels)
    marrow = np.clip(1 - np.abs(inner - np.float32(5.5)) / np.float32(1.6), 0, 1) * np.clip(fields["small"] + 0.4, 0, 1)
    bone = levels["muscle"] * np.float32(0.12) + marrow * levels["fat"] * np.float32(0.3)
    scalp = np.clip((inner - 8 - fields["small"]) * np.float32(0.8), 0, 1)
    rim = np.clip(np.minimum(-skin - np.float32(1.6), skin + 6 + 2 * fields["fold"]), 0, 1)
    flesh = levels["muscle"] + rim * (levels["fat"] - levels["muscle"])
    deep = np.clip((-skin - 7) * np.float32(0.3), 0, 1)
    flesh += deep * (_face(x, y, z, fields, levels) - flesh)
    bone += scalp * (flesh - bone)
    signal += (1 - _inside(inner)) * (bone - signal)
    signal *= _inside(skin)
    return signal, inner, skin
