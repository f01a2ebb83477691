"""Writes the report page of one run: tables of scores, rows of image-label pairs, loss curves and error maps."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.overlap import Summary
from tofgan_monai.report import paper
from tofgan_monai.report.galleries import read_gallery
from tofgan_monai.report.inputs import Captioned, ReportInputs, collected, inputs_from_folder
from tofgan_monai.report.pictures import data_uri, read_curves
from tofgan_monai.report.rendering import write_page
from tofgan_monai.report.study.page import write_study_report
from tofgan_monai.report.tables import Cell, Row, Table, fixed, place_words
from tofgan_monai.report.vessel_tree import View, view_of, why_nothing_turns
from tofgan_monai.segmentation.error_maps import ERROR_COLOURS
from tofgan_monai.segmentation.results import BASELINE_MODEL, Line, read_results, summaries
from tofgan_monai.study.data import is_study
from tofgan_monai.volumes.reading import IMAGE, read_scan

FURTHER: dict[str, tuple[Callable[[Line], float], int]] = {  # further score -> (its value in a line, digits)
    "clDice": (lambda line: line["cl_dice"], 3),
    "component errors": (lambda line: line["betti_errors"][0], 1),
    "loop errors": (lambda line: line["betti_errors"][1], 1),
    "cavity errors": (lambda line: line["betti_errors"][2], 1),
    "average surface distance, mm": (lambda line: line["asd_mm"], 2),
    "average Hausdorff distance, mm": (lambda line: line["average_hausdorff_mm"], 2),
}
FURTHER_KEYS = {"cl_dice", "betti_errors", "asd_mm", "average_hausdorff_mm"}
T = TypeVar("T")
Place = tuple[str, str]  # cohort and split


class Scored(NamedTuple):
    """The scores of one model on one split of a cohort.

    Attributes:
        model: name of the model.
        dsc: summary of the DSC over patients.
        hd95_mm: summary of the 95HD in mm over patients.
        lines: the line of results.jsonl of each patient.
        is_baseline: True if the model is the best single intensity threshold.
    """

    model: str
    dsc: Summary
    hd95_mm: Summary
    lines: list[Line]
    is_baseline: bool


def write_report(folder: str | os.PathLike, output: str | os.PathLike | None = None) -> Path:
    """Writes a self-contained HTML page of pairs, losses, scores and error maps, and returns the page's path.

    If the folder is a study's folder, `write_study_report` writes the page in the form of the paper.

    Args:
        folder: the folder of a study, or another folder as `tofgan_monai.report` describes it.
        output: path of the page; the default is report.html in `folder`.

    Raises:
        InputError: the folder holds nothing to report, files cannot be read (the error names them all), or the page
            cannot be written.
    """
    if is_study(folder):
        return write_study_report(folder, output)
    inputs = inputs_from_folder(folder)
    return write_page(output or Path(folder) / "report.html", "report.html", inputs=inputs, **_content(inputs))


def _content(inputs: ReportInputs) -> dict[str, Any]:
    """Reads all files of a report; returns a dict of values for the template, or raises one InputError for all."""
    problems: list[str] = []

    def each(parts: Captioned, read: Callable[[str, Path], T]) -> list[T]:
        """Reads each file with `read`; files that cannot be read are left out and added to `problems`."""
        made = []
        for caption, path in parts:
            with collected(problems, path):
                made.append(read(caption, path))
        return made

    lines: list[Line] = []
    if inputs.results:
        with collected(problems, inputs.results):
            lines = read_results(inputs.results)
    cohorts = _cohorts(lines)
    content = {
        "cohorts": cohorts,
        "further": _further(cohorts),
        "paper": paper.TABLE_2,
        "n_paper": paper.N_PATIENTS,
        "gans": list(paper.FID),
        "galleries": each(inputs.stacks, read_gallery),
        "trainings": each(inputs.losses, lambda name, path: (name, read_curves(path))),
        "figures": each(inputs.figures, lambda caption, path: (caption, data_uri("png", path.read_bytes()))),
        "views": each(inputs.errors, _error_view),
    }
    if problems:
        raise InputError(problems)
    return content


def _error_view(caption: str, path: Path) -> View:
    """Reads an error map that is a label, and returns its view; raises InputError if the file is another volume."""
    volume = read_scan({IMAGE: path}, (IMAGE,))[IMAGE]
    if other := {*np.unique(volume.voxels).tolist()} - {*range(len(ERROR_COLOURS) + 1)}:
        raise InputError(f"{path}: the value {min(other):g} is of no error map; remove the file, or run evaluate again")
    title = f"In three dimensions: {caption}"
    if why := why_nothing_turns():
        return View(title, None, why)
    return view_of(title, volume.voxels, volume.affine, ERROR_COLOURS)


def _cohorts(lines: list[Line]) -> dict[Place, list[Scored]]:
    """Dict from (cohort, split) to scored models, in the order of the lines; the baseline is the last model."""
    cohorts: dict[Place, list[Scored]] = {}
    for (model, cohort, split), (dsc, hd95_mm) in summaries(lines).items():
        mine = [line for line in lines if (line["model"], line["cohort"], line["split"]) == (model, cohort, split)]
        scored = Scored(model, dsc, hd95_mm, mine, model == BASELINE_MODEL)
        cohorts.setdefault((cohort, split), []).append(scored)
    return {place: sorted(models, key=lambda scored: scored.is_baseline) for place, models in cohorts.items()}


def _further(cohorts: dict[Place, list[Scored]]) -> Table | None:
    """Table of the mean clDice, Betti errors and surface distances of each model; None if no model has all of them."""
    blocks = {}
    for place, models in cohorts.items():
        rows = [
            Row(scored.model, _further_cells(scored.lines), is_baseline=scored.is_baseline)
            for scored in models
            if all(line.keys() >= FURTHER_KEYS for line in scored.lines)
        ]
        if rows:
            blocks[place_words(*place)] = rows
    return Table("Model", list(FURTHER), blocks, is_wide=True) if blocks else None


def _further_cells(lines: list[Line]) -> list[Cell]:
    """Returns a cell for each score in `FURTHER`, with its mean over the lines of a model."""
    return [Cell(fixed(float(np.mean([value(line) for line in lines])), n)) for value, n in FURTHER.values()]
