"""Prints the tables of the bench of generators and draws its curves.

    python scripts/draw_generators.py WORK/results.jsonl CURVES.svg

results.jsonl is what measure_generators.py has written so far. A curve has a dot for each snapshot of an engine, by the
core-hours of its training. A dotted line is an engine's shipped weights; a grey line is what it is compared with.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from generator_columns import REAL, SCRATCH, SHIPPED
from matplotlib.figure import Figure

from tofgan_monai.files import written_whole
from tofgan_monai.metrics.bootstrap import hierarchical_difference, mean_interval, paired_difference
from tofgan_monai.metrics.stacks.features import EFFICIENTNETS
from tofgan_monai.study.plan import PROCEDURAL

Line = dict[str, Any]
NETWORKS = [f"FD({name})" for name in EFFICIENTNETS]
ATTACKS = ("nearest image", "nearest label", "density ratio")
VESSELS = ("vessel radius", "length density", "contrast to noise")


def quality_rows(lines: list[Line]) -> Iterator[list[str]]:
    """Yields the header and the rows of the table of distances."""
    kinds = [f"{kind}, {name}" for name in EFFICIENTNETS for kind in ("FD (x floor)", "KID", "prec., rec., cov.")]
    yield ["pairs", *kinds, "MS-SSIM", *VESSELS, "vessels, %"]
    known = [line for line in lines if "quality" in line]
    for line in known:
        of, cells = line["quality"], []
        for name in NETWORKS:
            cells += [f"{of[name]['fd']:.0f} ({of[name]['fd_times_floor']:.1f})", f"{of[name]['kid']:.3f}"]
            cells += [", ".join(f"{of[name][key]:.2f}" for key in ("precision", "recall", "coverage"))]
        cells += [f"{of['ms_ssim']['own']:.2f}", *(_mean(of["vessels"][name], "synthetic") for name in VESSELS)]
        yield [_name(line), *cells, f"{100 * of['vessel_share']['own']:.2f}"]
    for of in [line["quality"] for line in known][:1]:
        cells = []
        for name in NETWORKS:
            cells += [f"{of[name]['fd_floor']:.0f} (1)", f"{of[name]['kid_floor']:.3f}"]
            cells += [", ".join(f"{of[name]['of_others'][key]:.2f}" for key in ("precision", "recall", "coverage"))]
        cells += [f"{of['ms_ssim']['others']:.2f}", *(_mean(of["vessels"][name], "others") for name in VESSELS)]
        yield ["other patients (floor)", *cells, f"{100 * of['vessel_share']['others']:.2f}"]


def _mean(statistic: dict[str, Any], whose: str) -> str:
    mean = statistic["means"][whose]
    return "none" if mean is None else f"{mean:.2f}"  # pairs without any vessel have none


def dsc_rows(lines: list[Line]) -> Iterator[list[str]]:
    """Yields the header and the rows of the table of U-Nets' DSC; intervals are over test patients."""
    of = {line["engine"]: line for line in lines if line["engine"] in (REAL, PROCEDURAL, SCRATCH)}
    header = ["pairs", "DSC, A", "minus real", "minus procedural", "DSC, B", "minus procedural, B"]
    yield [*header, "with real, minus real, A", "one patient of B", "minus from scratch"]
    for line in (line for line in lines if {"alone", "with_real", "transfer"} & line.keys()):
        others = [(of.get(REAL, {}), "A"), (of.get(PROCEDURAL, {}), "A"), (of.get(PROCEDURAL, {}), "B")]
        differences = [_difference(line.get("alone"), other.get("alone"), site) for other, site in others]
        values = [_interval(line.get("alone"), site) for site in "AB"]
        added = _difference(line.get("with_real"), of.get(REAL, {}).get("alone"), "A")
        table, scratch = (np.array(one.get("transfer", {}).get("B", [])) for one in (line, of.get(SCRATCH, {})))
        gain = table.shape == scratch.shape and table.size and line["engine"] != SCRATCH
        interval = hierarchical_difference(table - scratch) if gain else None
        moved = f"{table.mean():.3f}" if table.size else ""
        told = f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})" if interval else ""
        yield [_name(line), values[0], *differences[:2], values[1], differences[2], added, moved, told]


def _interval(scores: dict[str, list] | None, site: str) -> str:
    found = mean_interval(scores[site]) if scores else None
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})" if found else ""


def _difference(scores: dict[str, list] | None, others: dict[str, list] | None, site: str) -> str:
    if not scores or not others or scores is others:
        return ""
    found = paired_difference(scores[site], others[site])
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def attack_rows(lines: list[Line]) -> Iterator[list[str]]:
    """Yields the header and the rows of the table of attacks: AUC over patients, copies, near-copies, authenticity."""
    yield ["pairs", *(f"AUC, {name}" for name in ATTACKS), "copies", "near-copies (chance)", "AuthPct"]
    for line in (line for line in lines if "attacks" in line):
        of = line["attacks"]
        aucs = [f"{auc['value']:.2f} ({auc['low']:.2f} to {auc['high']:.2f})" for auc in map(of["auc"].get, ATTACKS)]
        near = f"{of['n_near_copies']} ({of['n_expected']:.1f})"
        yield [_name(line), *aucs, str(of["n_copies"]), near, f"{of['authenticity_pct']:.1f}"]


def _name(line: Line) -> str:
    hours = line["core_hours"]
    when = f"{hours:g} core-hours" if hours is not None else line["snapshot"]
    return f"{line['engine']}, {when}" if when else f"{line['engine']} pairs".replace("scratch pairs", "no pairs")


PANELS: dict[str, Callable[[Line], float]] = {
    **{
        f"{name}, times the floor": lambda line, name=name: line["quality"][name]["fd_times_floor"] for name in NETWORKS
    },
    **{f"{key}, Lite2": lambda line, key=key: line["quality"][NETWORKS[1]][key] for key in ("precision", "coverage")},
    "MS-SSIM within the pairs": lambda line: line["quality"]["ms_ssim"]["own"],
    **{f"DSC of U-Nets, site {site}": lambda line, site=site: np.mean(line["alone"][site]) for site in "AB"},
}


def draw(lines: list[Line]) -> Figure:
    """Draws a panel for each of `PANELS`: a curve for each engine with snapshots, lines for all else."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    engines = list(dict.fromkeys(line["engine"] for line in lines if line["weights_sha256"]))
    colours = {engine: f"C{index}" for index, engine in enumerate(engines)}
    greys = {REAL: "#1d2329", PROCEDURAL: "#9aa5ad"}
    for axis, (title, value) in zip(figure.subplots(2, 4).flat, PANELS.items(), strict=False):
        known = [(line, found) for line in lines if (found := _found(value, line)) is not None]
        for engine, colour in colours.items():
            dots = sorted(
                (line["core_hours"], y) for line, y in known if line["engine"] == engine and line["core_hours"]
            )
            if dots:
                axis.plot(
                    *zip(*dots, strict=True), marker="o", markersize=4, color=colour, label=f"{engine}, snapshots"
                )
        for line, y in known:
            if line["snapshot"] == SHIPPED:
                style = {"color": colours[line["engine"]], "linestyle": ":", "label": f"{line['engine']}, shipped"}
                axis.axhline(y, linewidth=1.3, **style)
            elif line["engine"] in greys:
                axis.axhline(y, linewidth=1, color=greys[line["engine"]], label=f"{line['engine']} pairs")
        axis.set_title(title, fontsize=9)
        axis.set_xscale("log")
        axis.set_xlim(0.1, 20)
        axis.set_xlabel("core-hours", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in figure.axes[len(PANELS) :]:
        axis.set_axis_off()
    handles = {text: one for axis in figure.axes for one, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.axes[-1].legend(handles.values(), handles.keys(), loc="center", frameon=False, fontsize=8)
    return figure


def _found(value: Callable[[Line], float], line: Line) -> float | None:
    try:
        return value(line)
    except KeyError:  # the column has not been measured
        return None


def main(results: Path, output: Path) -> None:
    """Prints the tables of what has been measured, and draws the picture."""
    lines = [json.loads(row) for row in results.read_text("utf-8").splitlines()]
    for rows in map(list, (quality_rows(lines), dsc_rows(lines), attack_rows(lines))):
        print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
        print("".join(f"| {' | '.join(row)} |\n" for row in rows[1:]))
    with written_whole(output) as temporary:
        draw(lines).savefig(temporary, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, metavar="RESULTS.jsonl")
    parser.add_argument("output", type=Path, metavar="CURVES.svg")
    given = parser.parse_args()
    main(given.results, given.output)
