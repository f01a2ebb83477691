"""Draws the validation figure of trainings against the core-hours they took.

    python scripts/draw_training.py OUTPUT.svg RUN [RUN ...]

RUN is the output folder of a training; its losses.jsonl has a line for each epoch. A training that went on from another
one's weights is given after it, and its hours are added. Prints the last point of each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def main(output: Path, runs: list[Path]) -> None:
    """Draws one line for all runs, with a mark where the next one begins."""
    axes = (figure := Figure(figsize=(6, 3.2), layout="constrained")).add_subplot(
        xlabel="core-hours", ylabel="Dice of the validation windows"
    )
    hours: list[float] = []
    dice: list[float] = []
    for run in runs:
        lines = [json.loads(line) for line in (run / "losses.jsonl").read_text("utf-8").splitlines()]
        began = hours[-1] if hours else 0.0
        hours += (began + np.cumsum([line["processor_seconds"] for line in lines]) / 3600).tolist()
        dice += [line["val_dice"] for line in lines]
        axes.axvline(hours[-1], color="0.8", linewidth=0.8)
        print(f"{run.name}: {hours[-1]:.2f} core-hours, {dice[-1]:.4f}, best {max(dice):.4f}")
    axes.plot(hours, dice, color="tab:blue", marker=".")
    axes.grid(alpha=0.3)
    figure.savefig(output, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUTPUT.svg")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    given = parser.parse_args()
    main(given.output, given.runs)
