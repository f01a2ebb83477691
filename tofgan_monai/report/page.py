"""The page: tables of results, rows of pairs, curves and error maps, laid out by a template."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.metrics.segmentation.overlap import Summary
from tofgan_monai.report import paper
from tofgan_monai.report.galleries import read_gallery
from tofgan_monai.report.inputs import Captioned, ReportInputs, inputs_from_folder
from tofgan_monai.report.pictures import loss_pictures, png_picture
from tofgan_monai.report.rendering import render
from tofgan_monai.report.study.page import write_study_report
from tofgan_monai.segmentation.results import BASELINE_MODEL, Line, read_results, summaries
from tofgan_monai.study.data import is_study

PAPER = {
    "real PEGASUS patients": [("real pairs", "real", "A"), *((f"{gan} pairs alone", gan, "A") for gan in paper.FID)],
    "real 1000Plus patients, GANs and U-Nets of PEGASUS": [(f"{gan} pairs alone", gan, "B") for gan in paper.FID],
}

FURTHER: list[tuple[str, Callable[[Line], float], int]] = [  # the scores that Dice is blind to, and their digits
    ("clDice", lambda line: line["cl_dice"], 3),
    ("component errors", lambda line: line["betti_errors"][0], 1),
    ("loop errors", lambda line: line["betti_errors"][1], 1),
    ("cavity errors", lambda line: line["betti_errors"][2], 1),
    ("average surface distance, mm", lambda line: line["asd_mm"], 2),
    ("average Hausdorff distance, mm", lambda line: line["average_hausdorff_mm"], 2),
]
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """A model's line in the table of one cohort."""

    model: str
    dsc: Summary
    hd95_mm: Summary
    patients: list[float]
    is_baseline: bool
    further: list[str]  # in the order of FURTHER; empty where results are older than these scores


def write_report(source: str | os.PathLike | ReportInputs, output: str | os.PathLike | None = None) -> Path:
    """Writes a self-contained HTML page of pairs, losses, scores and error maps, and gives its path.

    A study's folder gets the study's page, in the paper's form, with a Markdown twin and its figures beside it.

    Args:
        source: a study's folder, one of the layout in `tofgan_monai.report`, or its parts.
        output: by default `report.html` in that folder; needed where `source` is no folder.

    Raises:
        InputError: nothing to report, or parts that cannot be read, all named; or the page cannot be written.
    """
    if isinstance(source, ReportInputs):
        inputs = source
    elif is_study(source):
        return write_study_report(source, output)
    else:
        inputs, output = inputs_from_folder(source), output or Path(source) / "report.html"
    if inputs.is_empty():
        raise InputError("nothing to report: no results, stacks, losses or figures were given")
    if output is None:
        raise InputError("a report of single parts needs an output: name the .html file")
    page = _render(inputs)
    with written_whole(output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(output)


def _render(inputs: ReportInputs) -> str:
    problems: list[str] = []
    lines = [line for group in _each([("", path) for path in inputs.results], _lines, problems) for line in group]
    content: dict[str, Any] = {
        "cohorts": _cohorts(lines),
        "galleries": _each(inputs.stacks, read_gallery, problems),
        "trainings": _each(inputs.losses, lambda name, path: (name, loss_pictures(name, path)), problems),
        "figures": _each(inputs.figures, lambda caption, path: (caption, png_picture(path, caption)), problems),
    }
    if problems:
        raise InputError(problems)
    return render("report.html", inputs=inputs, paper=_paper_rows(), further=[name for name, *_ in FURTHER], **content)


def _paper_rows() -> dict[str, list[tuple[str, float, float, int]]]:
    """DSC, 95HD in mm and number of patients of the paper's test sets."""
    rows: dict[str, list[tuple[str, float, float, int]]] = {}
    for cohort, named in PAPER.items():
        for words, name, site in named:
            row, n = paper.TABLE_2[name, site], paper.N_PATIENTS[site][2]
            rows.setdefault(cohort, []).append((f"U-Net on {words}", row.dsc_test, row.hd95_mm_test, n))
    return rows


def _each(parts: Captioned, make: Callable[[str, Path], T], problems: list[str]) -> list[T]:
    made = []
    for caption, path in parts:
        try:
            made.append(make(caption, path))
        except InputError as error:
            problems += error.problems
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror})")
    return made


def _lines(_: str, path: Path) -> list[Line]:
    return read_results(path)


def _cohorts(lines: Iterable[Line]) -> dict[str, list[Row]]:
    """Rows by cohort and split in the order of the results, the baseline last."""
    lines = list(lines)
    cohorts: dict[str, list[Row]] = {}
    for (model, cohort, split), (dsc, hd95_mm) in summaries(lines).items():
        mine = [line for line in lines if (line["model"], line["cohort"], line["split"]) == (model, cohort, split)]
        patients = [line["dsc"] for line in mine]
        row = Row(model, dsc, hd95_mm, patients, model == BASELINE_MODEL, _further(mine))
        cohorts.setdefault(
            f"Cohort {cohort}, {split} patients" if cohort else f"{split} patients".capitalize(), []
        ).append(row)
    return {name: sorted(rows, key=lambda row: row.is_baseline) for name, rows in cohorts.items()}


def _further(lines: list[Line]) -> list[str]:
    if not all({"cl_dice", "betti_errors", "asd_mm", "average_hausdorff_mm"} <= line.keys() for line in lines):
        return []
    return [f"{np.mean([value(line) for line in lines]):.{digits}f}" for _, value, digits in FURTHER]
