"""Writes a page that compares several runs: the settings that differ, and a table of scores for each cohort and split.

A run is a folder with results: the folder of a study, or another folder that `write_report` takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.overlap import Summary, summarise
from tofgan_monai.report.inputs import collected, inputs_from_folder
from tofgan_monai.report.rendering import write_page
from tofgan_monai.report.study.facts import introduction
from tofgan_monai.report.study.tables import ARMS, THRESHOLDS, set_label
from tofgan_monai.report.tables import NONE, Cell, Row, Table, counted, place_words, sd_words
from tofgan_monai.segmentation.results import read_results, summaries
from tofgan_monai.study.data import Scores, StudyResults, is_study, read_study

Place = tuple[str, str]  # cohort and split


@dataclass(frozen=True)
class Run:
    """One of the runs that the page compares.

    Attributes:
        title: title of the run's own page.
        introduction: text that says what was done and on whose data; empty if the folder has no such text.
        scores: dict from (cohort, split) to dict from model to (summary of the DSC, summary of the 95HD in mm).
        settings: dict from name to text of a study's settings, commit and versions; empty if the run is no study.
    """

    title: str
    introduction: str
    scores: dict[Place, dict[str, tuple[Summary, Summary]]]
    settings: dict[str, str] = field(default_factory=dict)


def write_comparison(folders: Sequence[str | os.PathLike], output: str | os.PathLike) -> Path:
    """Writes a page that shows several runs side by side, and returns the path of the page.

    Args:
        folders: two or more folders, each of a kind that `write_report` takes.
        output: path of the page, an .html file.

    Raises:
        InputError: fewer than two folders are given, or some folders have no scores (the error names them all).
    """
    if len(folders) < 2:
        raise InputError("a comparison needs two folders or more; for one folder run `tofgan report FOLDER`")
    runs: list[Run] = []
    problems: list[str] = []
    for folder in map(Path, folders):
        with collected(problems, folder):
            runs.append(_read_study(folder) if is_study(folder) else _read_other(folder))
    if problems:
        raise InputError(problems)
    return write_page(output, "comparison.html", runs=runs, settings=_settings(runs), scores=_scores(runs))


def _read_study(folder: Path) -> Run:
    """Reads the folder of a study as a run; each patient's scores are averaged over draws and seeds first."""
    results = read_study(folder)
    scores: dict[Place, dict[str, tuple[Summary, Summary]]] = {}
    for place, label, one in _studied(results):
        dsc, hd95_mm = (one.of_patients(score).tolist() for score in ("dsc", "hd95_mm"))
        empty = [False] * len(dsc)
        scores.setdefault(place, {})[label] = (summarise(dsc, empty), summarise(hd95_mm, empty))
    return Run(results.title, introduction(results), scores, _flat(results))


def _studied(results: StudyResults) -> Iterator[tuple[Place, str, Scores]]:
    """Yields ((cohort, split), label of the model, scores) for all scores of a study."""
    for (name, site, split), scores in results.table2.items():
        yield (site, split), f"U-Net on {set_label(name)}", scores
    for (chosen_on, site), scores in results.thresholds.items():
        yield (site, "test"), THRESHOLDS[chosen_on][0], scores
    for (arm, k, split), scores in results.transfer.items():
        yield ("B", split), f"{counted(k, 'patient')} of site B, {ARMS.get(arm, arm)}", scores


def _read_other(folder: Path) -> Run:
    """Reads a folder that is no study as a run; raises InputError if it has no results.jsonl."""
    inputs = inputs_from_folder(folder)
    if not inputs.results:
        raise InputError(f"{folder}: the folder has no results.jsonl to compare; write it with `tofgan evaluate`")
    scores: dict[Place, dict[str, tuple[Summary, Summary]]] = {}
    for (model, cohort, split), summary in summaries(read_results(inputs.results)).items():
        scores.setdefault((cohort, split), {})[model] = summary
    return Run(inputs.title, inputs.paragraphs[0] if inputs.paragraphs else "", scores)


def _flat(results: StudyResults) -> dict[str, str]:
    """Dict from name to text of a study's settings, numbers of patients, versions and commit."""
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
    """Returns a setting's value as text, such as "yes" for True and "none" for None or an empty text."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def _settings(runs: Sequence[Run]) -> Table | None:
    """Table of the settings in which the compared runs differ; None if there is no such setting."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name, NONE) for run in runs] for name in names}
    rows = [Row(name, [Cell(value) for value in several]) for name, several in values.items() if len(set(several)) > 1]
    columns = [f"run {number}" for number, _ in enumerate(runs, start=1)]
    return Table("Setting", columns, {"": rows}, is_wide=len(runs) > 2) if rows else None


def _scores(runs: Sequence[Run]) -> dict[str, Table]:
    """Dict from caption to table of scores, one table for each cohort and split; tables of test patients come first."""
    places = sorted({place for run in runs for place in run.scores}, key=lambda place: (place[1] != "test", place))
    columns = [f"{what}, run {number}" for number, _ in enumerate(runs, start=1) for what in ("DSC", "95HD mm", "n")]
    tables = {}
    for place in places:
        here = [run.scores.get(place, {}) for run in runs]
        models = dict.fromkeys(model for scores in here for model in scores)
        rows = [Row(model, [cell for scores in here for cell in _cells(scores.get(model))]) for model in models]
        tables[place_words(*place)] = Table("Model", columns, {"": rows}, is_wide=True)
    return tables


def _cells(summary: tuple[Summary, Summary] | None) -> list[Cell]:
    """Returns three cells: DSC, 95HD in mm and number of patients; dashes if the run has no such scores."""
    if summary is None:
        return [Cell(), Cell(), Cell()]
    dsc, hd95_mm = summary
    return [
        Cell(f"{dsc.mean:.3f}", sd_words(dsc.sd, 3)),
        Cell(f"{hd95_mm.mean:.2f}", sd_words(hd95_mm.sd, 2)),
        Cell(str(dsc.n)),
    ]
