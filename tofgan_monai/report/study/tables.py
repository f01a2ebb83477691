"""Builds the tables of a study's page: Tables 1 and 2 as in the paper, comparisons, choices and costs.

"The paper" is Kossen et al. 2021. A training set is the data of a U-Net: real pairs, the pairs of a GAN, procedural
pairs (made without patients), or real pairs with one of these. The chosen GAN is the GAN whose pairs gave the U-Nets
the best DSC on validation patients. An arm of the transfer to site B says where the U-Nets start: from scratch, or
from weights trained on synthetic or procedural pairs. A stack is a .npy file of image-label pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tofgan_monai.report import paper
from tofgan_monai.report.tables import (
    MINUS,
    NONE,
    TIMES,
    Cell,
    Row,
    Table,
    counted,
    ends,
    fixed,
    interval_cell,
    p_value,
    sd_words,
    signed,
)
from tofgan_monai.segmentation.results import Line
from tofgan_monai.study import plan as study
from tofgan_monai.study.data import BASELINES, Scores, StudyResults

PROCEDURAL = study.PROCEDURAL
CHOSEN = "chosen on validation"
ARMS = {"scratch": "from scratch", "pretrained": "pre-trained", PROCEDURAL: "pre-trained on procedural pairs"}
THRESHOLDS = {
    "validation": ("Best single threshold, chosen on validation patients", ""),
    None: ("Best single threshold, chosen on the test patients", "flatters it"),
}


def set_label(name: str) -> str:
    """Returns the name of a training set as the tables show it: `real + DCGAN` for `real+DCGAN`."""
    return name.replace("+", " + ")


def table_1(results: StudyResults) -> Table | None:
    """Table 1: Frechet distance between each synthetic stack and the real stack; None if no distance was measured.

    The last row is the distance of real pairs of validation patients, the lowest value to expect.
    """
    lines = {line["stack"]: line for line in results.lines("table1")}
    if not lines:
        return None
    words = {
        PROCEDURAL: "procedural, made without patients",
        "others": f"real pairs of {counted(results.n_patients('A')[1], 'patient')} of validation: the floor",
    }
    rows = []
    for name in (*study.synthetic_sets(results.settings), "others"):
        if name in lines:
            ours = interval_cell(lines[name], 2)
            cell = Cell(ours.text, ours.soft, _published(paper.FID.get(name)))
            rows.append(Row(words.get(name, name), [cell], _tag(results, name), is_baseline=name == "others"))
    first = next(iter(lines.values()))
    column = f"{first['measure']}, n = {first['n']:,}"
    return Table("Pairs", [column], {"": rows}, {column: "paper\u2019s FID"})


def table_2(results: StudyResults) -> Table | None:
    """Table 2: DSC and 95HD of the U-Nets by training set, with the subheadings of the paper; None without scores."""
    synthetic = study.synthetic_sets(results.settings)
    layout = {
        "Real pairs, and no network at all, on site A": ("A", ["real"], THRESHOLDS),
        "Real and synthetic pairs (augmentation), on site A": ("A", [f"real+{name}" for name in synthetic], {}),
        "Synthetic pairs alone (anonymisation), on site A": ("A", synthetic, {}),
        "The same on site B; real pairs of site A for comparison": ("B", [*synthetic, "real"], THRESHOLDS),
    }
    blocks: dict[str, list[Row]] = {}
    for title, (site, names, thresholds) in layout.items():
        rows = [_set_row(results, name, site) for name in names if (name, site, "test") in results.table2]
        rows += [_threshold_row(results, one, site) for one in thresholds if (one, site) in results.thresholds]
        if rows:
            blocks[title] = rows
    if not blocks:
        return None
    papers = dict.fromkeys(("DSC, val.", "DSC, test", "95HD mm, val.", "95HD mm, test"), "paper")
    columns = ["DSC, val.", "DSC, test", "DSC, small", "DSC, large", "95HD mm, val.", "95HD mm, test", "n", "empty"]
    return Table("Trained on", columns, blocks, papers, is_wide=True)


def _set_row(results: StudyResults, name: str, site: str) -> Row:
    """Returns the row of Table 2 for the U-Nets of one training set, scored on one site."""
    test, validation = results.table2[name, site, "test"], results.table2.get((name, site, "validation"))
    lines = results.lines("interval", of="table2", model=name, cohort=site)
    n = f"{len(test.patients)} {TIMES} {test.n_runs}"
    cells = _score_cells(test, validation, lines, n, paper.TABLE_2.get((name, site)))
    return Row(set_label(name), cells, _tag(results, name))


def _threshold_row(results: StudyResults, chosen_on: str | None, site: str) -> Row:
    """Returns the row of Table 2 for the best single intensity threshold, chosen on a split (None: on the test)."""
    test, (label, tag) = results.thresholds[chosen_on, site], THRESHOLDS[chosen_on]
    lines = results.lines("interval", of="threshold", model=BASELINES[chosen_on], cohort=site)
    return Row(label, _score_cells(test, None, lines, str(len(test.patients)), None), tag, is_baseline=True)


def _score_cells(
    test: Scores, validation: Scores | None, lines: list[Line], n: str, published: paper.Published | None
) -> list[Cell]:
    """Returns the cells of a row of Table 2.

    Args:
        test: scores on test patients.
        validation: scores on validation patients; None if there are none.
        lines: lines of results.jsonl with the intervals of the test scores.
        n: text of the column n.
        published: the same row in the paper; None if the paper has no such row.
    """
    theirs = published or paper.Published()
    intervals = {line["measure"]: line for line in lines if line["n"] > 1}

    def tested(score: str, digits: int, their: float | None) -> Cell:
        """Returns a cell with the mean over test patients, its interval and the standard deviation."""
        interval = (ends(intervals[score], digits),) if "low" in intervals.get(score, {}) else ()
        return Cell(fixed(test.mean(score), digits), (*interval, *sd_words(test.sd(score), digits)), _published(their))

    def validated(score: str, digits: int, their: float | None) -> Cell:
        """Returns a cell with the mean over validation patients."""
        return Cell(fixed(validation.mean(score), digits) if validation else NONE, paper=_published(their))

    return [
        validated("dsc", 3, theirs.dsc_validation),
        tested("dsc", 3, theirs.dsc_test),
        Cell(fixed(test.mean("dsc_small"))),
        Cell(fixed(test.mean("dsc_large"))),
        validated("hd95_mm", 2, theirs.hd95_mm_validation),
        tested("hd95_mm", 2, theirs.hd95_mm_test),
        Cell(n),
        Cell(str(test.n_empty)),
    ]


def comparisons(results: StudyResults) -> Table | None:
    """Table of differences in DSC and 95HD between two training sets or arms; None if nothing was compared.

    Each difference is paired: both scores are of the same test patients.
    """
    best = results.best_gan
    titles = {
        ("real", "A"): "Against real pairs alone, on site A's test patients",
        ("real", "B"): "Against real pairs of site A alone, on site B's test patients",
        ("GANs", "A"): f"The chosen GAN, {best}, against the other GANs, on site A's test patients",
        (PROCEDURAL, "A"): f"The chosen GAN, {best}, against the procedural pairs that need no patient, on site A",
        (PROCEDURAL, "B"): f"The chosen GAN, {best}, against the procedural pairs, on site B",
    }
    sets = {name: set_label(name) for name in study.training_sets(results.settings)}
    sets |= {
        BASELINES["validation"]: "single threshold of validation patients",
        BASELINES[None]: "single threshold of the test patients",
    }
    arms = {
        **ARMS,
        "pretrained": f"pre-trained on {best or 'synthetic pairs'}",
        PROCEDURAL: "pre-trained on procedural",
    }
    blocks = {
        title: _differences(results, sets.get, about=about, cohort=site) for (about, site), title in titles.items()
    }
    for k in results.counts:
        title = f"Transfer to site B, {counted(k, 'patient')} in training"
        blocks[title] = _differences(results, arms.get, about="transfer", n_training=k)
    blocks = {title: rows for title, rows in blocks.items() if rows}
    columns = ["DSC", "p", "DSC, over all levels", "95HD mm", "p", "n"]
    return Table("Difference", columns, blocks, is_wide=True) if blocks else None


def _differences(results: StudyResults, words: Callable[[str, str], str], **wanted: Any) -> list[Row]:
    """Returns a row for each comparison: the differences in DSC and 95HD, "first minus second".

    Args:
        results: the results of the study.
        words: function from (name, default) to the label of a training set or an arm.
        wanted: values that the lines of the comparisons must have, such as about="transfer".
    """
    by_score = {
        (line["first"], line["second"], line["measure"]): line for line in results.lines("comparison", **wanted)
    }
    rows = []
    for first, second in dict.fromkeys(key[:2] for key in by_score):
        dsc, hd95 = by_score[first, second, "dsc"], by_score[first, second, "hd95_mm"]
        levels = dsc.get("all_levels", {"draws": 0, "seeds": 0})
        cells = [
            interval_cell(dsc, 3, signed),
            Cell(p_value(dsc["p"])),
            Cell(ends(levels, 3, signed)) if levels["draws"] * levels["seeds"] > 1 else Cell(),
            interval_cell(hd95, 2, signed),
            Cell(p_value(hd95["p"])),
            Cell(str(dsc["n"])),
        ]
        label = f"{words(first, first)} {MINUS} {words(second, second)}"
        rows.append(Row(label, cells, _tag(results, first) if wanted["about"] == "real" else ""))
    return rows


def tuning(results: StudyResults) -> Table | None:
    """Table of the validation DSC for each set of options that was tried; None if nothing was tuned.

    The rows are the points of the grid (options of the U-Net's training) and then the further augmentations. The
    columns are the training sets.
    """
    lines = results.lines("tuning")
    if not lines:
        return None
    grid = study.grid_points(results.settings)
    rows = [
        Row(
            grid[point].replace("--", "") if point in grid else f"{point} augmentation, at the best point",
            [Cell(fixed(line["tried"].get(point))) for line in lines],
        )
        for point in dict.fromkeys(point for line in lines for point in line["tried"])
    ]
    return Table("Tried", [set_label(line["model"]) for line in lines], {"": rows}, is_wide=len(lines) > 3)


def gan_choice(results: StudyResults) -> Table | None:
    """Table of the validation DSC of each GAN's U-Nets, by which the GAN was chosen; None if no choice was made."""
    rows = [
        Row(name, [Cell(fixed(score))], CHOSEN if name == line["chosen"] else "")
        for line in results.lines("best GAN")
        for name, score in line["tried"].items()
    ]
    return Table("GAN", ["validation DSC"], {"": rows}) if rows else None


def costs(results: StudyResults) -> Table | None:
    """Table of the jobs, the wall time and the peak memory of each rule of the workflow; None if nothing was recorded.

    A rule is a step of the study; a job is one run of a rule.
    """
    rules: dict[str, list[Line]] = {}
    for line in results.lines("cost"):
        rules.setdefault(line["step"].split("/")[0], []).append(line)
    rows = []
    for rule, jobs in rules.items():
        wall = [job["wall_s"] for job in jobs]
        peak = max((job["peak_mb"] for job in jobs if job["peak_mb"] is not None), default=None)
        texts = [
            f"{len(jobs)}",
            f"{sum(wall) / 60:.1f}",
            f"{np.median(wall):.0f}",
            NONE if peak is None else f"{peak:,}",
        ]
        rows.append(Row(rule.replace("_", " "), [Cell(text) for text in texts]))
    return Table("Rule", ["jobs", "total, min", "median, s", "peak memory, MB"], {"": rows}) if rows else None


def _published(value: float | None) -> str:
    """Returns a value of the paper as text; empty for None."""
    return "" if value is None else fixed(value, 2)


def _tag(results: StudyResults, name: str) -> str:
    """Returns the remark "chosen on validation" for the chosen GAN, and an empty text for other training sets."""
    return CHOSEN if name and name == results.best_gan else ""
