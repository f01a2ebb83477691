"""Draws bright vessels that are not brain arteries and have no label: sinuses, veins, and arteries of the scalp.

Positions are template coordinates: RAS mm of a head of standard size. A distance is a function that returns the signed
distance in mm to a surface, negative inside.
"""

from __future__ import annotations

import numpy as np

from tofgan_monai.phantom.growth import Distance, Tips, walk
from tofgan_monai.phantom.trunks import SIDES, polyline

SINUSES: tuple[tuple[tuple[float, float, float], ...], ...] = (
    ((0, -46, 12), (0, -70, 6), (0, -95, -6)),
    ((0, -96, -2), (0, -92, 30), (0, -70, 58), (0, -20, 72), (0, 30, 60)),
)
PAIRED: tuple[tuple[float, tuple[tuple[float, float, float], ...]], ...] = (
    (2.8, ((0, -95, -6), (25, -90, -12), (48, -68, -20), (54, -45, -30), (46, -36, -48), (32, -30, -62))),
    (0.8, ((10, 2, -15), (18, -14, -16), (21, -28, -8), (12, -40, 4), (0, -46, 12))),
    (0.7, ((2, 8, 10), (2.5, -15, 13), (2, -35, 12), (0, -46, 12))),
    (0.9, ((45, 5, -10), (40, 14, -18), (30, 12, -26), (18, 10, -32))),
)
# Vessels below and outside the skull: whether an artery, radius in mm, points on the right side.
FACE: tuple[tuple[bool, float, tuple[tuple[float, float, float], ...]], ...] = (
    (True, 2.0, ((30, -12, -78), (36, -10, -62), (48, -10, -45), (56, -8, -32))),  # external carotid
    (True, 1.0, ((56, -8, -32), (66, -4, -10), (71, -6, 12), (69, 12, 34), (60, 22, 50))),  # superficial temporal
    (True, 1.1, ((54, -8, -38), (42, 6, -48), (33, 24, -46), (28, 40, -50))),  # maxillary
    (True, 0.5, ((46, -2, -46), (48, 2, -32), (59, 0, -8), (64, -12, 18))),  # middle meningeal
    (True, 0.9, ((38, -20, -62), (50, -50, -50), (42, -88, -32), (30, -100, -4))),  # occipital
    (False, 4.0, ((32, -30, -62), (31, -24, -72), (30, -20, -82))),  # internal jugular
    (False, 2.8, ((13, 12, -29), (15, 2, -36), (17, -8, -40), (24, -18, -44))),  # cavernous sinus
    (False, 1.5, ((17, -8, -40), (12, -16, -44), (0, -10, -40))),  # basilar plexus on the clivus
    (False, 1.2, ((30, 62, -28), (26, 44, -26), (20, 26, -26), (14, 12, -29))),  # superior ophthalmic
)


def _surface_walks(
    rng: np.random.Generator, distance: Distance, *, n: int, depth_mm: float, radii_mm: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Draws n wavy vessels at one depth below a closed surface; returns points (m, 3) and radii (m,) in mm.

    Args:
        rng: source of all random draws.
        distance: signed distance to the surface.
        n: number of vessels.
        depth_mm: depth below the surface.
        radii_mm: lowest and highest radius.
    """
    direction = rng.standard_normal((n, 3)) * (1, 1, 0.8)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    ray = np.linspace(20, 110, 120)
    probes = direction[:, None] * ray[:, None] + np.array([0, -15, 0])
    value = distance(probes.reshape(-1, 3)).reshape(n, -1)
    starts = probes[np.arange(n), np.argmin(np.abs(value + depth_mm), axis=1)]
    radius = rng.uniform(*radii_mm, n)
    zeros = np.zeros(n, int)
    tips = Tips(starts, np.cross(direction, rng.standard_normal((n, 3))), radius, zeros, zeros, np.sign(starts[:, 0]))
    steps = rng.integers(60, 180, n)
    path, length = walk(tips, steps, distance, rng, 1.0, depth_mm=np.full(n, depth_mm))
    points = np.concatenate([path[:k, i] for i, k in enumerate(length)])
    return points, np.repeat(radius, length)


def veins(rng: np.random.Generator, distance: Distance, n_cortical: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Draws the venous sinuses, the deep veins and some cortical veins; returns points (n, 3) and radii (n,) in mm.

    Args:
        rng: source of all random draws.
        distance: signed distance to the inner skull.
        n_cortical: number of veins on the surface of the brain.
    """
    pieces = []
    for sinus in SINUSES:
        line = polyline(np.array(sinus) + rng.normal(0, 1.0, (len(sinus), 3)), rng, waviness_mm=0.3)
        pieces.append((line, np.full(len(line), rng.uniform(2.0, 3.2))))
    for radius, controls in PAIRED:
        for sign in SIDES.values():
            line = np.array(controls) * (sign, 1, 1) + rng.normal(0, 1.2, (len(controls), 3))
            line = polyline(line, rng, waviness_mm=0.5)
            pieces.append((line, np.full(len(line), radius * rng.uniform(0.5, 1.3))))
    pieces.append(_surface_walks(rng, distance, n=n_cortical, depth_mm=2.0, radii_mm=(0.3, 0.9)))
    return np.concatenate([p for p, _ in pieces]), np.concatenate([r for _, r in pieces])


def scalp_arteries(rng: np.random.Generator, skin: Distance) -> tuple[np.ndarray, np.ndarray]:
    """Draws arteries under the skin; returns points (n, 3) and radii (n,) in mm.

    `skin` is the signed distance to the skin.
    """
    return _surface_walks(rng, skin, n=16, depth_mm=4.0, radii_mm=(0.3, 0.8))


def face_vessels(rng: np.random.Generator, factor: float) -> list[tuple[bool, np.ndarray, np.ndarray]]:
    """Draws the vessels in FACE on both sides, with radii times `factor`.

    Returns:
        For each vessel whether it is an artery, its points (n, 3) and its radii (n,) in mm.
    """
    drawn = []
    for artery, radius, controls in FACE:
        for sign in SIDES.values():
            line = np.array(controls) * (sign, 1, 1) + rng.normal(0, 2.0, (len(controls), 3))
            line = polyline(line, rng, waviness_mm=0.9)
            drawn.append((artery, line, np.full(len(line), radius * factor * rng.uniform(0.6, 1.3))))
    return drawn
