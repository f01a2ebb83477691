"""Computes positions for the figures of an audit's page. The template draws them, so they fit the screen's width.

An attack tries to tell the training patients of a network (members) from held-out patients (non-members). A control of
an attack is the same attack where nothing is to be found. The control "member_only" compares members with members. The
control "strangers" uses pairs of other patients in place of the synthetic pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tofgan_monai.audit.verdict import WORST_AUC

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
LINE_PX, PAD_PX = 13, 7  # forest plot: height of a line, and space above and below each attack, in pixels
WIDTH, HEIGHT = 240.0, 96.0  # size of a histogram in units of its SVG
KINDS = ("patient", "patch", "member_only", "strangers")  # kinds of marks; the last two are controls

Attack = dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """A mark of the forest plot: the AUC of an attack, or the AUC of a control of this attack.

    Attributes:
        kind: one of `KINDS`.
        auc: the value and the two ends of its interval, as audit.json holds them.
        at: position of the value in percent of the plot's width.
        low: position of the lower end in percent.
        high: position of the upper end in percent.
        y: distance from the top of the attack's row in pixels.
    """

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
        tracks: (attack, marks of this attack, height of its row in pixels) for each attack.
        ticks: (position in percent of the width, label) for each tick of the axis.
        half: position of AUC 0.5 in percent of the width.
        limit: position of `WORST_AUC` in percent. An audit passes only if the intervals by patient end below this AUC.
        kinds: the kinds of marks that occur in the plot, in the order of `KINDS`.
    """

    tracks: list[tuple[Attack, list[Mark], int]]
    ticks: list[tuple[float, str]]
    half: float
    limit: float
    kinds: list[str]


def forest(attacks: Sequence[Attack]) -> Forest:
    """Computes the forest plot of the attacks' AUCs. The axis goes from 0.25 to 1, or starts lower."""
    lowest = min((auc["low"] for attack in attacks for auc in _aucs(attack).values()), default=1.0)
    start = min(0.25, math.floor(lowest * 20) / 20)

    def percent(auc: float) -> float:
        """Returns the position of an AUC on the axis in percent of its width."""
        return round(100 * (auc - start) / (1 - start), 2)

    tracks = [(attack, marks := _marks(attack, percent), 2 * PAD_PX + LINE_PX * len(marks)) for attack in attacks]
    found = {mark.kind for _, marks, _ in tracks for mark in marks}
    ticks = [(percent(tick), f"{tick:g}") for tick in TICKS if tick >= start]
    return Forest(tracks, ticks, percent(0.5), percent(WORST_AUC), [kind for kind in KINDS if kind in found])


def _aucs(attack: Attack) -> dict[str, dict[str, Any]]:
    """Dict from kind of mark to AUC: the attack's AUC by patient and by patch, and each control's AUC by patch.

    A control that the audit did not run is left out. The verdict uses the same AUCs.
    """
    controls = {name: (attack.get(name) or {}).get("patch") for name in KINDS[2:]}
    risks = {"patient": attack["patient"], "patch": attack["patch"], **controls}
    return {kind: risk["auc"] for kind, risk in risks.items() if risk}


def _marks(attack: Attack, percent: Callable[[float], float]) -> list[Mark]:
    """Returns the marks of an attack, one below the other; `percent` turns an AUC into a position."""
    marks = []
    for line, (kind, auc) in enumerate(_aucs(attack).items()):
        y = PAD_PX + LINE_PX // 2 + LINE_PX * line
        marks.append(Mark(kind, auc, percent(auc["value"]), percent(auc["low"]), percent(auc["high"]), y))
    return marks


def roc_curves(attacks: Sequence[Attack]) -> list[tuple[Attack, str]]:
    """List of (attack, points of its ROC curve as an SVG polyline in a square of 100 by 100).

    Attacks without a ROC curve are left out.
    """
    return [
        (attack, " ".join(f"{100 * false:.1f},{100 - 100 * true:.1f}" for false, true in attack["roc"]))
        for attack in attacks
        if attack.get("roc")
    ]


@dataclass(frozen=True)
class Histogram:
    """The histograms of one vessel statistic for three sets of pairs, in a box of WIDTH by HEIGHT.

    Attributes:
        of: the statistic as audit.json holds it, with name, unit, distance and floor.
        paths: dict from set to SVG path. The sets are "synthetic", "real" (training patients) and "others" (held-out
            patients).
        ticks: (x position, label) for some edges of the bins, about five.
    """

    of: dict[str, Any]
    paths: dict[str, str]
    ticks: list[tuple[float, str]]


def histogram(statistic: dict[str, Any]) -> Histogram:
    """Draws one vessel statistic of audit.json as three histograms with the same scale.

    The histograms are for the synthetic pairs, the training patients' pairs and the held-out patients' pairs.
    """
    edges = statistic["edges"]
    shares = {name: statistic[name] for name in ("synthetic", "real", "others")}
    top = max((share for of in shares.values() for share in of), default=0) or 1.0
    step = WIDTH / (len(edges) - 1)
    every = max(1, (len(edges) - 1) // 4)
    ticks = [(round(index * step, 1), f"{edges[index]:g}") for index in range(0, len(edges), every)]
    return Histogram(statistic, {name: _steps(of, step, top) for name, of in shares.items()}, ticks)


def _steps(shares: Sequence[float], step: float, top: float) -> str:
    """Returns the outline of a histogram as an SVG path.

    Args:
        shares: height of each bin.
        step: width of a bin in SVG units.
        top: the value that is drawn with the full HEIGHT.
    """
    tops = "".join(f"V{HEIGHT * (1 - share / top):.1f}H{step * (i + 1):.1f}" for i, share in enumerate(shares))
    return f"M0 {HEIGHT:.0f}{tops}V{HEIGHT:.0f}"
