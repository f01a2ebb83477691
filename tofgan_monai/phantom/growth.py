"""Grows arteries from the named arteries: vessels branch by Murray's law until their radius is below THINNEST_MM.

Murray's law: the cube of a vessel's radius is the sum of the cubes of its daughters' radii. A tip is the start of a
branch that will grow. A distance is a function that returns the signed distance to a surface (the skull or the skin).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tofgan_monai.phantom.trunks import STEP_MM, Branch

Distance = Callable[[np.ndarray], np.ndarray]  # (n, 3) mm to signed distance (n,) mm, negative inside

# Named artery with a free end -> fraction of its flow (radius cubed) that leaves through branches before its end.
FREE_ENDS = {
    "m2 upper": 0.7, "m2 lower": 0.7, "a2": 0.8, "p2": 0.75, "superior cerebellar": 0.5,
    "anterior inferior cerebellar": 0.4, "anterior choroidal": 0.3,
}  # fmt: skip
PERFORATED = {"m1": 7, "a1": 2, "p1": 3, "basilar": 5, "posterior communicating": 2}
THINNEST_MM = 0.19


@dataclass
class Tips:
    """The starts of n branches that will grow.

    Attributes:
        start: (n, 3), first point in mm.
        direction: (n, 3), unit vectors.
        radius: (n,), in mm.
        parent: (n,), index of the parent branch in the tree.
        node: (n,), index of the parent's point at which the branch leaves.
        side: (n,), 1 for the right, -1 for the left and 0 for neither side.
    """

    start: np.ndarray
    direction: np.ndarray
    radius: np.ndarray
    parent: np.ndarray
    node: np.ndarray
    side: np.ndarray

    def __len__(self) -> int:
        return len(self.radius)

    def where(self, keep: np.ndarray) -> Tips:
        """Returns the tips for which the mask `keep` (n,) is True."""
        return Tips(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    @staticmethod
    def joined(parts: Sequence[Tips]) -> Tips:
        """Concatenates several sets of tips into one."""
        return Tips(*(np.concatenate([getattr(p, name) for p in parts]) for name in Tips.__dataclass_fields__))


def _unit(v: np.ndarray) -> np.ndarray:
    """Divides vectors (..., 3) by their lengths."""
    return v / np.maximum(np.sqrt((v * v).sum(axis=-1, keepdims=True)), 1e-9)


def _gradient(distance: Distance, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the signed distance (n,) at points (n, 3), and the unit vectors (n, 3) along which it increases."""
    n = len(points)
    shifted = np.concatenate([points, *(points + 1.5 * e for e in np.eye(3))])
    values = distance(shifted).reshape(4, n)
    return values[0], _unit((values[1:] - values[0]).T)


def side_tips(branches: list[Branch], distance: Distance, rng: np.random.Generator) -> Tips:
    """Returns the tips of the branches that leave the named arteries.

    The function changes `branches`: behind each branch that leaves, the radius of an artery in `FREE_ENDS` becomes
    smaller by Murray's law. Small branches that leave the arteries in `PERFORATED` do not change the radius.

    Args:
        branches: the named arteries.
        distance: signed distance to the inner skull.
        rng: source of random places, directions and radii.
    """
    rows: list[tuple] = []

    def leave(i: int, node: int, radius: float) -> None:
        """Adds a tip that leaves branch `i` at point `node`."""
        branch = branches[i]
        ahead = branch.points_mm[min(node + 2, len(branch.points_mm) - 1)] - branch.points_mm[max(node - 2, 0)]
        out = _gradient(distance, branch.points_mm[node][None])[1][0]
        direction = 0.5 * _unit(ahead) + 0.5 * out + 0.6 * rng.standard_normal(3)
        rows.append((branch.points_mm[node], _unit(direction), radius, i, node, branch.side))

    for i, branch in enumerate(branches):
        name = branch.name.rsplit(" ", 1)[0] if branch.name.endswith(("left", "right")) else branch.name
        n = len(branch.points_mm)
        if name in FREE_ENDS:
            length_mm = n * STEP_MM
            count = max(2, int(length_mm / 7.5))
            parts = rng.dirichlet(np.full(count, 2.5)) * FREE_ENDS[name]
            cube = float(branch.radius_mm[0]) ** 3
            for node, part in zip(np.sort(rng.integers(n // 8, n, count)), parts, strict=True):
                branch.radius_mm[node:] = np.cbrt(branch.radius_mm[node:] ** 3 - part * cube)
                leave(i, int(node), float(np.cbrt(part * cube)))
            last = branch.points_mm[-1] - branch.points_mm[-4]
            rows.append((branch.points_mm[-1], _unit(last), branch.radius_mm[-1], i, n - 1, branch.side))
        for node in rng.integers(n // 6, n, PERFORATED.get(name, 0)):
            leave(i, int(node), float(rng.uniform(0.19, 0.34)))
    columns = [np.array(column, dtype=float) for column in zip(*rows, strict=True)]
    return Tips(columns[0], columns[1], columns[2], columns[3].astype(int), columns[4].astype(int), columns[5])


def walk(
    tips: Tips, steps: np.ndarray, distance: Distance, rng: np.random.Generator, tortuosity: float,
    *, depth_mm: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Lets n vessels grow along wavy paths below a surface.

    Args:
        tips: the starts of the vessels.
        steps: (n,), number of steps of STEP_MM for each vessel.
        distance: signed distance to the surface.
        rng: source of the random bends.
        tortuosity: strength of the bends.
        depth_mm: (n,), depth below the surface that each vessel keeps to; drawn at random by default.

    Returns:
        The paths in mm, (largest of steps + 1, n, 3), and the number of points (n,) of each path. A path ends after its
        steps, or earlier if it comes closer than 0.3 mm to the surface; later points have no meaning.
    """
    n, longest = len(tips), int(steps.max())
    path = np.empty((longest + 1, n, 3))
    path[0] = position = tips.start
    heading, bend = tips.direction, np.zeros((n, 3))
    if depth_mm is None:
        depth_mm = rng.gamma(2.0, 3.0, n) + 1.5  # along the surface or down in a sulcus
    alive, length = np.ones(n, bool), np.ones(n, int)
    moving = np.arange(n)  # the vessels that are computed: at least those alive
    for step in range(longest):
        if step % 3 == 0:
            keep = alive[moving]
            moving, position, heading, bend = moving[keep], position[keep], heading[keep], bend[keep]
            course, side, depth = tips.direction[moving], tips.side[moving], depth_mm[moving]
            value, outwards = _gradient(distance, position)
        bend = 0.86 * bend + 0.13 * tortuosity * rng.standard_normal((n, 3))[moving]
        lift = np.clip((-value - depth) / 6, -2.0, 1)[:, None] * outwards
        off = np.where(np.abs(position[:, 0]) < 2.5, np.where(side == 0, np.sign(position[:, 0]), side), 0.0)
        heading = heading + STEP_MM * (bend + 0.24 * lift + 0.05 * course)
        heading[:, 0] += 0.12 * off
        heading = _unit(heading)
        wall = np.clip((value + 3) / 2, 0, 1) * np.maximum((heading * outwards).sum(1), 0)
        heading = _unit(heading - wall[:, None] * outwards)
        position = position + STEP_MM * heading
        path[step + 1, moving] = position
        alive[moving] &= (step < steps[moving]) & (value < -0.3)
        length += alive
        if not alive.any():
            break
    return path, length


def _split(tips: Tips, ends: np.ndarray, headings: np.ndarray, first: int, nodes: np.ndarray,
           rng: np.random.Generator) -> Tips:  # fmt: skip
    """Returns two daughters for each grown branch, first all thinner and then all thicker daughters.

    The thinner daughter has the larger angle (Murray's principle of minimum work).

    Args:
        tips: the tips from which the branches grew.
        ends: (n, 3), the ends of the branches in mm.
        headings: (n, 3), unit vectors along the ends.
        first: index in the tree of the first of these branches.
        nodes: (n,), index of the last point of each branch.
        rng: source of the random radii and angles.
    """
    n = len(tips)
    share = rng.uniform(0.12, 0.5, n)
    across = _unit(np.cross(headings, rng.standard_normal((n, 3))))
    thin, thick = np.radians(rng.normal(52, 12, n)), np.radians(rng.normal(20, 8, n))
    parts = []
    for part, angle, sign in ((share, thin, 1.0), (1 - share, thick, -1.0)):
        direction = np.cos(angle)[:, None] * headings + sign * np.sin(angle)[:, None] * across
        parts.append(Tips(ends, direction, tips.radius * np.cbrt(part), first + np.arange(n), nodes, tips.side))
    return Tips.joined(parts)


def grow(
    branches: list[Branch], drawn: Mapping[str, float], distance: Distance, rng: np.random.Generator
) -> list[Branch]:
    """Grows all further arteries and returns the whole tree: the named arteries and then the grown branches.

    The radii of named arteries become smaller where branches leave (see `side_tips`).

    Args:
        branches: the named arteries.
        drawn: the parameters of the head; see `sources.PARAMETERS`.
        distance: signed distance to the inner skull.
        rng: source of all random draws.
    """
    tree = list(branches)
    tips = side_tips(tree, distance, rng)
    while len(tips := tips.where(tips.radius >= THINNEST_MM)):
        length_mm = drawn["branch_length"] * 42 * tips.radius**0.6 * np.exp(0.35 * rng.standard_normal(len(tips)))
        steps = np.clip(length_mm / STEP_MM, 8, 170).astype(int)
        path, length = walk(tips, steps, distance, rng, drawn["tortuosity"])
        good = length >= 6
        tips, path, length, full = tips.where(good), path[:, good], length[good], (length > steps)[good]
        first = len(tree)
        tapers = {n: np.linspace(1.0, 0.97, n) for n in set(length)}
        for i, n in enumerate(length):
            node, radius = int(tips.node[i]), tips.radius[i] * tapers[n]
            tree.append(Branch("", path[:n, i], radius, int(tips.parent[i]), node, float(tips.side[i])))
        if not len(tips):
            break
        column = np.arange(len(tips))
        ends, before = path[length - 1, column], path[length - 4, column]
        daughters = _split(tips, ends, _unit(ends - before), first, length - 1, rng)
        tips = daughters.where(np.concatenate([full, full]))
    return tree
