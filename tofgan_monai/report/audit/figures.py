"""An audit's figures as positions: the template draws them, so that they follow the screen's width and stay text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tofgan_monai.audit.verdict import WORST_AUC
from tofgan_monai.report.audit.tables import written
from tofgan_monai.report.audit.text import ATTACKED

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
LINE_PX, PAD_PX = 13, 7  # of the forest plot: a line's height, and the space above and below an attack
WIDTH, HEIGHT = 240.0, 96.0  # of a histogram
SHOWN = {
    "patient": "by patient",
    "patch": "by patch",
    "member_only": "control: members only",
    "strangers": "control: strangers",
}


@dataclass(frozen=True)
class Mark:
    """An AUC and its interval: percent of the plot's width, and pixels from the attack's top."""

    kind: str
    words: str
    at: float
    low: float
    high: float
    y: int


@dataclass(frozen=True)
class Track:
    """An attack's marks."""

    name: str
    attacked: str
    auc: str
    marks: list[Mark]
    height: int


@dataclass(frozen=True)
class Forest:
    """The AUCs of all attacks beside their controls, on one axis.

    Attributes:
        tracks: the attacks.
        ticks: where each is, in percent of the width, and its text.
        half: where 0.5 is.
        limit: where the AUC is that a passing audit excludes over patients.
        kinds: the marks that occur, with their words.
    """

    tracks: list[Track]
    ticks: list[tuple[float, str]]
    half: float
    limit: float
    kinds: dict[str, str]


@dataclass(frozen=True)
class RocCurve:
    """A curve as the points of a polyline in a square of 100, true positives upwards."""

    name: str
    auc: str
    points: str


@dataclass(frozen=True)
class Histogram:
    """Shares of values in bins, as paths in a box of WIDTH by HEIGHT, and what is written round it.

    Attributes:
        name: of the statistic, with its unit.
        details: distance and floor.
        paths: by set.
        ticks: x and text of some edges.
    """

    name: str
    details: str
    paths: dict[str, str]
    ticks: list[tuple[float, str]]


def forest(attacks: Sequence[dict[str, Any]]) -> Forest:
    """The forest plot's positions; the axis reaches from the lowest interval, 0.25 or below, to 1."""
    intervals = [interval for attack in attacks for _, interval in _intervals(attack)]
    start = min([0.25, *(math.floor(interval["low"] * 20) / 20 for interval in intervals)])

    def percent(auc: float) -> float:
        return round(100 * (auc - start) / (1 - start), 2)

    tracks = [_track(attack, percent) for attack in attacks]
    found = {mark.kind for track in tracks for mark in track.marks}
    return Forest(
        tracks,
        [(percent(tick), f"{tick:g}") for tick in TICKS if tick >= start],
        percent(0.5),
        percent(WORST_AUC),
        {kind: words for kind, words in SHOWN.items() if kind in found},
    )


def _intervals(attack: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The attack's AUCs by patient and patch, and its controls' by patch, by which the rule judges them."""
    controls = {name: (attack.get(name) or {}).get("patch") for name in ("member_only", "strangers")}
    risks = {"patient": attack["patient"], "patch": attack["patch"], **controls}
    return [(kind, risk["auc"]) for kind, risk in risks.items() if risk]


def _track(attack: dict[str, Any], percent: Callable[[float], float]) -> Track:
    marks = [
        Mark(
            kind,
            f"{attack['name']}, {SHOWN[kind]}: AUC {written(auc)}",
            percent(auc["value"]),
            percent(auc["low"]),
            percent(auc["high"]),
            PAD_PX + LINE_PX // 2 + LINE_PX * line,
        )
        for line, (kind, auc) in enumerate(_intervals(attack))
    ]
    height = 2 * PAD_PX + LINE_PX * len(marks)
    return Track(attack["name"], ATTACKED[attack["release"]], written(attack["patient"]["auc"]), marks, height)


def roc_curves(attacks: Sequence[dict[str, Any]]) -> list[RocCurve]:
    """A curve for each attack that has one, by patch."""
    return [
        RocCurve(
            attack["name"],
            written(attack["patch"]["auc"]),
            " ".join(f"{100 * false:.1f},{100 - 100 * true:.1f}" for false, true in attack["roc"]),
        )
        for attack in attacks
        if attack.get("roc")
    ]


def histograms(vessels: Sequence[dict[str, Any]]) -> list[Histogram]:
    """Each vessel statistic of the synthetic, the members' and the other patients' pairs."""
    return [_histogram(one) for one in vessels]


def _histogram(one: dict[str, Any]) -> Histogram:
    edges = one["edges"]
    shares = {name: one[name] for name in ("synthetic", "real", "others")}
    top = max((share for of in shares.values() for share in of), default=0) or 1.0
    step = WIDTH / (len(edges) - 1)
    every = max(1, (len(edges) - 1) // 4)
    figures = {"distance": one.get("distance"), "floor": one.get("floor")}
    return Histogram(
        f"{one['name'].capitalize()}, {one['unit']}",
        ", ".join(f"{name} {value:.2g}" for name, value in figures.items() if value is not None)
        or "no value to compare",
        {name: _steps(of, step, top) for name, of in shares.items()},
        [(round(index * step, 1), f"{edges[index]:g}") for index in range(0, len(edges), every)],
    )


def _steps(shares: Sequence[float], step: float, top: float) -> str:
    """A path along the tops of the bins, from the axis back to the axis."""
    tops = "".join(f"V{HEIGHT * (1 - share / top):.1f}H{step * (i + 1):.1f}" for i, share in enumerate(shares))
    return f"M0 {HEIGHT:.0f}{tops}V{HEIGHT:.0f}"
