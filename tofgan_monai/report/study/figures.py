"""Draws the figures of a study's page as SVG: Fig. 3 (transfer to site B), DSC by threshold, and training curves.

An arm of the transfer says where the U-Nets start: from scratch, from weights trained on the chosen GAN's pairs, or
from weights trained on procedural pairs (made without patients).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tofgan_monai.metrics.segmentation.threshold_baseline import PROBABILITIES
from tofgan_monai.report.pictures import svg_bytes
from tofgan_monai.report.study.tables import ARMS, PROCEDURAL, set_label
from tofgan_monai.study.data import StudyResults

ARM_STYLES = {
    "scratch": {"color": "#2e7d32", "marker": "o", "linestyle": "-"},
    "pretrained": {"color": "#1f5fa8", "marker": "s", "linestyle": "-"},
    PROCEDURAL: {"color": "#b08968", "marker": "^", "linestyle": "--"},
}
AXES = {"dsc": "DSC", "hd95_mm": "95HD in mm"}
DODGE = 0.012  # distance between the marks of two arms as a fraction of the axis
SET_COLOURS = ("#1d2329", "#1f5fa8", "#b3541e", "#2e7d32", "#7a4b78", "#0a8f8f", "#c2a000", "#d1495b", "#7d8790")


def transfer_figure(results: StudyResults) -> bytes | None:
    """Draws Fig. 3 and returns the bytes of the SVG; None if the results hold no transfer to site B.

    The figure shows DSC and 95HD of site B's test patients by the number of site B's patients in training, with a line
    for each arm. Marks are means over test patients; bars are standard deviations over test patients.
    """
    counts = results.counts
    if not counts:
        return None
    figure = Figure(figsize=(8.6, 3.5), layout="constrained")
    for axis, (score, name) in zip(figure.subplots(1, 2), AXES.items(), strict=True):
        step = DODGE * max(counts[-1] - counts[0], 1)
        for index, arm in enumerate(results.arms):
            scored = [(k, results.transfer[arm, k, "test"]) for k in counts if (arm, k, "test") in results.transfer]
            axis.errorbar(
                [k + step * (index - (len(results.arms) - 1) / 2) for k, _ in scored],
                [scores.mean(score) for _, scores in scored],
                [scores.sd(score) or 0.0 for _, scores in scored],
                label=ARMS.get(arm, arm),
                markersize=5,
                linewidth=1.4,
                elinewidth=1,
                capsize=2.5,
                **ARM_STYLES.get(arm, {}),
            )
        if ("real", "A", "test") in results.table2:
            real = results.table2["real", "A", "test"].mean(score)
            axis.axhline(real, color="black", linestyle=":", linewidth=1.3, label="U-Net of site A's real pairs, on A")
        axis.set_xticks(counts)
        axis.set_xlabel("patients of site B in training")
        axis.set_ylabel(name)
        _tidy(axis)
    return _with_legend(figure, n_columns=4)


def calibration_figure(results: StudyResults) -> bytes | None:
    """Draws the mean DSC on site A by probability threshold and returns the bytes of the SVG.

    The curves are for U-Nets trained on real pairs and for U-Nets trained on the chosen GAN's pairs alone. The result
    is None if the results hold no DSC at several thresholds.
    """
    figure = Figure(figsize=(5.4, 3.3), layout="constrained")
    axis = figure.subplots()
    colours = {"real": "black", results.best_gan: ARM_STYLES["pretrained"]["color"]}
    for name, colour in colours.items():
        for split, style in (("validation", "--"), ("test", "-")):
            scores = results.table2.get((name, "A", split))
            curve = scores.threshold_curve() if scores else None
            if curve is None:
                continue
            label = f"{'real pairs' if name == 'real' else name}, {split}"
            axis.plot(PROBABILITIES, curve, color=colour, linestyle=style, linewidth=1.4, label=label)
            if split == "validation":
                at = int(np.argmax(curve))
                axis.plot(PROBABILITIES[at], curve[at], color=colour, marker="o", markersize=5)
    if not axis.lines:
        return None
    axis.axvline(0.5, color="#b4bdc4", linewidth=0.8)
    axis.set_xlim(0, 1)
    axis.set_xlabel("probability threshold")
    axis.set_ylabel("mean DSC, site A")
    axis.legend(frameon=False, fontsize=8.5)
    _tidy(axis)
    return svg_bytes(figure)


def unets_figure(courses: Mapping[str, list[dict]]) -> bytes | None:
    """Draws training loss and validation Dice of the U-Nets by epoch and returns the bytes of the SVG.

    The result is None if no row holds a loss or a Dice.

    Args:
        courses: dict from "U-Net on NAME" (NAME is the training set) to one row for each epoch, such as
            {"epoch": 1, "loss": 0.4, "val_dice": 0.7}.
    """
    panels = {"loss": "training loss", "val_dice": "validation Dice"}
    panels = {key: name for key, name in panels.items() if any(key in row for rows in courses.values() for row in rows)}
    if not panels:
        return None
    figure = Figure(figsize=(4.3 * len(panels), 3.4), layout="constrained")
    for axis, (key, name) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for (model, rows), colour in zip(courses.items(), SET_COLOURS * len(courses), strict=False):
            y = [np.nan if row.get(key) is None else row[key] for row in rows]
            label = set_label(model.removeprefix("U-Net on "))
            is_pool = "+" in model
            axis.plot(
                [row.get("epoch", index) for index, row in enumerate(rows, start=1)],
                y,
                color=colour,
                linestyle="--" if is_pool else "-",
                marker="." if len(y) < 40 else "",
                linewidth=1.2,
                label=label,
            )
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _tidy(axis)
    return _with_legend(figure, n_columns=3)


def _with_legend(figure: Figure, n_columns: int) -> bytes:
    """Adds the legend of the first panel below all panels and returns the bytes of the figure as SVG."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=n_columns, frameon=False, fontsize=8.5)
    return svg_bytes(figure)


def _tidy(axis: Axes) -> None:
    """Removes the upper and the right border of a panel and adds faint horizontal lines."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e3e6e8", linewidth=0.6)
