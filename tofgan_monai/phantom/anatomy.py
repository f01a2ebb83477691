"""The tissues of a simulated head: their surfaces as approximate signed distances in mm, and the signal at each voxel.

Template coordinates are RAS millimetres of a head of standard size, with the anterior commissure near the origin. All
shapes are ellipsoids (superquadrics for the brain and the skin) that smooth noise deforms. The sulci lie where such
noise is zero, which is a folded surface. The signal is in units of grey matter.

`tissue` computes a region of the head at a time and leaves out what cannot change the result there. What it leaves out
would have added exactly 0 or multiplied by exactly 1, so the result does not depend on how the head is divided. Limits
that say so have a margin for rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tofgan_monai.phantom.shapes import Points, Region, Shape, least

Volumes = Mapping[str, np.ndarray]

BRAIN = (Shape((0, -16, 12), (66, 84, 62), power=2.5), Shape((0, -50, -42), (50, 37, 27)))  # cerebrum, cerebellum
FACE = (Shape((0, 50, -58), (75, 58, 38)), Shape((0, 3, -47), (18, 16, 20)))  # face, clivus
SKIN = (Shape((0, -13, 10), (79, 98, 80), power=2.5), Shape((0, 6, -62), (68, 88, 70), power=2.5))  # cap, jaw
# The other shapes are those of the right side. The numbers are the strength in mm of the noise that deforms them.
POOLS = (
    (Shape((0, 1, -21), (13, 14, 7)), 2),  # cistern
    (Shape((40, -8, -6), (3, 22, 13)), 3),  # sylvian fissure
    (Shape((0, -15, -36), (16, 5, 18)), 1),  # pontine cistern
)
SINUSES = (
    (Shape((0, 12, -43), (15, 17, 12)), 3),  # sphenoid sinus
    (Shape((0, 55, -45), (15, 34, 26)), 3),  # nose
    (Shape((52, -28, -48), (15, 18, 18)), 5),  # mastoid cells
)
SKULL_BASE = (
    (Shape((0, -6, -42), (13, 7, 14)), 2),  # clivus
    (Shape((28, -20, -42), (20, 9, 8)), 2),  # petrous bone
)
ORBIT, EYE = Shape((31, 58, -34), (18, 27, 17)), Shape((31, 68, -34), (12, 12, 12))


def intracranial(at: Points | Region, *, floor: float = -np.inf, ceil: float = np.inf) -> np.ndarray:
    """Returns the signed distance in mm from template coordinates to the inner skull; negative inside.

    In a region, distances below `floor` and above `ceil` need not be exact; see `least`.
    """
    room = least(BRAIN, at, floor=floor, ceil=ceil)
    return np.maximum(room, -least(FACE, at, floor=-ceil, ceil=-float(room.min())))


def outside(at: Points | Region, *, floor: float = -np.inf, ceil: float = np.inf) -> np.ndarray:
    """Returns the signed distance in mm from template coordinates to the skin; negative inside the head.

    In a region, distances below `floor` and above `ceil` need not be exact; see `least`.
    """
    return least(SKIN, at, floor=floor, ceil=ceil)


def _inside(distance: np.ndarray, soft_mm: float = 0.8) -> np.ndarray:
    """Turns a signed distance in mm into a fraction: 1 inside, 0 outside, and a ramp of `soft_mm` at the surface."""
    fraction = distance / np.float32(soft_mm)
    return _ramp(np.subtract(np.float32(0.5), fraction, out=fraction))


def _ramp(values: np.ndarray) -> np.ndarray:
    """Clips values to the range from 0 to 1, in place."""
    return np.clip(values, 0, 1, out=values)


def _cavities(shapes: Sequence[tuple[Shape, int]], sides: Region, small: np.ndarray, *, soft_mm: float) -> np.ndarray:
    """Returns the fraction inside any of some shapes, each deformed by its factor times the noise `small`."""
    fraction = np.zeros((), np.float32)
    for shape, factor in shapes:
        distance = least((shape,), sides, ceil=soft_mm / 2 + 0.1 + factor * _size(small))
        if distance.ndim:
            fraction = np.maximum(fraction, _inside(distance + small * np.float32(factor), soft_mm))
    return fraction


def _ventricles(sides: Region, s: float, ceil: float) -> np.ndarray:
    """Returns the signed distance in mm to the ventricles, whose size is `s` times the usual size; see `least`."""
    body, horn = Shape((9, -8, 20), (6 * s, 33, 7 * s), slope=0.12), Shape((24, -40, 6), (6 * s, 18, 9 * s))
    third, fourth = Shape((0, -9, 0), (2.2 * s, 13, 12)), Shape((0, -44, -34), (6 * s, 4 * s, 11))
    return least((body, horn, third, fourth), sides, ceil=ceil)


def _cortex(
    sides: Region, x: np.ndarray, depth: np.ndarray, vents: np.ndarray, drawn: Mapping[str, float], fields: Volumes
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the fractions of fluid and of white matter.

    `vents` is the signed distance in mm to the ventricles. The other arguments are those of `_brain`.
    """
    small = fields["small"]
    shallowest = depth.min()
    fold = np.abs(fields["fold"])
    width = np.float32(drawn["sulcus_width"])
    fluid = _ramp(np.float32(1.6) - fold / width)
    fluid *= _ramp((np.float32(26) - depth) / np.float32(10))
    if shallowest < 2.3:
        np.maximum(fluid, _ramp(np.float32(2.2) - depth), out=fluid)
    if sides.low[0] < 1.5 + _size(fields["texture"]):
        _, y, z = sides.points
        falx = _ramp(np.float32(1.4) - np.abs(x + fields["texture"])) * (np.abs(y - 8) + np.abs(z - 6) > 44)
        np.maximum(fluid, falx * np.float32(0.8), out=fluid)
    np.maximum(fluid, _cavities(POOLS, sides, small, soft_mm=2.0), out=fluid)
    if vents.ndim:
        np.maximum(fluid, _inside(vents), out=fluid)
    sleeve = fields["sleeve"] * np.float32(2 * drawn["sleeve"])
    np.maximum(fluid, _ramp(sleeve - np.float32(0.1)), out=fluid)
    white = _ramp((fold - width - np.float32(0.22)) * 4)
    if shallowest < 6.1:
        white *= _ramp((depth - 4) / 2)
    if depth.max() > 30:
        white *= _ramp(2 - np.abs(small) * (depth > 30))  # deep grey nuclei
    return fluid, white


def _brain(
    sides: Region, x: np.ndarray, depth: np.ndarray, drawn: Mapping[str, float], fields: Volumes, levels: Volumes
) -> np.ndarray:
    """Returns the signal of grey matter, white matter and fluid.

    Args:
        sides: template coordinates with the distance from the midline in place of x.
        x: the first template coordinate.
        depth: distance in mm below the inner skull.
        drawn, fields, levels: see `tissue`.
    """
    texture = fields["texture"]
    vents = _ventricles(sides, drawn["ventricles"], 0.5 + 0.5 * _size(texture))
    if vents.ndim:
        vents += texture * np.float32(0.5)
    fluid, white = np.ones((), np.float32), np.zeros((), np.float32)
    if depth.max() > 1.1:  # otherwise fluid alone
        fluid, white = _cortex(sides, x, depth, vents, drawn, fields)
    signal = levels["grey"] + white * (levels["white"] - levels["grey"])
    signal = signal * (1 + texture * np.float32(drawn["texture"]))
    signal += fluid * (levels["fluid"] - signal)
    if vents.ndim:
        choroid = _inside(np.abs(vents + 1) - np.float32(0.8)) * (fields["small"] > np.float32(0.9))
        signal += choroid * np.float32(0.45) * levels["grey"]
    return signal


def _face(sides: Region, fields: Volumes, levels: Volumes, marrow: float) -> np.ndarray:
    """Returns the signal below and in front of the brain: muscle, fat, sinuses with air, and eyes in orbital fat.

    `marrow` is the signal of the marrow in clivus and petrous bones over the signal of fat; 0 or less leaves it out.
    The other arguments are those of `_brain`.
    """
    small = fields["small"]
    mix = small + np.float32(0.4) * fields["texture"]
    signal = levels["muscle"] * np.clip(mix * 3 + np.float32(1.2), np.float32(0.12), 1)
    signal += _ramp(mix * 4 - np.float32(4.4)) * (levels["fat"] * np.float32(0.6) - signal)
    if marrow > 0:
        share = _cavities(SKULL_BASE, sides, small, soft_mm=3.0) * np.float32(marrow)
        signal += share * (levels["fat"] - signal)
    signal *= 1 - _cavities(SINUSES, sides, small, soft_mm=0.8)
    for shape, name in ((ORBIT, "fat"), (EYE, "fluid")):
        distance = least((shape,), sides, ceil=0.5)
        if distance.ndim:
            signal += _inside(distance) * (levels[name] * np.float32(0.8) - signal)
    return signal


def tissue(at: Points, drawn: Mapping[str, float], fields: Volumes, levels: Volumes) -> tuple[np.ndarray, np.ndarray]:
    """Returns the signal of a head without vessels, and the signed distance in mm to the inner skull (negative inside).

    The distance is exact near the inner skull; more than 31 mm inside or 9 mm outside it is only as far away as that.

    Args:
        at: template coordinates in mm; both results have the shape of one of these arrays.
        drawn: the parameters of the head.
        fields: smooth noise on the same grid, by the names wide, small, fold and texture. The field sleeve is the
            density of arteries, around which there is fluid.
        levels: the signal of grey, white, fluid, fat and muscle; each array can be broadcast to the shape of the grid.
    """
    sides = Region.around((np.abs(at[0]), at[1], at[2]))
    small, shift = fields["small"], fields["wide"] * np.float32(drawn["deformation"])
    rough, lowest, highest = _size(small), float(shift.min()), float(shift.max())
    inner = intracranial(sides, floor=-31 - highest, ceil=10 + 2 * rough - lowest) + shift
    hidden = inner.max() < -0.5  # the brain alone
    edge = 0.5 if hidden else max(10.5, 6 + 2 * _size(fields["fold"]))
    skin = outside(sides, floor=-edge - highest - 0.3 * rough, ceil=0.5 - lowest + 0.3 * rough) + shift
    skin += small * np.float32(0.3)
    if skin.min() > 0.45:
        return np.zeros_like(inner), inner
    signal = _brain(sides, at[0], -inner, drawn, fields, levels)
    if not hidden:
        signal += (1 - _inside(inner)) * (_cover(sides, inner, skin, fields, levels, drawn["marrow"]) - signal)
    if skin.max() > -0.45:
        signal *= _inside(skin)
    return signal, inner


def _cover(
    sides: Region, inner: np.ndarray, skin: np.ndarray, fields: Volumes, levels: Volumes, base_marrow: float
) -> np.ndarray:
    """Returns the signal of what covers the brain: bone with marrow, then muscle and fat, or the face.

    Args:
        sides: see `_brain`.
        inner: signed distance in mm to the inner skull.
        skin: signed distance in mm to the skin.
        fields, levels: see `tissue`.
        base_marrow: signal of the marrow in the skull base; see `_face`.
    """
    small = fields["small"]
    marrow = _ramp(1 - np.abs(inner - np.float32(5.5)) / np.float32(1.6)) * _ramp(small + np.float32(0.4))
    bone = levels["muscle"] * np.float32(0.12) + marrow * levels["fat"] * np.float32(0.3)
    scalp = _ramp((inner - 8 - small) * np.float32(0.8))
    if not scalp.any():
        return bone
    rim = _ramp(np.minimum(-skin - np.float32(1.6), skin + 6 + 2 * fields["fold"]))
    flesh = levels["muscle"] + rim * (levels["fat"] - levels["muscle"])
    deep = _ramp((-skin - 7) * np.float32(0.3))
    if deep.any():
        flesh += deep * (_face(sides, fields, levels, base_marrow) - flesh)
    return bone + scalp * (flesh - bone)


def _size(field: np.ndarray) -> float:
    """Returns the largest absolute value."""
    return float(max(field.max(), -field.min()))
