"""The page: tables of results, rows of pairs, curves and error maps, laid out by a template."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.metrics.overlap import Summary
from tofgan_monai.pairs import open_stack
from tofgan_monai.report.inputs import Captioned, ReportInputs, inputs_from_folder
from tofgan_monai.report.pictures import Picture, loss_pictures, pair_picture, png_picture
from tofgan_monai.results import BASELINE_MODEL, Line, read_results, summaries

N_PAIRS_SHOWN = 8
SEED = 0

# Kossen et al. 2021, Table 2: DSC, 95HD in mm and number of patients of the test sets; it has no standard deviations.
PAPER = {
    "real PEGASUS patients": [
        ("U-Net on real pairs", 0.89, 26.57, 14),
        ("U-Net on DCGAN pairs alone", 0.79, 31.25, 14),
        ("U-Net on WGAN-GP pairs alone", 0.78, 33.70, 14),
        ("U-Net on WGAN-GP-SN pairs alone", 0.82, 28.97, 14),
    ],
    "real 1000Plus patients, GANs and U-Nets of PEGASUS": [
        ("U-Net on DCGAN pairs alone", 0.76, 26.79, 40),
        ("U-Net on WGAN-GP pairs alone", 0.85, 26.98, 40),
        ("U-Net on WGAN-GP-SN pairs alone", 0.88, 25.68, 40),
    ],
}

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """A model's line in the table of one cohort."""

    model: str
    dsc: Summary
    hd95_mm: Summary
    patients: list[float]
    is_baseline: bool


@dataclass(frozen=True)
class Gallery:
    """Some pairs of a stack."""

    caption: str
    details: str
    pairs: list[Picture]


def write_report(source: str | os.PathLike | ReportInputs, output: str | os.PathLike | None = None) -> Path:
    """Writes a self-contained HTML page of pairs, losses, scores and error maps, and gives its path.

    Args:
        source: a folder of the layout in `tofgan_monai.report`, or its parts.
        output: by default `report.html` in that folder; needed where `source` is no folder.

    Raises:
        InputError: nothing to report, or parts that cannot be read, all named; or the page cannot be written.
    """
    if isinstance(source, ReportInputs):
        inputs = source
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
        "galleries": _each(inputs.stacks, _gallery, problems),
        "trainings": _each(inputs.losses, lambda name, path: (name, loss_pictures(name, path)), problems),
        "figures": _each(inputs.figures, lambda caption, path: (caption, png_picture(path, caption)), problems),
    }
    if problems:
        raise InputError(problems)
    templates = Path(__file__).parent / "templates"
    # Trusts no caption: everything is escaped.
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(inputs=inputs, paper=PAPER, **content)


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
        patients = [
            line["dsc"] for line in lines if (line["model"], line["cohort"], line["split"]) == (model, cohort, split)
        ]
        row = Row(model, dsc, hd95_mm, patients, model == BASELINE_MODEL)
        cohorts.setdefault(
            f"Cohort {cohort}, {split} patients" if cohort else f"{split} patients".capitalize(), []
        ).append(row)
    return {name: sorted(rows, key=lambda row: row.is_baseline) for name, rows in cohorts.items()}


def _gallery(caption: str, path: Path) -> Gallery:
    pairs, manifest = open_stack(path)
    chosen = np.sort(np.random.default_rng(SEED).choice(len(pairs), min(N_PAIRS_SHOWN, len(pairs)), replace=False))
    pictures = [pair_picture(pairs[index], f"{caption}: image and label of pair {index}") for index in chosen]
    return Gallery(caption, _details(len(pairs), manifest), pictures)


def _details(n: int, manifest: dict[str, Any]) -> str:
    known = {"bundle": "bundle", "seed": "seed", "label_threshold": "label threshold"}
    details = [f"{n:,} pairs"]
    for key, word in known.items():
        value = manifest.get(key)
        if isinstance(value, str | int | float):
            details.append(f"{word} {value:.3g}" if isinstance(value, float) else f"{word} {value}")
    return " · ".join(details)
