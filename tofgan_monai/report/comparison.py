"""Several runs side by side: what differs between their settings, and a table for each cohort and split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.metrics.segmentation.overlap import summarise
from tofgan_monai.report.inputs import inputs_from_folder
from tofgan_monai.report.rendering import render
from tofgan_monai.report.study import text as study_text
from tofgan_monai.report.study.tables import ARMS, THRESHOLDS, patients, set_label
from tofgan_monai.report.tables import NONE, Block, Cell, Column, Row, Table
from tofgan_monai.segmentation.results import read_results, summaries
from tofgan_monai.study.data import Key, Scores, StudyResults, is_study, read_study

NOT_RECORDED = "What was done, on whose data, is not recorded (no about.json)."


@dataclass(frozen=True)
class Run:
    """A column of the comparison.

    Attributes:
        title: of its own page.
        words: that page's first paragraph.
        scores: DSC, 95HD in mm and number of patients as cells, by (cohort, split) and model.
        settings: of a study, as text, commit and versions too; else empty.
    """

    title: str
    words: str
    scores: dict[tuple[str, str], dict[str, list[Cell]]]
    settings: dict[str, str] = field(default_factory=dict)


def write_comparison(folders: Sequence[str | os.PathLike], output: str | os.PathLike) -> Path:
    """Writes a page with several runs side by side, studies or others, and gives its path.

    Args:
        folders: two or more, as `write_report` takes one.
        output: the page, an .html file.

    Raises:
        InputError: fewer than two folders, or folders without scores, all of them named.
    """
    if len(folders) < 2:
        raise InputError("a comparison needs two folders or more; `tofgan report FOLDER` is for one")
    runs, problems = [], []
    for folder in map(Path, folders):
        try:
            runs.append(_read_study(folder) if is_study(folder) else _read_other(folder))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    page = render(
        "comparison.html",
        title=f"{len(runs)} runs side by side",
        runs=runs,
        settings=_settings(runs),
        tables=_tables(runs),
    )
    with written_whole(output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(output)


def _read_study(folder: Path) -> Run:
    results = read_study(folder)
    scores: dict[tuple[str, str], dict[str, list[Cell]]] = {}
    for place, label, one in _studied(results):
        scores.setdefault(place, {})[label] = [
            *(_cell(one.of_patients(score), digits) for score, digits in (("dsc", 3), ("hd95_mm", 2))),
            Cell(str(len(one.patients))),
        ]
    return Run(results.title, study_text.introduction(results), scores, _flat(results))


def _studied(results: StudyResults) -> list[tuple[tuple[str, str], str, Scores]]:
    """(cohort, split), label and scores of all that a study scored."""
    found: list[tuple[tuple[str, str], str, Scores]] = []
    for (name, site, split), scores in results.table2.items():
        found.append(((str(site), str(split)), f"U-Net on {set_label(str(name))}", scores))
    for (chosen_on, site), scores in results.thresholds.items():
        found.append(((str(site), "test"), THRESHOLDS[chosen_on][0], scores))
    for key, scores in results.transfer.items():
        found.append((("B", str(key[2])), _transfer_label(key), scores))
    return found


def _transfer_label(key: Key) -> str:
    return f"{patients(int(key[1]))} of site B, {ARMS.get(str(key[0]), key[0])}"


def _read_other(folder: Path) -> Run:
    inputs = inputs_from_folder(folder)
    if not inputs.results:
        raise InputError(f"{folder}: no results.jsonl to compare; write it with `tofgan evaluate`")
    scores: dict[tuple[str, str], dict[str, list[Cell]]] = {}
    for (model, cohort, split), (dsc, hd95_mm) in summaries(read_results(inputs.results[0])).items():
        scores.setdefault((cohort, split), {})[model] = [
            Cell(f"{one.mean:.{digits}f}", (f"± {one.sd:.{digits}f}",) if one.sd is not None else ())
            for one, digits in ((dsc, 3), (hd95_mm, 2))
        ] + [Cell(str(dsc.n))]
    return Run(inputs.title, inputs.paragraphs[0] if inputs.paragraphs else NOT_RECORDED, scores)


def _cell(scores: np.ndarray, digits: int) -> Cell:
    summary = summarise(scores.tolist(), [False] * len(scores))
    return Cell(f"{summary.mean:.{digits}f}", (f"± {summary.sd:.{digits}f}",) if summary.sd is not None else ())


def _flat(results: StudyResults) -> dict[str, str]:
    about: dict[str, Any] = {
        **results.settings,
        "simulated sites": results.about["simulated"],
        "patients of site A": results.n_patients("A"),
        "patients of site B": results.n_patients("B"),
        **{f"version of {name}": version for name, version in results.about.get("versions", {}).items()},
        "commit": results.about.get("commit", "not recorded"),
    }
    told = ("title", "patients_a", "patients_b")
    return {name.replace("_", " "): _words(value) for name, value in about.items() if name not in told}


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def _settings(runs: Sequence[Run]) -> Table | None:
    """What differs between the studies; None where nothing does."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name, NONE) for run in runs] for name in names}
    rows = [Row(name, [Cell(value) for value in several]) for name, several in values.items() if len(set(several)) > 1]
    columns = [Column(f"run {index}") for index, _ in enumerate(runs, start=1)]
    return Table("Settings that differ", "Setting", columns, [Block("", rows)], is_wide=len(runs) > 2) if rows else None


def _tables(runs: Sequence[Run]) -> list[Table]:
    places = sorted({place for run in runs for place in run.scores}, key=lambda place: (place[1] != "test", place))
    columns = [
        Column(f"{what}, run {index}") for index, _ in enumerate(runs, start=1) for what in ("DSC", "95HD mm", "n")
    ]
    tables = []
    for cohort, split in places:
        models = dict.fromkeys(model for run in runs for model in run.scores.get((cohort, split), {}))
        missing = [Cell(), Cell(), Cell()]
        rows = [
            Row(model, [cell for run in runs for cell in run.scores.get((cohort, split), {}).get(model, missing)])
            for model in models
        ]
        where = f"Cohort {cohort}, {split} patients" if cohort else f"{split} patients".capitalize()
        tables.append(Table(where, "Model", columns, [Block("", rows)], is_wide=True))
    return tables
