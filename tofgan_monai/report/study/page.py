"""A study's page in the paper's form, its Markdown twin, and the figures of both as files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.report.galleries import Gallery, mosaic, read_gallery
from tofgan_monai.report.pictures import Picture, course_pictures, png_picture, svg_picture
from tofgan_monai.report.rendering import render
from tofgan_monai.report.study import choices as study_choices
from tofgan_monai.report.study import figures as study_figures
from tofgan_monai.report.study import tables as study_tables
from tofgan_monai.report.study import text as study_text
from tofgan_monai.report.study.workflow import read_rules, workflow_svg
from tofgan_monai.report.tables import Table
from tofgan_monai.study.data import StudyResults, read_study
from tofgan_monai.study.plan import PROCEDURAL, synthetic_sets

ERRORS = "figures/errors.png"  # drawn by a step of the study, not here


@dataclass(frozen=True, eq=False)
class StudyPage:
    """All that the two templates lay out; what is missing is None or empty.

    Attributes:
        files: figures made here, by their path beside the page.
    """

    results: StudyResults
    introduction: str
    findings: list[str]
    table_1: Table | None
    table_2: Table | None
    comparisons: Table | None
    tuning: Table | None
    gan_choice: Table | None
    costs: Table | None
    workflow: str
    galleries: list[Gallery]
    transfer: Picture | None
    errors: Picture | None
    calibration: Picture | None
    calibration_words: list[str]
    trainings: list[tuple[str, list[Picture]]]
    unets: Picture | None
    methods: list[str]
    real_sites: list[str]
    files: dict[str, bytes]


def write_study_report(folder: str | os.PathLike, output: str | os.PathLike | None = None) -> Path:
    """Writes the page, the same as Markdown beside it, and their figures into `figures/` there; gives the page's path.

    Args:
        folder: of a study, with its results.jsonl.
        output: the page; default: report.html in that folder.

    Raises:
        InputError: results, stacks or figures that cannot be read, or a folder that cannot be written to.
    """
    output = Path(output or Path(folder) / "report.html")
    if output.suffix != ".html":
        raise InputError(f"{output}: a page's name ends in .html; its Markdown twin takes the same name with .md")
    page = study_page(folder)
    html = render("study.html", page=page, title=page.results.title)
    markdown = render("study.md", page=page, title=page.results.title)
    files = {**page.files, output.name: html.encode(), output.with_suffix(".md").name: markdown.encode()}
    errors = Path(folder) / ERRORS
    if page.errors and errors.resolve() != (output.parent / ERRORS).resolve():
        files[ERRORS] = errors.read_bytes()
    for name, content in files.items():
        with written_whole(output.parent / name) as temporary:
            temporary.write_bytes(content)
    return output


def study_page(folder: str | os.PathLike) -> StudyPage:
    """What the page of a study says and shows; results and pictures are read, nothing is written.

    Raises:
        InputError: parts that cannot be read, all of them named.
    """
    folder = Path(folder)
    results = read_study(folder)
    problems: list[str] = []
    workflow = _read(folder / "rules.dot", _workflow, problems) or ""
    galleries = _galleries(folder, results, problems)
    errors = _read(folder / ERRORS, lambda path: png_picture(path, "Error maps of one test patient"), problems)
    if problems:
        raise InputError(problems)
    courses = [(str(line["model"]), line["epochs"]) for line in results.others.get("losses", [])]
    unets = [course for course in courses if course[0].startswith("U-Net")]
    calibration_words = study_text.calibration(results)
    drawn = {
        "figures/figure1.svg": workflow.encode() or None,
        "figures/figure2.png": mosaic(galleries) if galleries else None,
        "figures/figure3.svg": study_figures.transfer_figure(results),
        "figures/calibration.svg": study_figures.calibration_figure(results) if calibration_words else None,
        "figures/unets.svg": study_figures.courses_figure(unets),
    }
    files = {name: content for name, content in drawn.items() if content}

    def svg(name: str, alt: str) -> Picture | None:
        return svg_picture(files[name], alt) if name in files else None

    return StudyPage(
        results=results,
        introduction=study_text.introduction(results),
        findings=study_text.findings(results),
        table_1=study_tables.table_1(results),
        table_2=study_tables.table_2(results),
        comparisons=study_tables.comparisons(results),
        tuning=study_choices.tuning(results),
        gan_choice=study_choices.gan_choice(results),
        costs=study_choices.costs(results),
        workflow=workflow,
        galleries=galleries,
        transfer=svg("figures/figure3.svg", study_text.transfer_words(results)),
        errors=errors,
        calibration=svg("figures/calibration.svg", " ".join(calibration_words)),
        calibration_words=calibration_words,
        trainings=[(name, course_pictures(name, rows)) for name, rows in courses if (name, rows) not in unets],
        unets=svg(
            "figures/unets.svg", "Training loss and validation Dice of the U-Nets by epoch, a line a training set"
        ),
        methods=study_text.methods(results),
        real_sites=[site for site in "AB" if not results.is_simulated(site)],
        files=files,
    )


def _workflow(path: Path) -> str:
    return workflow_svg(read_rules(path))


def _galleries(folder: Path, results: StudyResults, problems: list[str]) -> list[Gallery]:
    words = {"real": "Real pairs of site A", PROCEDURAL: "Procedural pairs, made without patients"}

    def gallery(path: Path) -> Gallery:
        return read_gallery(words.get(path.stem, path.stem), path)

    names = ("real", *synthetic_sets(results.settings))
    found = [_read(folder / "pairs" / f"{name}.npy", gallery, problems) for name in names]
    return [some for some in found if some]


def _read(path: Path, read: Callable[[Path], Any], problems: list[str]) -> Any:
    """What the file holds, None where there is none; what is wrong with it is added to the problems."""
    if not path.exists():
        return None
    try:
        return read(path)
    except InputError as error:
        problems += error.problems
    except (OSError, ValueError, KeyError) as error:
        problems.append(f"{path}: cannot be read ({error}); remove it and repeat `tofgan study`")
    return None
