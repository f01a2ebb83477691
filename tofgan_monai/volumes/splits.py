"""Functions that find the patient of each scan, and split the patients into training, validation and test patients."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.participants import read_participants, row_key, text_of
from tofgan_monai.volumes.scans import Scan

SPLITS = ("training", "validation", "test")


class Split(NamedTuple):
    """Dict from the name of a split to its scans, and the problems and warnings about the split."""

    scans: dict[str, list[Scan]]
    problems: list[str]
    warnings: list[str]


def with_patients(
    scans: Sequence[Scan], folder: str | os.PathLike, *, patient_pattern: str | None = None
) -> tuple[list[Scan], str]:
    """Returns the scans with their patients' names, and a text about the source of these names.

    The source is `patient_pattern` if it is given, else participants.tsv if the folder has it, else the scans' names.

    Args:
        scans: the scans that `find_scans` has returned.
        folder: the folder of the cohort, which may hold a participants.tsv; see `tofgan_monai.volumes.participants`.
        patient_pattern: regular expression to search for in the subject's name; its first group, or its whole match if
            it has no group, is the patient's name.

    Raises:
        InputError: the pattern is no regular expression or does not fit every subject, or the table cannot be read or
            omits a subject.
    """
    if patient_pattern is not None:
        remedy = f"--patient-pattern {patient_pattern} finds no patient in this name; widen it"
        return _named(scans, partial(_found_by, patient_pattern), remedy), "patients by --patient-pattern"
    table = read_participants(folder)
    if table is None:
        return list(scans), "patients by the scans' names"
    name, patients = table.path.name, table.patients
    if patients is None:
        return list(
            scans
        ), f"patients by the scans' names: {name} has no column patient, only {', '.join(table.columns)}"
    rows = {scan: next((key for key in _row_keys(scan) if key in patients), "") for scan in scans}
    n_used = len(set(rows.values()) & set(patients))
    remedy = f"has no patient in {table.path}; fill in its row"
    named = _named(scans, lambda scan: patients.get(rows[scan]), remedy)
    return named, f"patients by {name}, {n_used} of {len(patients)} rows used"


def _row_keys(scan: Scan) -> tuple[str, str]:
    return row_key(scan.subject), row_key(scan.patient)


def _named(scans: Iterable[Scan], patient_of: Callable[[Scan], str | None], problem: str) -> list[Scan]:
    patients = {scan: patient_of(scan) for scan in scans}
    nameless = [f"{scan.subject}: {problem}" for scan, patient in patients.items() if not patient]
    if nameless:
        raise InputError(nameless)
    return [replace(scan, patient=str(patient)) for scan, patient in patients.items()]


def _found_by(pattern: str, scan: Scan) -> str | None:
    try:
        match = re.search(pattern, scan.subject)
    except re.error as error:
        raise InputError(f"--patient-pattern {pattern}: not a regular expression ({error}); try ^([^_]+)") from error
    return match and match[1 if match.re.groups else 0]


def split_by_fractions(scans: Sequence[Scan], fractions: Sequence[float], seed: int) -> Split:
    """Splits the scans by patient, in random order, into parts that are as close to the fractions as possible.

    With three or more patients, every part whose fraction is not 0 gets at least one patient. Two patients are split
    into one for training and one for test; a single patient is for training.

    Args:
        scans: the scans with their patients' names.
        fractions: fractions of the patients for training, validation and test.
        seed: seed for the shuffling of the patients.

    Raises:
        InputError: the fractions are not three numbers from 0 to 1 with the sum 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"fractions {_joined(fractions)}: give three numbers with the sum 1, such as 0.6, 0.15, 0.25")
    n = len({scan.patient for scan in scans})
    counts = [int(n * fraction + 1e-9) for fraction in fractions]
    # Patients that are left over go to empty parts first, then to the parts with the largest remainders.
    by_need = sorted(range(3), key=lambda i: (counts[i] > 0, counts[i] - n * fractions[i]))
    for i in [i for i in by_need if fractions[i] > 0][: n - sum(counts)]:
        counts[i] += 1
    for i in (2, 1, 0):
        if fractions[i] > 0 and counts[i] == 0 and max(counts) > 1:
            counts[counts.index(max(counts))] -= 1
            counts[i] = 1
    split = split_by_counts(scans, counts, seed)
    for name, count, fraction in zip(SPLITS, counts, fractions, strict=True):
        if fraction > 0 and count == 0:
            split.warnings.append(f"{n} patients are too few for three splits: {name} is empty; use 3 or more")
    return split


def split_by_counts(scans: Sequence[Scan], counts: Sequence[int], seed: int) -> Split:
    """Splits the scans by patient, in random order, into parts with given numbers of patients.

    Each scan that is in no part gets a warning.

    Args:
        scans: the scans with their patients' names.
        counts: numbers of patients for training, validation and test.
        seed: seed for the shuffling of the patients.

    Raises:
        InputError: the counts are not three numbers from 0, or their sum exceeds the number of patients.
    """
    # Shuffled by a hash: the order is the same in every version of every library, and a new patient moves few others.
    patients = sorted(
        {scan.patient for scan in scans}, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest()
    )
    if len(counts) != 3 or min(counts) < 0 or sum(counts) > len(patients):
        remedy = f"give three numbers with a sum of at most {len(patients)}, the number of patients"
        raise InputError(f"counts {_joined(counts)}: {remedy}")
    splits = [name for name, n in zip(SPLITS, counts, strict=True) for _ in range(n)]
    split_of = dict(zip(patients, splits, strict=False))
    return _assigned(scans, {scan.subject: split_of.get(scan.patient) for scan in scans})


def split_by_lists(scans: Sequence[Scan], lists: Mapping[str, str | os.PathLike | Sequence[str]]) -> Split:
    """Splits the scans by lists of patients or of single scans; each scan that is in no list gets a warning.

    Args:
        scans: the scans with their patients' names.
        lists: dict from split to names, given as a list, as a text with commas between the names, or as a file with one
            name per line.
    """
    split_of: dict[str, str] = {}
    problems = []
    for split, given in lists.items():
        for name in _names(given):
            named = [scan for scan in scans if name in (scan.patient, scan.subject)]
            if not named:
                problems.append(f"{name}: no patient or subject has this name; correct the list for {split}")
            for scan in named:
                if split_of.setdefault(scan.subject, split) != split:
                    problems.append(_in_two_splits(scan.patient, (split_of[scan.subject], split)))
    by_patient: dict[str, set[str]] = {}
    for scan in scans:
        by_patient.setdefault(scan.patient, set()).update(filter(None, [split_of.get(scan.subject)]))
    problems += [_in_two_splits(patient, found) for patient, found in by_patient.items() if len(found) > 1]
    assigned = _assigned(scans, {scan.subject: split_of.get(scan.subject) for scan in scans})
    return assigned._replace(problems=list(dict.fromkeys(problems)))


def _names(given: str | os.PathLike | Sequence[str]) -> list[str]:
    if isinstance(given, os.PathLike) or (isinstance(given, str) and os.path.isfile(given)):
        try:
            given = text_of(given)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{given}: not a readable list ({error}); give a file with a name per line") from error
    names = re.split(r"[,;\r\n]", given) if isinstance(given, str) else given
    return [name.strip() for name in names if name.strip()]


def _in_two_splits(patient: str, splits: Iterable[str]) -> str:
    return f"{patient}: patient in two splits, {' and '.join(sorted(splits))}; put all scans of a patient into one"


def _assigned(scans: Sequence[Scan], split_of: dict[str, str | None]) -> Split:
    split = Split({name: [scan for scan in scans if split_of[scan.subject] == name] for name in SPLITS}, [], [])
    split.warnings.extend(f"{scan.subject}: in no split; left out" for scan in scans if split_of[scan.subject] is None)
    return split


def _joined(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
