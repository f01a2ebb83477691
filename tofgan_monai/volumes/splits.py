"""Who is whose scan, and which patients train, validate and test."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.scans import Scan

SPLITS = ("training", "validation", "test")


class Split(NamedTuple):
    """Scans by the name of their split, and what is wrong or odd about it."""

    scans: dict[str, list[Scan]]
    problems: list[str]
    warnings: list[str]


def with_patients(
    scans: Iterable[Scan], folder: str | os.PathLike, *, patient_pattern: str | None = None
) -> list[Scan]:
    """The scans with their patients: by a pattern, else by participants.tsv, else as their names say.

    Args:
        scans: as found; `sub-01_ses-01` is a scan of the patient `sub-01` already.
        folder: where a participants.tsv with the columns participant_id and patient (or patient_id) may lie.
        patient_pattern: regular expression searched in the subject's name; its first group, or all it matches, is the
            patient's name.

    Raises:
        InputError: the pattern is none or fits not every subject, or the table leaves a subject out.
    """
    if patient_pattern is not None:
        return _patients_by_pattern(scans, patient_pattern)
    table = _patients_in(Path(folder) / "participants.tsv")
    if not table:
        return list(scans)
    known, problems = [], []
    for scan in scans:
        patient = table.get(scan.subject) or table.get(scan.patient)
        known.append(replace(scan, patient=patient or scan.patient))
        if not patient:
            problems.append(f"{scan.subject}: has no patient in {folder}/participants.tsv; fill in its row")
    if problems:
        raise InputError(problems)
    return known


def _patients_by_pattern(scans: Iterable[Scan], pattern: str) -> list[Scan]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--patient-pattern {pattern}: not a regular expression ({error}); try ^([^_]+)") from error
    known, problems = [], []
    for scan in scans:
        match = expression.search(scan.subject)
        if match and (match[1] if expression.groups else match[0]):
            known.append(replace(scan, patient=match[1] if expression.groups else match[0]))
        else:
            problems.append(f"{scan.subject}: --patient-pattern {pattern} finds no patient in this name; widen it")
    if problems:
        raise InputError(problems)
    return known


def _patients_in(table: Path) -> dict[str, str]:
    if not table.is_file():
        return {}
    with open(table, encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    column = next((name for name in ("patient", "patient_id") if rows and name in rows[0]), None)
    if column is None or "participant_id" not in rows[0]:
        return {}
    named = {row["participant_id"]: (row[column] or "").strip() for row in rows}
    return {name: "" if patient.lower() == "n/a" else patient for name, patient in named.items()}


def split_by_fractions(scans: Sequence[Scan], fractions: Sequence[float], seed: int) -> Split:
    """Whole patients, shuffled by the seed, in parts as near to the fractions as can be.

    From three patients on every part whose fraction is not 0 has one at least. Two patients train and test, one trains.

    Raises:
        InputError: not three fractions from 0 to 1 whose sum is 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(
            f"fractions {_joined(fractions)}: three numbers for training, validation and test with the sum 1 are "
            "needed, such as 0.6, 0.15, 0.25"
        )
    n = len({scan.patient for scan in scans})
    counts = [int(n * fraction + 1e-9) for fraction in fractions]
    # The largest remainders first; a part that is still empty goes before all.
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
    """Whole patients, shuffled by the seed: so many for training, validation and test; those left over are warned of.

    Raises:
        InputError: not three counts, or more patients than there are.
    """
    # By a hash: the order is the same in every version of every library, and a new patient moves few others.
    patients = sorted(
        {scan.patient for scan in scans}, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest()
    )
    if len(counts) != 3 or min(counts) < 0 or sum(counts) > len(patients):
        raise InputError(
            f"counts {_joined(counts)}: three numbers for training, validation and test are needed, with a sum of at "
            f"most {len(patients)}, the number of patients"
        )
    split_of = dict(
        zip(patients, [name for name, n in zip(SPLITS, counts, strict=True) for _ in range(n)], strict=False)
    )
    return _assigned(scans, {scan.subject: split_of.get(scan.patient) for scan in scans})


def split_by_lists(scans: Sequence[Scan], lists: Mapping[str, str | os.PathLike | Sequence[str]]) -> Split:
    """Patients, or single scans, as named for each split; those in no list are warned of.

    Args:
        scans: with their patients.
        lists: for each split names, or text with commas between them, or a file with one a line.
    """
    split_of: dict[str, str] = {}
    problems = []
    for split, given in lists.items():
        for name in _names(given):
            named = [scan for scan in scans if name in (scan.patient, scan.subject)]
            if not named:
                problems.append(f"{name}: listed for {split}, but no patient or subject has this name; mend the list")
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
            given = Path(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{given}: not a readable list ({error}); give a text file, one name a line") from error
    names = re.split(r"[,\n]", given) if isinstance(given, str) else given
    return [name.strip() for name in names if name.strip()]


def _in_two_splits(patient: str, splits: Iterable[str]) -> str:
    return f"{patient}: patient in two splits, {' and '.join(sorted(splits))}; all scans of a patient belong in one"


def _assigned(scans: Sequence[Scan], split_of: dict[str, str | None]) -> Split:
    split = Split({name: [scan for scan in scans if split_of[scan.subject] == name] for name in SPLITS}, [], [])
    split.warnings.extend(f"{scan.subject}: in no split; left out" for scan in scans if split_of[scan.subject] is None)
    return split


def _joined(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
