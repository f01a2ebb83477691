"""The figures of an audit's page as positions: the template draws them, so they follow the screen's width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tofgan_monai.audit.verdict import WORST_AUC

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
LINE_PX, PAD_PX = 13, 7  # of the forest plot: height of a line, space above and below an attack
WIDTH, HEIGHT = 240.0, 96.0  # of a histogram
KINDS = ("patient", "patch", "member_only", "strangers")  # of marks; the last two are controls

Attack = dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """An AUC of an attack or of its control: positions in percent of the plot's width, y in pixels."""

    kind: str
    auc: dict[str, Any]
    at: float
    low: float
    high: float
    y: int


@dataclass(frozen=True)
class Forest:
    """The forest plot: the AUC of each attack beside those of its controls, on one axis.

    Attributes:
        tracks: an attack, its marks and the height of its row in pixels.
        ticks: position in percent of the width, and label.
        half: position of AUC 0.5.
        limit: position of the AUC that a passing audit excludes over patients.
        kinds: the kinds of marks that occur.
    """

    tracks: list[tuple[Attack, list[Mark], int]]
    ticks: list[tuple[float, str]]
    half: float
    limit: float
    kinds: list[str]


def forest(attacks: Sequence[Attack]) -> Forest:
    """The positions of the forest plot; its axis ends at 1 and begins at 0.25, or lower if an interval does."""
    lowest = min((auc["low"] for attack in attacks for auc in _aucs(attack).values()), default=1.0)
    start = min(0.25, math.floor(lowest * 20) / 20)

    def percent(auc: float) -> float:
        return round(100 * (auc - start) / (1 - start), 2)

    tracks = [(attack, marks := _marks(attack, percent), 2 * PAD_PX + LINE_PX * len(marks)) for attack in attacks]
    found = {mark.kind for _, marks, _ in tracks for mark in marks}
    ticks = [(percent(tick), f"{tick:g}") for tick in TICKS if tick >= start]
    return Forest(tracks, ticks, percent(0.5), percent(WORST_AUC), [kind for kind in KINDS if kind in found])


def _aucs(attack: Attack) -> dict[str, dict[str, Any]]:
    """The attack's AUCs by patient and by patch, and those of its controls by patch, as the verdict judges them."""
    controls = {name: (attack.get(name) or {}).get("patch") for name in KINDS[2:]}
    risks = {"patient": attack["patient"], "patch": attack["patch"], **controls}
    return {kind: risk["auc"] for kind, risk in risks.items() if risk}


def _marks(attack: Attack, percent: Callable[[float], float]) -> list[Mark]:
    marks = []
    for line, (kind, auc) in enumerate(_aucs(attack).items()):
        y = PAD_PX + LINE_PX // 2 + LINE_PX * line
        marks.append(Mark(kind, auc, percent(auc["value"]), percent(auc["low"]), percent(auc["high"]), y))
    return marks


def roc_curves(attacks: Sequence[Attack]) -> list[tuple[Attack, str]]:
    """The attacks that have a ROC curve, each with its points as an SVG polyline in a square of 100 by 100."""
    return [
        (attack, " ".join(f"{100 * false:.1f},{100 - 100 * true:.1f}" for false, true in attack["roc"]))
        for attack in attacks
        if attack.get("roc")
    ]


@dataclass(frozen=True)
class Histogram:
    """The histograms of one vessel statistic, in a box of WIDTH by HEIGHT.

    Attributes:
        of: the statistic in the audit: its name, unit, distance and floor.
        paths: an SVG path for each set: synthetic, real, others.
        ticks: x position and label of some edges.
    """

    of: dict[str, Any]
    paths: dict[str, str]
    ticks: list[tuple[float, str]]


def histogram(statistic: dict[str, Any]) -> Histogram:
    """A vessel statistic of the synthetic, the members' and the held-out patients' pairs, drawn to one scale."""
    edges = statistic["edges"]
    shares = {name: statistic[name] for name in ("synthetic", "real", "others")}
    top = max((share for of in shares.values() for share in of), default=0) or 1.0
    step = WIDTH / (len(edges) - 1)
    every = max(1, (len(edges) - 1) // 4)
    ticks = [(round(index * step, 1), f"{edges[index]:g}") for index in range(0, len(edges), every)]
    return Histogram(statistic, {name: _steps(of, step, top) for name, of in shares.items()}, ticks)


def _steps(shares: Sequence[float], step: float, top: float) -> str:
    """A histogram's outline as an SVG path, from the axis along the tops of the bins and back to the axis."""
    tops = "".join(f"V{HEIGHT * (1 - share / top):.1f}H{step * (i + 1):.1f}" for i, share in enumerate(shares))
    return f"M0 {HEIGHT:.0f}{tops}V{HEIGHT:.0f}"
