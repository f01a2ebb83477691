"""Writes the page of a study with the tables and figures of the paper (Kossen et al. 2021).

The Markdown twin is a .md file with the same content. The figures are also written as files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_whole
from tofgan_monai.report.galleries import Gallery, mosaic, read_gallery
from tofgan_monai.report.inputs import collected
from tofgan_monai.report.pictures import data_uri, training_curves
from tofgan_monai.report.rendering import TEMPLATES, render
from tofgan_monai.report.study import figures, tables
from tofgan_monai.report.study.facts import sentences
from tofgan_monai.study.data import StudyResults, read_study
from tofgan_monai.study.plan import PROCEDURAL, synthetic_sets

ERRORS = "figures/errors.png"  # Fig. 4, drawn by the study's rule `draw_errors`
WORKFLOW = TEMPLATES / "study" / "workflow.svg"


def write_study_report(folder: str | os.PathLike, output: str | os.PathLike | None = None) -> Path:
    """Writes the page of a study and returns the path of the page.

    Beside the page it writes a Markdown file with the same content and the folder figures/.

    Args:
        folder: the folder of a study, with its results.jsonl.
        output: path of the page, which must end in .html; the default is report.html in `folder`.

    Raises:
        InputError: results, stacks or figures cannot be read (the error names them all), the path does not end in
            .html, or the files cannot be written.
    """
    folder = Path(folder)
    output = Path(output or folder / "report.html")
    if output.suffix != ".html":
        raise InputError(
            f"--output {output}: the name does not end in .html; give a name such as report.html, because the Markdown "
            "file beside the page gets the same name with .md"
        )
    content, files = _content(folder)
    files[output.name] = render("study/page.html", **content).encode()
    files[output.with_suffix(".md").name] = render("study/page.md", **content).encode()
    if content["errors"] and (folder / ERRORS).resolve() != (output.parent / ERRORS).resolve():
        files[ERRORS] = (folder / ERRORS).read_bytes()
    for name, data in files.items():
        write_whole(output.parent / name, data)
    return output


def _content(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Returns the values for the templates, and a dict from file name to the bytes of each figure.

    A value is None or empty if the study's folder does not hold what it shows.
    """
    results = read_study(folder)
    problems: list[str] = []
    galleries = _galleries(folder, results, problems)
    errors = None
    if (folder / ERRORS).exists():
        with collected(problems, folder / ERRORS):
            errors = data_uri("png", (folder / ERRORS).read_bytes())
    if problems:
        raise InputError(problems)
    courses = {str(line["model"]): line["epochs"] for line in results.lines("losses")}
    unets = {name: rows for name, rows in courses.items() if name.startswith("U-Net")}
    drawn = {
        "figures/figure1.svg": WORKFLOW.read_bytes(),
        "figures/figure2.png": mosaic(galleries) if galleries else None,
        "figures/figure3.svg": figures.transfer_figure(results),
        "figures/calibration.svg": figures.calibration_figure(results),
        "figures/unets.svg": figures.unets_figure(unets),
    }
    files = {name: data for name, data in drawn.items() if data}
    makers = (tables.table_1, tables.table_2, tables.comparisons, tables.tuning, tables.gan_choice, tables.costs)
    content = {
        "title": results.title,
        "results": results,
        "words": sentences(results),
        "tables": {make.__name__: make(results) for make in makers},
        "pictures": {
            Path(name).stem: data_uri("svg+xml", data) for name, data in files.items() if name.endswith(".svg")
        },
        "galleries": galleries,
        "errors": errors,
        "trainings": [(name, training_curves(rows)) for name, rows in courses.items() if name not in unets],
        "real_sites": [site for site in "AB" if not results.is_simulated(site)],
    }
    return content, files


def _galleries(folder: Path, results: StudyResults, problems: list[str]) -> list[Gallery]:
    """Reads a gallery of the real stack and of each synthetic stack; adds errors to `problems`."""
    words = {"real": "Real pairs of site A", PROCEDURAL: "Procedural pairs, made without patients"}
    found = []
    for name in ("real", *synthetic_sets(results.settings)):
        path = folder / "pairs" / f"{name}.npy"
        if path.exists():
            with collected(problems, path):
                found.append(read_gallery(words.get(name, name), path))
    return found
