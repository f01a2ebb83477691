"""What was chosen on validation patients, and what the steps cost."""

from __future__ import annotations

import numpy as np

from tofgan_monai.report.study.tables import CHOSEN, set_label
from tofgan_monai.report.tables import NONE, Block, Cell, Column, Row, Table, fixed
from tofgan_monai.study import plan as study
from tofgan_monai.study.data import StudyResults


def tuning(results: StudyResults) -> Table | None:
    """The grid and the augmentations with their validation DSC, and what was chosen."""
    lines = results.others.get("tuning", [])
    if not lines:
        return None
    points = list(dict.fromkeys(point for line in lines for point in line["tried"]))
    grid = study.grid_points(results.settings)
    rows = [
        Row(
            grid[point].replace("--", "") if point in grid else f"{point} augmentation, at the best point",
            [Cell(fixed(line["tried"].get(point))) for line in lines],
        )
        for point in points
    ]
    words = "; ".join(f"{set_label(line['model'])}: {line['chosen'].replace('--', '')}" for line in lines)
    notes = [f"Mean DSC over site A's validation patients. Chosen for {words}."]
    if results.settings["tune"] == "real":
        notes.append("All training sets take what was best on real pairs; the paper tuned each.")
    columns = [Column(set_label(line["model"])) for line in lines]
    return Table("Tuning of the U-Net", "Tried", columns, [Block("", rows)], notes, is_wide=len(lines) > 3)


def gan_choice(results: StudyResults) -> Table | None:
    """The validation DSC by which the GAN was chosen."""
    lines = results.others.get("best GAN", [])
    rows = [
        Row(name, [Cell(fixed(score))], CHOSEN if name == line["chosen"] else "")
        for line in lines
        for name, score in line["tried"].items()
    ]
    notes = ["U-Nets on each GAN's pairs alone, all seeds; no test patient was opened before this choice."]
    return Table("Choice of the GAN", "GAN", [Column("validation DSC")], [Block("", rows)], notes) if rows else None


def costs(results: StudyResults) -> Table | None:
    """Jobs, wall time and peak memory by rule."""
    rules: dict[str, list[dict]] = {}
    for line in results.others.get("cost", []):
        rules.setdefault(line["step"].split("/")[0], []).append(line)
    if not rules:
        return None
    rows = []
    for rule, jobs in rules.items():
        wall = [job["wall_s"] for job in jobs]
        peaks = [job["peak_mb"] for job in jobs if job["peak_mb"] is not None]
        cells = [
            f"{len(jobs)}",
            f"{sum(wall) / 60:.1f}",
            f"{np.median(wall):.0f}",
            f"{max(peaks):,}" if peaks else NONE,
        ]
        rows.append(Row(rule.replace("_", " "), [Cell(cell) for cell in cells]))
    columns = [Column("jobs"), Column("total, min"), Column("median, s"), Column("peak memory, MB")]
    notes = [
        "Wall times as Snakemake measured them, whatever else ran on the machine; choices take none worth telling."
    ]
    return Table("What it cost", "Rule", columns, [Block("", rows)], notes)
