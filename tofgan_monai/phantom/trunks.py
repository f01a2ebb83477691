"""Draws the named arteries at the base of the brain: the circle of Willis, its feeding arteries and its branches.

Positions are template coordinates: RAS mm of a head of standard size. `drawn` always holds the parameters of a head;
see `sources.PARAMETERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

STEP_MM = 0.4
SIDES = {"right": 1.0, "left": -1.0}

# Points where arteries begin, end or meet, RAS mm for the right side; each side gets its own random shift.
LANDMARKS: dict[str, tuple[float, float, float]] = {
    "neck": (24, -14, -72), "carotid top": (14, 1, -18), "communicating": (12.5, 0, -20.5), "eye": (12.5, 9, -27),
    "choroidal": (13.5, 0.5, -19.3), "m1 end": (36, 1, -17), "a1 end": (3, 11, -14), "p1 end": (12, -18, -19),
    "vertebral low": (12, -32, -75),
}  # fmt: skip
MIDLINE: dict[str, tuple[float, float, float]] = {
    "basilar low": (0, -19, -48), "basilar middle": (0, -16, -38), "basilar high": (0, -15, -25),
    "basilar top": (0, -14, -21.5),
}  # fmt: skip

# Artery -> (start, points on the way, end); the end is None if the artery ends freely at the last point on the way.
PATHS: dict[str, tuple[str, list[tuple[float, float, float]], str | None]] = {
    "carotid": ("neck", [(23, -12, -58), (20, -7, -48), (13, -1, -44), (11, 3, -38), (11.5, 11, -34), (12.5, 9, -27),
                         (13, 3, -23)], "carotid top"),
    "m1": ("carotid top", [(20, 3.5, -15.5), (28, 3.5, -16.5)], "m1 end"),
    "m2 upper": ("m1 end", [(41, 4, -10), (42, 3, 2), (43, -6, 13)], None),
    "m2 lower": ("m1 end", [(41, -4, -12), (43, -14, -4), (46, -27, 4)], None),
    "a1": ("carotid top", [(9, 7, -16)], "a1 end"),
    "a2": ("a1 end", [(2.5, 22, -10), (2.5, 33, 0), (2.5, 34, 14), (2.5, 26, 27), (2.5, 8, 34), (2.5, -14, 37)], None),
    "ophthalmic": ("eye", [(15, 18, -27), (21, 33, -30), (24, 48, -32)], None),
    "anterior choroidal": ("choroidal", [(18, -9, -17), (22, -18, -12), (24, -28, -6)], None),
    "posterior communicating": ("communicating", [(12.5, -9, -20.5)], "p1 end"),
    "vertebral": ("vertebral low", [(13, -31, -66), (9, -26, -57), (3, -21, -51)], "basilar low"),
    "p1": ("basilar top", [(6, -13.5, -20)], "p1 end"),
    "p2": ("p1 end", [(17, -27, -16), (19, -38, -10), (15, -50, -6), (12, -62, -3), (10, -74, 0)], None),
    "superior cerebellar": ("basilar high", [(9, -16, -25), (17, -27, -25), (18, -42, -22), (13, -54, -18)], None),
    "anterior inferior cerebellar": ("basilar middle", [(13, -20, -38), (26, -32, -38), (34, -43, -36)], None),
}  # fmt: skip


@dataclass
class Branch:
    """A piece of an artery without branching.

    Attributes:
        name: name of the artery with its side, such as "m1 left"; empty for grown branches.
        points_mm: (n, 3), centre line in the direction of the flow.
        radius_mm: (n,), radius at each point.
        parent: index of the upstream branch in the tree; -1 if there is none.
        parent_node: index of the upstream branch's point at which this branch leaves.
        side: 1 for the right, -1 for the left and 0 for neither side.
    """

    name: str
    points_mm: np.ndarray
    radius_mm: np.ndarray
    parent: int
    parent_node: int = -1
    side: float = 0.0


def polyline(controls: np.ndarray, rng: np.random.Generator, *, waviness_mm: float) -> np.ndarray:
    """Returns a smooth wavy curve (n, 3) in mm along control points; the ends do not move.

    Args:
        controls: (m, 3), control points in mm.
        rng: source of the random waves.
        waviness_mm: amplitude of the longest wave; shorter waves have smaller amplitudes.
    """
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(controls, axis=0), axis=1))])
    n = max(4, int(np.ceil(chord[-1] / STEP_MM)) + 1)
    s = np.linspace(0, chord[-1], n)
    points = CubicSpline(chord, controls)(s) if len(controls) > 2 else np.outer(1 - s / s[-1], controls[0]) + np.outer(
        s / s[-1], controls[1])  # fmt: skip
    for wavelength in (22.0, 11.0, 6.0):
        phase, spin = rng.uniform(0, 2 * np.pi, (2, 3))
        rate = 2 * np.pi / (wavelength * rng.uniform(0.8, 1.25))
        points = points + (waviness_mm * wavelength / 22) * (
            np.sin(rate * s[:, None] + phase) * np.cos(spin) * np.minimum(1, np.minimum(s, s[-1] - s) / 4)[:, None]
        )
    return points


def murray(*daughters_mm: float) -> float:
    """Returns the radius in mm of a vessel whose daughters have these radii (Murray's law).

    The cube of the radius is the sum of the cubes of the daughters' radii.

    >>> round(murray(1.0, 1.0), 3)
    1.26

    Source: Murray 1926, The physiological principle of minimum work, PNAS 12:207.
    """
    return float(np.sum(np.asarray(daughters_mm) ** 3) ** (1 / 3))


def _radii(drawn: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Dict from the name of an artery with its side, such as "m1 left", to its radius in mm.

    The radii of the branches are drawn at random. The radii of the carotids, the basilar and the vertebrals follow from
    them by Murray's law. Variants of the circle of Willis make some arteries thin or absent.
    """
    radius: dict[str, float] = {}
    m1 = drawn["m1_radius"]
    wobble = lambda spread: float(np.exp(spread * rng.standard_normal()))  # noqa: E731
    variant = lambda: rng.uniform(0.0, 0.35) if rng.random() < drawn["variants"] else 1.0  # noqa: E731
    for side in SIDES:
        radius[f"m1 {side}"] = m1 * wobble(0.05)
        share = rng.uniform(0.38, 0.62)
        radius[f"m2 upper {side}"] = radius[f"m1 {side}"] * share ** (1 / 3)
        radius[f"m2 lower {side}"] = radius[f"m1 {side}"] * (1 - share) ** (1 / 3)
        radius[f"a2 {side}"] = 0.74 * m1 * wobble(0.08)
        radius[f"p2 {side}"] = 0.74 * m1 * wobble(0.08)
        radius[f"superior cerebellar {side}"] = 0.46 * m1 * wobble(0.12)
        radius[f"anterior inferior cerebellar {side}"] = 0.36 * m1 * wobble(0.15)
        radius[f"ophthalmic {side}"] = 0.38 * m1 * wobble(0.15)
        radius[f"anterior choroidal {side}"] = 0.3 * m1 * wobble(0.15)
        radius[f"posterior communicating {side}"] = 0.45 * m1 * wobble(0.25) * variant()
        radius[f"p1 {side}"] = radius[f"p2 {side}"] * wobble(0.04)
        radius[f"a1 {side}"] = radius[f"a2 {side}"] * wobble(0.06)
        if rng.random() < drawn["variants"] / 4:  # fetal type: the carotid feeds the posterior cerebral artery
            radius[f"posterior communicating {side}"] = 0.95 * radius[f"p2 {side}"]
            radius[f"p1 {side}"] *= rng.uniform(0.0, 0.5)
    if rng.random() < drawn["variants"] / 4:  # one carotid feeds both anterior cerebral arteries
        thin, thick = rng.permutation(list(SIDES))
        radius[f"a1 {thin}"] *= rng.uniform(0.0, 0.4)
        radius[f"a1 {thick}"] = murray(radius["a2 left"], radius["a2 right"])
    radius["anterior communicating"] = 0.5 * m1 * wobble(0.2) * variant()
    for side in SIDES:
        leaving = ("m1", "a1", "posterior communicating", "ophthalmic", "anterior choroidal")
        radius[f"carotid {side}"] = murray(*(radius[f"{name} {side}"] for name in leaving)) * wobble(0.05) * 1.1
        radius[f"carotid {side}"] *= drawn["carotid"]
    carried = ("p1", "superior cerebellar", "anterior inferior cerebellar")
    radius["basilar"] = murray(*(radius[f"{name} {side}"] for name in carried for side in SIDES))
    share = rng.uniform(0.25, 0.75)
    for side, part in zip(SIDES, (share, 1 - share), strict=True):
        radius[f"vertebral {side}"] = radius["basilar"] * part ** (1 / 3)
    return radius


def circle_of_willis(drawn: Mapping[str, float], rng: np.random.Generator) -> list[Branch]:
    """Draws the named arteries of a random person: their positions, radii and anatomical variants.

    Each artery comes in the list after the artery that feeds it.
    """
    radius = _radii(drawn, rng)
    spot = {name: np.array(p) + rng.normal(0, (0.4, 0.8, 0.8)) for name, p in MIDLINE.items()}
    for side, sign in SIDES.items():
        spot |= {f"{k} {side}": np.array(p) * (sign, 1, 1) + rng.normal(0, 0.8, 3) for k, p in LANDMARKS.items()}
    branches: list[Branch] = []
    index: dict[str, int] = {}

    def add(name: str, controls: np.ndarray, feeder: str | None, side: float) -> None:
        """Adds an artery through control points, unless its radius is below 0.12 mm; `feeder` names its parent."""
        if radius[name] < 0.12:
            return
        points = polyline(controls, rng, waviness_mm=0.55 * drawn["tortuosity"] * min(1.0, len(controls) / 4))
        parent = index.get(feeder, -1) if feeder else -1
        node = -1
        if parent >= 0:  # start on the feeder's axis, wherever its waves are
            node = int(np.argmin(np.linalg.norm(branches[parent].points_mm - points[0], axis=1)))
            fade = np.exp(-np.arange(len(points)) * STEP_MM / 3)[:, None]
            points = points + (branches[parent].points_mm[node] - points[0]) * fade
        index[name] = len(branches)
        branches.append(Branch(name, points, np.full(len(points), radius[name]), parent, node, side))

    def add_path(name: str, side: str, feeder: str | None) -> None:
        """Adds the artery `name` of one side along its entry in `PATHS`, with random shifts."""
        start, way, end = PATHS[name]
        begin = spot.get(f"{start} {side}", spot.get(start))
        middle = [np.array(p) * (SIDES[side], 1, 1) + rng.normal(0, 1.0, 3) * (0.4, 1, 1) for p in way]
        last = [] if end is None else [spot.get(f"{end} {side}", spot.get(end))]
        add(f"{name} {side}", np.array([begin, *middle, *last]), feeder, SIDES[side])

    for side in SIDES:
        add_path("carotid", side, None)
        add_path("vertebral", side, None)
    stronger = max(SIDES, key=lambda side: radius[f"vertebral {side}"])
    add("basilar", np.array([spot[k] for k in MIDLINE]), f"vertebral {stronger}", 0.0)
    for side in SIDES:
        for name in ("m1", "a1", "ophthalmic", "anterior choroidal", "posterior communicating"):
            add_path(name, side, f"carotid {side}")
        for name in ("m2 upper", "m2 lower"):
            add_path(name, side, f"m1 {side}")
        for name in ("p1", "superior cerebellar", "anterior inferior cerebellar"):
            add_path(name, side, "basilar")
        p1, communicating = f"p1 {side}", f"posterior communicating {side}"
        add_path("p2", side, p1 if radius[p1] >= max(radius[communicating], 0.12) else communicating)
    add("anterior communicating", np.array([spot["a1 end left"], spot["a1 end right"]]), None, 0.0)
    for side, other in (("right", "left"), ("left", "right")):
        a1 = side if radius[f"a1 {side}"] >= 0.12 else other
        add_path("a2", side, f"a1 {a1}")
    return branches
