"""Fig. 1: the study's rules as Snakemake tells them, drawn as an SVG that needs no other program.

Layers by the longest path, edges that are implied left out (transitive reduction), and rows ordered so that edges
cross little (Sugiyama, Tagawa & Toda 1981, IEEE Transactions on Systems, Man, and Cybernetics 11(2)).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import networkx as nx  # type: ignore[import-untyped]  # comes with PyTorch

WORDS = {
    "simulate": "simulate heads",
    "prepare": "mask the brain",
    "extract": "sample pairs",
    "train_gan": "train the GANs",
    "generate": "generate pairs",
    "frechet": "distances · Table 1",
    "tune_rates": "try rates and dropouts",
    "choose_rates": "choose rate and dropout",
    "tune_augmentation": "try augmentation",
    "choose_augmentation": "choose augmentation",
    "train_unet": "train U-Nets, a set and seed each",
    "choose_gan": "choose the GAN, on validation",
    "score_unet": "score U-Nets · Table 2",
    "score_threshold": "single threshold · Table 2",
    "transfer": "transfer to B · Fig. 3",
    "draw_errors": "error maps · Fig. 4",
    "collect": "collect all results",
    "report": "write this report",
}
ROW, HEIGHT, GAP, LETTER, MARGIN, FONT = 46, 27, 12, 6.6, 6, 12
N_SWEEPS, N_ROUNDS = 12, 100


def read_rules(path: Path) -> nx.DiGraph:
    """The rules and what each needs, without `all` and without edges that others imply."""
    text = path.read_text(encoding="utf-8")
    names = dict(re.findall(r'(\d+)\s*\[label\s*=\s*"([^"]+)"', text))
    graph = nx.DiGraph()
    graph.add_nodes_from(name for name in names.values() if name != "all")
    for first, second in re.findall(r"(\d+)\s*->\s*(\d+)", text):
        if "all" not in (ends := (names[first], names[second])):
            graph.add_edge(*ends)
    return nx.transitive_reduction(graph) if nx.is_directed_acyclic_graph(graph) else graph


def workflow_svg(graph: nx.DiGraph) -> str:
    """The graph as SVG, from above to below; no text of it is trusted."""
    layers = _layers(graph)
    chains = _with_bends(graph, layers)
    rows = _ordered(layers, chains)
    x = _placed(rows, chains)
    left = min(x[node] - _width(node) / 2 for node in x) - MARGIN
    width = max(x[node] + _width(node) / 2 for node in x) + MARGIN - left
    height = ROW * (len(rows) - 1) + HEIGHT + 2 * MARGIN
    at = {node: (x[node] - left, MARGIN + HEIGHT / 2 + ROW * layer) for node, layer in layers.items()}
    shapes = [_edge([at[node] for node in chain]) for chain in chains]
    shapes += [_box(WORDS.get(rule, rule.replace("_", " ")), _width(rule), *at[rule]) for rule in graph]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(workflow_words(graph))}" '
        f'font-family="system-ui, Segoe UI, Liberation Sans, Arial, sans-serif" font-size="{FONT}">'
        f"{''.join(shapes)}</svg>"
    )


def workflow_words(graph: nx.DiGraph) -> str:
    """The graph as a sentence, for who cannot see it."""
    order = nx.lexicographical_topological_sort(graph)
    return "Workflow: " + "; ".join(WORDS.get(rule, rule.replace("_", " ")) for rule in order)


def _layers(graph: nx.DiGraph) -> dict[Hashable, int]:
    """Longest path from the sources; then whatever has no fewer followers than needs moves down to its followers."""
    order = list(nx.lexicographical_topological_sort(graph))
    layers: dict[Hashable, int] = {}
    for node in order:
        layers[node] = 1 + max((layers[need] for need in graph.predecessors(node)), default=-1)
    for node in reversed(order):
        followers = [layers[follower] for follower in graph.successors(node)]
        if followers and graph.out_degree(node) >= graph.in_degree(node):
            layers[node] = min(followers) - 1
    return layers


def _with_bends(graph: nx.DiGraph, layers: dict[Hashable, int]) -> list[list[Hashable]]:
    """Each edge as a chain with a bend in every layer that it crosses; the bends join the layers."""
    chains = []
    for first, second in sorted(graph.edges):
        bends = [(first, second, layer) for layer in range(layers[first] + 1, layers[second])]
        layers |= {bend: bend[2] for bend in bends}
        chains.append([first, *bends, second])
    return chains


def _ordered(layers: dict[Hashable, int], chains: Sequence[Sequence[Hashable]]) -> list[list[Hashable]]:
    """The layers' members from left to right, by the mean position of their neighbours above and below in turn."""
    rows: list[list[Hashable]] = [[] for _ in range(max(layers.values()) + 1)]
    for node, layer in layers.items():
        rows[layer].append(node)
    above, below = _neighbours(chains)
    best, fewest = rows, _crossings(rows, above)
    for sweep in range(N_SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        rows = [*map(list, rows)]
        for row in rows if sweep % 2 == 0 else reversed(rows):
            place = {node: index / max(len(other) - 1, 1) for other in rows for index, node in enumerate(other)}
            row.sort(key=lambda node: _mean([place[near] for near in neighbours[node]], place[node]))
        if (n := _crossings(rows, above)) < fewest:
            best, fewest = rows, n
    return best


def _neighbours(chains: Sequence[Sequence[Hashable]]) -> tuple[dict, dict]:
    above: dict[Hashable, list] = {node: [] for chain in chains for node in chain}
    below: dict[Hashable, list] = {node: [] for node in above}
    for chain in chains:
        for upper, lower in pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    return above, below


def _crossings(rows: Sequence[Sequence[Hashable]], above: dict[Hashable, list]) -> int:
    n = 0
    for upper, lower in pairwise(rows):
        place = {node: index for index, node in enumerate(upper)}
        ends = [(index, place[near]) for index, node in enumerate(lower) for near in above[node]]
        n += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for i, a in enumerate(ends) for b in ends[:i])
    return n


def _placed(rows: Sequence[Sequence[Hashable]], chains: Sequence[Sequence[Hashable]]) -> dict[Hashable, float]:
    """Centres along x: as near as may be to the neighbours' mean, without overlaps."""
    x = {node: float(index) for row in rows for index, node in enumerate(row)}
    above, below = _neighbours(chains)
    for row in rows:
        x |= _apart(row, [0.0] * len(row))
    for _ in range(N_ROUNDS):
        for row in (*rows, *reversed(rows)):
            x |= _apart(row, [_mean([x[near] for near in above[node] + below[node]], x[node]) for node in row])
    return x


def _apart(row: Sequence[Hashable], wanted: Sequence[float]) -> dict[Hashable, float]:
    """The least-squares positions in this order with room for each (isotonic regression, pooling neighbours)."""
    offsets, end = [], 0.0
    for node in row:
        offsets.append(end + _width(node) / 2)
        end += _width(node) + GAP
    pools: list[tuple[float, int]] = []
    for goal, offset in zip(wanted, offsets, strict=True):
        total, n = goal - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / n:
            before = pools.pop()
            total, n = total + before[0], n + before[1]
        pools.append((total, n))
    shifts = [total / n for total, n in pools for _ in range(n)]
    return {node: shift + offset for node, shift, offset in zip(row, shifts, offsets, strict=True)}


def _width(node: Hashable) -> float:
    return 20 + LETTER * len(WORDS.get(node, node)) if isinstance(node, str) else 4.0


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _box(words: str, width: float, x: float, y: float) -> str:
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - HEIGHT / 2:.1f}" width="{width:.1f}" height="{HEIGHT}" rx="5" '
        f'fill="#eef3f7" stroke="#1f4e79" stroke-width="0.9"></rect>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" fill="#1d2329">{escape(words)}</text>'
    )


def _edge(points: Sequence[tuple[float, float]]) -> str:
    """A soft line through the bends, vertical at each of them, with a tip."""
    x, y = points[0][0], points[0][1] + HEIGHT / 2
    path = f"M{x:.1f} {y:.1f}"
    for index, (to_x, to_y) in enumerate(points[1:], start=2):
        top = to_y - HEIGHT / 2
        half = (top - y) / 2
        path += f"C{x:.1f} {y + half:.1f} {to_x:.1f} {top - half:.1f} {to_x:.1f} {top:.1f}"
        x, y = to_x, top
        if index < len(points):
            y += HEIGHT
            path += f"V{y:.1f}"
    tip = f"M{x - 3:.1f} {y - 6:.1f}L{x:.1f} {y:.1f}L{x + 3:.1f} {y - 6:.1f}"
    return f'<path d="{path}{tip}" fill="none" stroke="#8a949c" stroke-width="1.1"></path>'
