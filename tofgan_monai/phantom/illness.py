"""Changes an arterial tree as illnesses do: stenoses, occlusions, aneurysms, and moyamoya with its collaterals.

`drawn` always holds the parameters of a head; see `sources.PARAMETERS`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tofgan_monai.phantom.growth import Distance, Tips, walk
from tofgan_monai.phantom.trunks import STEP_MM, Branch

ILL = ("m1", "a1", "p1", "p2", "carotid", "basilar", "vertebral", "m2 upper", "m2 lower")
CLOSED_MM = 1e-3  # the radius of an artery without flow


def add_aneurysms(tree: list[Branch], named: list[Branch], chance: float, rng: np.random.Generator) -> None:
    """Adds aneurysms of 1.3 to 3.5 mm radius at the ends of large arteries to `tree`, each with a sixth of `chance`."""
    for branch in named:
        if branch.name.startswith(("m1", "a1", "carotid", "basilar")) and rng.random() < chance / 6:
            radius = rng.uniform(1.3, 3.5)
            offset = rng.standard_normal(3)
            centre = branch.points_mm[-1] + offset / np.linalg.norm(offset) * radius * 0.9
            points = centre + 0.25 * radius * rng.standard_normal((4, 3))
            node = len(branch.points_mm) - 1
            tree.append(Branch("aneurysm", points, np.full(4, radius), tree.index(branch), node))


def fall_ill(tree: list[Branch], drawn: Mapping[str, float], distance: Distance, rng: np.random.Generator) -> None:
    """Narrows and closes arteries of a grown tree in place, and adds the collaterals of moyamoya.

    A stenosis takes 40 to 95% of the radius over a few mm. An occlusion closes an artery from one point on. In half of
    the cases, everything behind it has no flow; in the others, collaterals that are not drawn fill it again after 4 to
    20 mm. In moyamoya (Suzuki and Takaku 1969, Arch Neurol 20:288), the end of a carotid and the beginnings of its two
    branches are narrow, and 25 to 60 thin tortuous vessels lie in the base of the brain.

    Args:
        tree: the whole tree; points in template coordinates.
        drawn: the parameters of the head.
        distance: signed distance to the inner skull.
        rng: source of all random draws.
    """
    for index in [i for i, branch in enumerate(tree) if branch.name.startswith(ILL)]:
        if rng.random() < drawn["stenoses"]:
            _narrow(tree[index], rng.uniform(0.1, 0.9), rng.uniform(0.4, 0.95), rng.uniform(1.0, 3.5))
        if rng.random() < drawn["occlusions"]:
            _close(tree, index, rng)
    for side in ("right", "left"):
        if rng.random() < drawn["moyamoya"]:
            _moyamoya(tree, side, distance, rng)


def _narrow(branch: Branch, at: float, share: float, length_mm: float) -> None:
    """Takes a share of the radius at the fraction `at` of a branch; `length_mm` is the width of the bell curve."""
    away = (np.arange(len(branch.radius_mm)) - at * (len(branch.radius_mm) - 1)) * STEP_MM
    branch.radius_mm = branch.radius_mm * (1 - share * np.exp(-((away / length_mm) ** 2)))


def _close(tree: list[Branch], index: int, rng: np.random.Generator) -> None:
    """Closes a branch from a random point on: for some mm, or with all that it feeds."""
    branch = tree[index]
    first = int(rng.integers(1, len(branch.radius_mm)))
    if rng.random() < 0.5:
        branch.radius_mm[first : first + int(rng.uniform(4, 20) / STEP_MM)] = CLOSED_MM
        return
    branch.radius_mm[first:] = CLOSED_MM
    closed = {index: first}
    for i, other in enumerate(tree):
        if other.parent in closed and other.parent_node >= closed[other.parent]:
            other.radius_mm[:] = CLOSED_MM
            closed[i] = 0


def _moyamoya(tree: list[Branch], side: str, distance: Distance, rng: np.random.Generator) -> None:
    """Narrows the end of the carotid of one side and its branches, and adds collaterals around it."""
    index = {branch.name: i for i, branch in enumerate(tree) if branch.name}
    for name, at in (("carotid", 1.0), ("m1", 0.0), ("a1", 0.0)):
        if f"{name} {side}" in index:
            _narrow(tree[index[f"{name} {side}"]], at, rng.uniform(0.6, 0.97), rng.uniform(3, 7))
    parent = index[f"carotid {side}"]
    end, n = tree[parent].points_mm[-1], int(rng.integers(25, 60))
    heading = rng.standard_normal((n, 3)) + np.array([0, -0.3, 1.0])
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    node = np.full(n, len(tree[parent].points_mm) - 1)
    tips = Tips(end + rng.normal(0, 3.0, (n, 3)), heading, rng.uniform(0.19, 0.36, n), np.full(n, parent), node,
                np.full(n, tree[parent].side))  # fmt: skip
    path, length = walk(tips, rng.integers(15, 60, n), distance, rng, 2.5)
    for i in np.flatnonzero(length >= 6):
        radius = np.full(length[i], tips.radius[i])
        tree.append(Branch("", path[: length[i], i], radius, parent, int(node[i]), tree[parent].side))
