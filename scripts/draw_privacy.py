"""Makes a table and pictures of the results of `scripts/measure_privacy.py`; that script explains points and starts.

python scripts/draw_privacy.py FOLDER     # prints the table, writes FOLDER/privacy.svg and FOLDER/privacy_pairs.png
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from measure_privacy import COMPARED, EPSILONS, STACKS, STARTS, UNITS, Point, points
from PIL import Image

from tofgan_monai import open_stack
from tofgan_monai.attacks.risk import assess
from tofgan_monai.files import written_whole
from tofgan_monai.gan.monitor import pair_grid
from tofgan_monai.report.pictures import svg_bytes

ATTACKS = ("density ratio", "LOGAN")  # the first recognises planted patients, the second attacks the critic
COLOURS = {"public": "#1f5fa8", "nothing": "#b3541e"}
N_SHOWN, SHOWN_EPSILON = 8, 7.4  # number of pairs in a row; epsilon of the training runs whose pairs are shown
Lines = list[dict[str, Any]]  # the results of one point, one dict for each seed


def tell(folder: Path) -> None:
    """Reads the results of all points in a folder, prints the table and writes the two pictures."""
    rows: dict[Point, Lines] = {}
    for path in sorted(folder.glob("points/*/point.json")):
        line = json.loads(path.read_text())
        point = Point(**{key: line[key] for key in asdict(Point("", 0))})
        rows.setdefault(replace(point, seed=0), []).append({**line, "scores": np.load(path.with_name("scores.npz"))})
    rows = {point: rows[point] for point in points(1) if point in rows}
    print(
        "| pairs | unit | start | epsilon | noise | DSC, by seed | 95HD mm | distance | MS-SSIM | "
        + " | ".join(f"AUC {name}" for name in ATTACKS)
        + " |"
    )
    print("|" + "---|" * 11)
    for point, lines in rows.items():
        cells = [point.pairs, point.unit or "", point.start or "", "", ""]
        if promised := lines[0]["guarantee"]:
            cells[3:] = [f"{point.epsilon or 'none'}", f"{promised['noise_multiplier']:.2f}"]
        cells += [", ".join(f"{np.mean(line['dsc']):.3f}" for line in lines)]
        cells += [
            f"{np.mean([line[key] for line in lines]):.{digits}f}"
            for key, digits in (("hd95_mm", 1), ("distance", 2), ("ms_ssim", 2))
        ]
        cells += [
            ", ".join(f"{v:.2f} ({low:.2f} to {high:.2f})" for v, low, high in aucs(lines, name)) for name in ATTACKS
        ]
        print("| " + " | ".join(cells) + " |")
    with written_whole(folder / "privacy.svg") as temporary:
        temporary.write_bytes(svg_bytes(draw(rows)))
    with written_whole(folder / "privacy_pairs.png") as temporary:
        shown = [point for point in rows if point.pairs in ("real", "start") or point.epsilon == SHOWN_EPSILON]
        Image.fromarray(np.concatenate([row_of_pairs(folder, point) for point in shown])).save(temporary)


def row_of_pairs(folder: Path, point: Point) -> np.ndarray:
    """Picture of 8 pairs, images above labels, taken at equal distances from the stack (file of pairs) of a point."""
    pairs, _ = open_stack(folder / (f"{point.pairs}.npy" if point.pairs in STACKS else point.folder / "synthetic.npy"))
    return pair_grid(np.asarray(pairs[:: len(pairs) // N_SHOWN][:N_SHOWN]), columns=N_SHOWN)


def means(lines: Lines, key: str) -> list[tuple[float, ...]]:
    """List with one tuple (value, low, high) for each seed; all three are the mean of the seed's result `key`.

    The interval has no width, because all points are scored on the same patients.
    """
    return [(float(np.mean(line[key])),) * 3 for line in lines]


def aucs(lines: Lines, name: str) -> list[tuple[float, ...]]:
    """List of the AUC over patients of the attack `name` for each seed, as (AUC, low, high) with its 95% interval.

    Seeds on which the attack did not run are left out.
    """
    found = [
        assess(of[name], of["patients"], of["is_member"])["patient"].auc
        for line in lines
        if name in (of := line["scores"])
    ]
    return [(auc.value, auc.low, auc.high) for auc in found]


def draw(rows: dict[Point, Lines]) -> Figure:
    """Draws DSC, distance and AUC against epsilon: a line for each unit and start, a dot for each training run."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    panels: dict[str, Callable[[Lines], list[tuple[float, ...]]]] = {
        "DSC, above 0.65": partial(means, key="dsc"),
        "distance from patients": partial(means, key="distance"),
        **{f"AUC, {n}": partial(aucs, name=n) for n in ATTACKS},
    }
    for axis, (title, values) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        for index, (start, unit) in enumerate(product(STARTS, UNITS)):
            known = [
                (at, values(rows[p]))
                for at, e in enumerate(EPSILONS)
                if (p := Point("private", 0, unit, start, e)) in rows
            ]
            style = {"color": COLOURS[start], "linestyle": "-" if unit == "patch" else "--", "linewidth": 1.3}
            label = f"per {unit}, from {'the public start' if start == 'public' else start}"
            axis.plot([at for at, _ in known], [np.mean([v[0] for v in of]) for _, of in known], label=label, **style)
            for at, (value, low, high) in ((at, v) for at, of in known for v in of):
                x = at + 0.07 * (index - 1.5)
                axis.errorbar(
                    x,
                    value,
                    [[value - low], [high - value]],
                    marker="o",
                    markersize=3,
                    elinewidth=0.6,
                    color=COLOURS[start],
                )
        for (pairs, words), grey in zip(COMPARED.items(), ("#1d2329", "#5c6770", "#9aa5ad", "#c0c7cc"), strict=True):
            if Point(pairs, 0) in rows and (found := values(rows[Point(pairs, 0)])):
                axis.axhline(np.mean([v[0] for v in found]), color=grey, linestyle=":", linewidth=1.3, label=words)
        if title.startswith("DSC"):
            axis.set_ylim(bottom=0.65)  # training runs that failed lie near 0
        if title.startswith("distance"):
            axis.set_yscale("log")
        axis.set_xticks(range(len(EPSILONS)), [f"{epsilon:g}" if epsilon else "no noise" for epsilon in EPSILONS])
        axis.set_xlabel("epsilon")
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    tell(Path(sys.argv[1]))
