"""The artefact results.jsonl, with its CSV summary beside it: who reads, writes or averages it does so here.

One line is one patient under one model:

    {"model": "U-Net on real pairs", "cohort": "A", "split": "test", "patient": "test-03",
     "dsc": 0.87, "hd95_mm": 3.2, "empty": "", "n": 14}

`patient` is the split's name and the position in that split's list in cohort.json, from 00; a line never holds a
subject's name or a path. `n` is the number of patients in that evaluation; for `empty` see
`tofgan_monai.metrics.overlap`. Lines of the same model, cohort and split are replaced, all others are kept, so several
evaluations may share one file and each may be repeated.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.metrics.overlap import SCORES, Overlap, Summary, summarise

GROUP = ("model", "cohort", "split")
BASELINE_MODEL = "Best single threshold"
TEXT_FIELDS = (*GROUP, "patient", "empty")

Line = dict[str, Any]


def result_lines(scores: Sequence[Overlap], *, model: str, cohort: str, split: str) -> list[Line]:
    """Lines of results.jsonl for the patients of a split, in its order.

    Raises:
        InputError: a model, cohort or split that looks like a path.
    """
    described = {"model": model, "cohort": cohort, "split": split}
    paths = [
        f"{key} {text!r} looks like a path; results are shared, give it a plain name"
        for key, text in described.items()
        if "/" in text or "\\" in text
    ]
    if paths:
        raise InputError(paths)
    return [
        {
            **described,
            "patient": f"{split}-{index:02d}",
            "dsc": round(score.dsc, 5),
            "hd95_mm": round(score.hd95_mm, 4),
            "empty": score.empty,
            "n": len(scores),
        }
        for index, score in enumerate(scores)
    ]


def read_results(path: str | os.PathLike) -> list[Line]:
    """The lines of a results.jsonl, checked.

    Raises:
        InputError: no such file, or lines that are not results (all of them named).
    """
    path = Path(path)
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); write it with `tofgan evaluate`") from error
    lines, problems = [], []
    for number, row in enumerate(rows, start=1):
        try:
            line = json.loads(row)
            has_text = all(isinstance(line[key], str) for key in TEXT_FIELDS)
            if not has_text or not all(np.isfinite(line[key]) for key in SCORES):
                raise TypeError(f"it needs text for {', '.join(TEXT_FIELDS)} and numbers for {', '.join(SCORES)}")
            lines.append(line)
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{path}, line {number}: not a result ({error}); repeat the evaluation that wrote it")
    if problems:
        raise InputError(problems)
    return lines


def write_results(path: str | os.PathLike, lines: Sequence[Line]) -> None:
    """Puts lines into a results.jsonl, in place of those of the same model, cohort and split.

    The summary beside it has the same name and ends in `.csv`: a row per model, cohort and split.

    Raises:
        InputError: the file that is there holds something else, or the folder cannot be written to.
    """
    path = Path(path)
    new = {_group(line) for line in lines}
    kept = [line for line in read_results(path) if _group(line) not in new] if path.exists() else []
    lines = [*kept, *lines]
    with written_whole(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with (
        written_whole(path.with_suffix(".csv")) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow([*GROUP, "n", "n_empty", "dsc_mean", "dsc_sd", "hd95_mm_mean", "hd95_mm_sd"])
        for group, (dsc, distance) in summaries(lines).items():
            scores = (dsc.mean, dsc.sd, distance.mean, distance.sd)
            writer.writerow(
                [*group, dsc.n, dsc.n_empty, *("" if score is None else f"{score:.5f}" for score in scores)]
            )


def summaries(lines: Iterable[Line]) -> dict[tuple[str, str, str], tuple[Summary, Summary]]:
    """Summaries of DSC and 95HD by (model, cohort, split), in the order of first appearance."""
    groups: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault(_group(line), []).append(line)
    return {
        group: tuple(
            summarise([line[score] for line in members], [bool(line["empty"]) for line in members]) for score in SCORES
        )  # type: ignore[misc]
        for group, members in groups.items()
    }


def _group(line: Line) -> tuple[str, str, str]:
    return line["model"], line["cohort"], line["split"]
