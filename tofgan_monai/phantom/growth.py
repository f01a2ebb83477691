"""Arteries beyond the named ones: vessels branch by Murray's law until they are thinner than a voxel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tofgan_monai.phantom.trunks import STEP_MM, Branch

Distance = Callable[[np.ndarray], np.ndarray]  # (n, 3) mm to signed distance (n,) mm, negative inside

# Named arteries with a free end, and the share of their flow (radius cubed) that leaves on the way.
FREE_ENDS = {
    "m2 upper": 0.7, "m2 lower": 0.7, "a2": 0.8, "p2": 0.75, "superior cerebellar": 0.5,
    "anterior inferior cerebellar": 0.4, "anterior choroidal": 0.3,
}  # fmt: skip
PERFORATED = {"m1": 7, "a1": 2, "p1": 3, "basilar": 5, "posterior communicating": 2}
THINNEST_MM = 0.19


@dataclass
class Tips:
    """Branches that will grow: starts and directions (n, 3), and radii, parents' indices and nodes, sides (n,)."""

    start: np.ndarray
    direction: np.ndarray
    radius: np.ndarray
    parent: np.ndarray
    node: np.ndarray
    side: np.ndarray

    def __len__(self) -> int:
        return len(self.radius)

    def where(self, keep: np.ndarray) -> Tips:
        """The tips that the mask `keep` (n,) selects."""
        return Tips(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    @staticmethod
    def joined(parts: Sequence[Tips]) -> Tips:
        """The tips of several parts in one."""
        return Tips(*(np.concatenate([getattr(p, name) for p in parts]) for name in Tips.__dataclass_fields__))


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def _gradient(distance: Distance, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance at points (n, 3), and the unit vectors (n, 3) that point outwards."""
    n = len(points)
    shifted = np.concatenate([points, *(points + 1.5 * e for e in np.eye(3))])
    values = distance(shifted).reshape(4, n)
    return values[0], _unit((values[1:] - values[0]).T)


def side_tips(branches: list[Branch], distance: Distance, rng: np.random.Generator) -> Tips:
    """The first branches of the named arteries, whose radii shrink by Murray's law at each branch (in place)."""
    rows: list[tuple] = []

    def leave(i: int, node: int, radius: float) -> None:
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
    """Wavy paths below a surface, (steps + 1, n, 3), and the number of points of each path inside it, (n,)."""
    n, longest = len(tips), int(steps.max())
    path = np.empty((longest + 1, n, 3))
    path[0] = position = tips.start
    heading, bend, course = tips.direction, np.zeros((n, 3)), tips.direction
    if depth_mm is None:
        depth_mm = rng.gamma(2.0, 3.0, n) + 1.5  # along the surface or down in a sulcus
    alive, length = np.ones(n, bool), np.ones(n, int)
    for step in range(longest):
        if step % 3 == 0:
            value, outwards = _gradient(distance, position)
        bend = 0.86 * bend + 0.13 * tortuosity * rng.standard_normal((n, 3))
        lift = np.clip((-value - depth_mm) / 6, -2.0, 1)[:, None] * outwards
        off = np.where(np.abs(position[:, 0]) < 2.5, np.where(tips.side == 0, np.sign(position[:, 0]), tips.side), 0.0)
        heading = heading + STEP_MM * (bend + 0.24 * lift + 0.05 * course)
        heading[:, 0] += 0.12 * off
        heading = _unit(heading)
        wall = np.clip((value + 3) / 2, 0, 1) * np.maximum((heading * outwards).sum(1), 0)
        heading = _unit(heading - wall[:, None] * outwards)
        position = position + STEP_MM * heading
        path[step + 1] = position
        alive &= (step < steps) & (value < -0.3)
        length += alive
        if not alive.any():
            break
    return path, length


def _split(tips: Tips, ends: np.ndarray, headings: np.ndarray, first: int, nodes: np.ndarray,
           rng: np.random.Generator) -> Tips:  # fmt: skip
    """Two daughters of each tip; the thinner one has the larger angle, by the principle of minimum work."""
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
    """The whole tree: the named arteries, whose radii shrink where branches leave, and all branches grown from them."""
    tree = list(branches)
    tips = side_tips(tree, distance, rng)
    while len(tips := tips.where(tips.radius >= THINNEST_MM)):
        length_mm = drawn["branch_length"] * 42 * tips.radius**0.6 * np.exp(0.35 * rng.standard_normal(len(tips)))
        steps = np.clip(length_mm / STEP_MM, 8, 170).astype(int)
        path, length = walk(tips, steps, distance, rng, drawn["tortuosity"])
        good = length >= 6
        tips, path, length, full = tips.where(good), path[:, good], length[good], (length > steps)[good]
        first = len(tree)
        for i, n in enumerate(length):
            taper = np.linspace(1.0, 0.97, n)
            node = int(tips.node[i])
            tree.append(Branch("", path[:n, i], tips.radius[i] * taper, int(tips.parent[i]), node, float(tips.side[i])))
        if not len(tips):
            break
        column = np.arange(len(tips))
        ends, before = path[length - 1, column], path[length - 4, column]
        daughters = _split(tips, ends, _unit(ends - before), first, length - 1, rng)
        tips = daughters.where(np.concatenate([full, full]))
    return tree
