"""Reads the results.jsonl of a study: scores of patients become arrays, and other lines stay lines.

A draw is a random set of training patients of site B. A seed is one training run of a U-Net. An arm of the transfer to
site B says where the U-Nets start: "scratch", "pretrained" or "procedural".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.threshold_baseline import PROBABILITIES
from tofgan_monai.segmentation.results import BASELINE_MODEL, VALIDATION_BASELINE_MODEL, Line, read_all_results
from tofgan_monai.study.plan import Settings

BASELINES = {"validation": VALIDATION_BASELINE_MODEL, None: BASELINE_MODEL}
"""Dict from the split on which the single threshold was chosen to the model's name in results.jsonl.

The key None stands for the patients that are scored.
"""

SCORES = ("dsc", "hd95_mm", "dsc_small", "dsc_large")
RUN_AGAIN = "run `tofgan study` again with the same --output"

Key = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Scores:
    """One model's scores on the patients of a split.

    Attributes:
        patients: names of the patients, in the order of the lines.
        values: name of a score -> array (draws, seeds, patients), NaN where a line has no such score.
        dsc_at: DSC at each threshold, (draws, seeds, patients, thresholds); None if a line has none.
        n_empty: number of scored volumes without any vessel in the prediction or in the label.
    """

    patients: tuple[str, ...]
    values: dict[str, np.ndarray]
    dsc_at: np.ndarray | None
    n_empty: int

    @property
    def n_runs(self) -> int:
        """Number of runs: draws times seeds."""
        return self.values["dsc"].shape[0] * self.values["dsc"].shape[1]

    def runs(self, score: str) -> np.ndarray:
        """Returns the values of a score for each run (a draw and a seed) and each patient, (runs, patients)."""
        return self.values[score].reshape(-1, len(self.patients))

    def of_patients(self, score: str) -> np.ndarray:
        """Returns the mean of a score over draws and seeds for each patient, (patients,)."""
        return self.runs(score).mean(axis=0)

    def mean(self, score: str) -> float:
        """Returns the mean of a score over the patients who have this score; NaN if no patient has it."""
        scores = self.of_patients(score)
        known = scores[np.isfinite(scores)]
        return float(known.mean()) if known.size else float("nan")

    def sd(self, score: str) -> float | None:
        """Returns the standard deviation (n - 1) of a score over patients; None for fewer than two patients.

        The score of a patient is first averaged over draws and seeds.
        """
        scores = self.of_patients(score)
        known = scores[np.isfinite(scores)]
        return float(known.std(ddof=1)) if known.size > 1 else None

    def threshold_curve(self) -> np.ndarray | None:
        """Returns the mean DSC at each threshold of `threshold_baseline.PROBABILITIES`; None if `dsc_at` is None."""
        return None if self.dsc_at is None else self.dsc_at.mean(axis=(0, 1, 2))


@dataclass(frozen=True, eq=False)
class StudyResults:
    """The content of a study's results.jsonl.

    Attributes:
        about: the first line, with settings, simulated sites, numbers of patients, versions and commit.
        table2: dict from (training set, site, split) to scores.
        thresholds: dict from (chosen on, site) to the scores of the best single intensity threshold. "Chosen on" is a
            split, or None if the threshold was chosen on the scored patients.
        transfer: dict from (arm, number of training patients, split) to scores.
        others: dict from experiment to its lines that are not about a single patient.
    """

    about: dict[str, Any]
    table2: dict[Key, Scores]
    thresholds: dict[Key, Scores]
    transfer: dict[Key, Scores]
    others: dict[str, list[Line]]

    @property
    def settings(self) -> Settings:
        """Settings of the study, without paths."""
        return self.about["settings"]

    @property
    def title(self) -> str:
        """Title of the study, as its settings give it."""
        return str(self.settings["title"])

    def n_patients(self, site: str) -> list[int]:
        """Returns the numbers of a site's patients in training, validation and test."""
        return self.about[f"n_{site}"]

    def is_simulated(self, site: str) -> bool:
        """Whether the patients of a site are simulated heads."""
        return site in self.about["simulated"]

    def lines(self, experiment: str, **wanted: Any) -> list[Line]:
        """Returns the lines of an experiment that have all of the given values, without lines about single patients.

        Args:
            experiment: value of the key `experiment`, such as "comparison".
            wanted: further keys and the values that a line must have, such as measure="dsc".
        """
        lines = self.others.get(experiment, [])
        return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]

    @property
    def best_gan(self) -> str:
        """Name of the GAN that was chosen on validation patients; empty if no line names one."""
        return next((str(line["chosen"]) for line in self.lines("best GAN")), "")

    @property
    def counts(self) -> list[int]:
        """Numbers of site B's patients in training that Fig. 3 shows, in ascending order."""
        return sorted({int(k) for _, k, _ in self.transfer})

    @property
    def arms(self) -> list[str]:
        """Names of the arms that Fig. 3 shows."""
        return list(dict.fromkeys(str(arm) for arm, _, _ in self.transfer))

    @property
    def core_minutes(self) -> float | None:
        """Sum over all steps of wall time in minutes times number of cores; None if no wall time was recorded."""
        costs = self.lines("cost")
        return sum(line["wall_s"] for line in costs) * self.settings.get("threads", 1) / 60 if costs else None


def is_study(folder: str | os.PathLike) -> bool:
    """Whether a folder is the folder of a study and holds the results of this study."""
    folder = Path(folder)
    if not (folder / "config.yaml").is_file():
        return False
    try:
        with open(folder / "results.jsonl", encoding="utf-8") as stream:
            return _is_settings(json.loads(stream.readline()))
    except (OSError, ValueError):
        return False


def read_study(folder: str | os.PathLike) -> StudyResults:
    """Reads the results in the folder of a study.

    Raises:
        InputError: results.jsonl cannot be read, its first line does not hold the settings, or lines of some patients
            are missing for some draws or seeds.
    """
    path = Path(folder) / "results.jsonl"
    lines = read_all_results(path)
    try:
        return as_results(lines)
    except InputError as error:
        raise InputError([f"{path}: {problem}; {RUN_AGAIN}" for problem in error.problems]) from error


def as_results(lines: Sequence[Line]) -> StudyResults:
    """Sorts the lines of a study's results.jsonl by experiment and returns them as results.

    Raises:
        InputError: the first line does not hold the settings, or lines of some patients are missing for some draws or
            seeds.
    """
    if not lines or not _is_settings(lines[0]):
        raise InputError("the first line does not hold the settings of a study")
    patients = [line for line in lines if "patient" in line]
    others: dict[str, list[Line]] = {}
    for line in lines[1:]:
        if "patient" not in line:
            others.setdefault(line.get("experiment", ""), []).append(line)
    chosen_on = {model: split for split, model in BASELINES.items()}
    problems: list[str] = []
    results = StudyResults(
        lines[0],
        _scores(patients, "table2", lambda line: (line["model"], line["cohort"], line["split"]), problems),
        _scores(patients, "threshold", lambda line: (chosen_on.get(line["model"]), line["cohort"]), problems),
        _scores(patients, "transfer", lambda line: (line["arm"], line["n_training"], line["split"]), problems),
        others,
    )
    if problems:
        raise InputError(problems)
    return results


def _is_settings(line: Any) -> bool:
    """Whether a line of results.jsonl is the line with the settings of the study."""
    return isinstance(line, dict) and line.get("measure") == "settings" and isinstance(line.get("settings"), dict)


def _scores(lines: Iterable[Line], experiment: str, key: Any, problems: list[str]) -> dict[Key, Scores]:
    """Dict from key to scores for the lines of one experiment; adds a problem where lines are missing.

    Args:
        lines: lines of results.jsonl, each about one patient.
        experiment: value of the key `experiment` that the lines must have.
        key: function from a line to its key.
        problems: list to which problems are added.
    """
    groups: dict[Key, list[Line]] = {}
    for line in lines:
        if line.get("experiment") == experiment:
            groups.setdefault(key(line), []).append(line)
    made = {}
    for name, members in groups.items():
        try:
            made[name] = _as_arrays(members)
        except ValueError as error:
            problems.append(f"{experiment}, {' '.join(map(str, name))}: {error}")
    return made


def _as_arrays(lines: list[Line]) -> Scores:
    """Puts lines about single patients into arrays; raises ValueError unless each run has one line for each patient."""
    draws, seeds, patients = (
        tuple(dict.fromkeys(line.get(name, 0) for line in lines)) for name in ("draw", "seed", "patient")
    )
    cells = {(line.get("draw", 0), line.get("seed", 0), line["patient"]): line for line in lines}
    n = len(draws) * len(seeds) * len(patients)
    if not len(lines) == len(cells) == n:
        raise ValueError(
            f"there are {len(lines)} lines, but {len(draws)} draws x {len(seeds)} seeds x {len(patients)} patients "
            f"need {n}"
        )
    ordered = [cells[draw, seed, patient] for draw in draws for seed in seeds for patient in patients]
    shape = (len(draws), len(seeds), len(patients))
    values = {
        score: np.array([np.nan if (value := line.get(score)) is None else value for line in ordered]).reshape(shape)
        for score in SCORES
    }
    curves = [line.get("dsc_at") or [] for line in ordered]
    is_whole = all(len(curve) == len(PROBABILITIES) for curve in curves)
    dsc_at = np.array(curves).reshape(*shape, len(PROBABILITIES)) if is_whole else None
    return Scores(patients, values, dsc_at, sum(bool(line["empty"]) for line in lines))
