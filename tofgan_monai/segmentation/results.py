"""Functions that read, write and average segmentation scores in results.jsonl, and write a CSV summary of these scores.

A line holds the scores of one patient under one model:

    {"model": "U-Net on real pairs", "cohort": "A", "split": "test", "patient": "test-03",
     "dsc": 0.87, "hd95_mm": 3.2, "empty": "", "precision": 0.9, "recall": 0.84, "dsc_small": 0.71, "dsc_large": 0.93,
     "cl_dice": 0.84, "betti_errors": [7, 2, 0], "asd_mm": 0.4, "average_hausdorff_mm": 0.3,
     "dsc_at": [0.62, ... 0.58], "n": 14}

`patient` is the name of the split and the position in that split's list in cohort.json, from 00; a line never holds a
subject's name or a path. `n` is the number of patients in that evaluation; `metrics.segmentation.overlap` explains
`empty`. `precision` is the share of the prediction that is in the truth, `recall` the share of the truth that is
predicted. `dsc_small` and `dsc_large` are the DSC of the vessels below 1.5 mm in diameter and of the others (see
`metrics.segmentation.calibre`), null if the truth has none of them. `metrics.segmentation.topology` defines `cl_dice`
and the errors in the numbers of components, loops and cavities; `metrics.segmentation.distances` defines the average
surface distance and the average Hausdorff distance in mm. `dsc_at`, if the vessels' probability was kept, holds the DSC
at the thresholds 0.05, 0.10, ... 0.95 (`threshold_baseline.PROBABILITIES`). Older files may lack any of these fields;
their `avd_mm` is read as `average_hausdorff_mm`.

New lines replace the lines of the same model, cohort and split; all other lines are kept. So several evaluations may
write into the same file, and each evaluation may be repeated. Lines with a `measure` and without a `patient` are other
results of a study; this module keeps these lines, but does not use them.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_json_lines, written_whole
from tofgan_monai.metrics.segmentation.overlap import SCORES, Overlap, Summary, summarise

GROUP = ("model", "cohort", "split")
BASELINE_MODEL = "Best single threshold"  # chosen on the heads that are scored
VALIDATION_BASELINE_MODEL = "Best single threshold of the validation patients"
TEXT_FIELDS = (*GROUP, "patient", "empty")
RENAMED = {"avd_mm": "average_hausdorff_mm"}  # older names of fields

Line = dict[str, Any]


def result_lines(
    scores: Sequence[Overlap], *, model: str, cohort: str, split: str, more: Sequence[Mapping[str, Any]] | None = None
) -> list[Line]:
    """Returns the lines of results.jsonl for the patients of a split, one dict for each patient.

    Args:
        scores: the scores, one entry for each patient, in the order of the split.
        model: the name of the model.
        cohort: the name of the cohort.
        split: the name of the split.
        more: dicts with further fields, one for each patient, in the same order.

    Raises:
        InputError: the name of the model, the cohort or the split looks like a path.
    """
    described = {"model": model, "cohort": cohort, "split": split}
    paths = [
        f"{key} {text!r} looks like a path; give a plain name, as results are shared"
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
            **fields,
            "n": len(scores),
        }
        for index, (score, fields) in enumerate(zip(scores, more or [{}] * len(scores), strict=True))
    ]


def read_results(path: str | os.PathLike) -> list[Line]:
    """Returns the lines of results.jsonl that hold a patient's scores, as dicts, after a check of their fields.

    Raises:
        InputError: the file does not exist, or lines are not results; the message lists all such lines.
    """
    return [line for line in read_all_results(Path(path)) if not _is_of_a_study(line)]


def read_all_results(path: Path) -> list[Line]:
    """Returns the lines of results.jsonl with a patient's scores, and those with other results of a study.

    Raises:
        InputError: as of `read_results`.
    """
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); run `tofgan evaluate` to write it") from error
    lines, problems = [], []
    for number, row in enumerate(rows, start=1):
        try:
            line = json.loads(row)
            if not _is_of_a_study(line):
                has_text = all(isinstance(line[key], str) for key in TEXT_FIELDS)
                if not has_text or not all(math.isfinite(line[key]) for key in SCORES):
                    needed = f"text in {', '.join(TEXT_FIELDS)} and numbers in {', '.join(SCORES)}"
                    raise TypeError(f"a result has {needed}")
                line = {RENAMED.get(key, key): value for key, value in line.items()}
            lines.append(line)
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{path}: line {number} is not a result ({error}); repeat the evaluation that wrote it")
    if problems:
        raise InputError(problems)
    return lines


def write_results(path: str | os.PathLike, lines: Sequence[Line]) -> None:
    """Writes lines with patients' scores into results.jsonl, and a CSV summary into the same folder.

    The new lines replace old lines of the same model, cohort and split. The summary has the same name with the ending
    `.csv`, and one row for each model, cohort and split.

    Raises:
        InputError: the existing file contains a line that is not a result, or the folder cannot be written to.
    """
    path = Path(path)
    new = {_group(line) for line in lines}
    existing = read_all_results(path) if path.exists() else []
    lines = [*(line for line in existing if _is_of_a_study(line) or _group(line) not in new), *lines]
    write_json_lines(path, lines)
    with (
        written_whole(path.with_suffix(".csv")) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow([*GROUP, "n", "n_empty", "dsc_mean", "dsc_sd", "hd95_mm_mean", "hd95_mm_sd"])
        for group, (dsc, distance) in summaries(line for line in lines if not _is_of_a_study(line)).items():
            figures = (dsc.mean, dsc.sd, distance.mean, distance.sd)
            row = ["" if figure is None else f"{figure:.5f}" for figure in figures]
            writer.writerow([*group, dsc.n, dsc.n_empty, *row])


def summaries(lines: Iterable[Line]) -> dict[tuple[str, str, str], tuple[Summary, Summary]]:
    """Returns a dict from (model, cohort, split) to the summaries of DSC and 95HD, in the order of first appearance."""
    groups: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault(_group(line), []).append(line)

    def summary(score: str, members: list[Line]) -> Summary:
        return summarise([line[score] for line in members], [bool(line["empty"]) for line in members])

    return {group: (summary(SCORES[0], members), summary(SCORES[1], members)) for group, members in groups.items()}


def _is_of_a_study(line: Any) -> bool:
    return isinstance(line, dict) and "patient" not in line and "measure" in line


def _group(line: Line) -> tuple[str, str, str]:
    return line["model"], line["cohort"], line["split"]
