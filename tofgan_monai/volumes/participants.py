"""Reading of participants.tsv, the table with the patient of each scan, also if a spreadsheet program has saved it."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from tofgan_monai.errors import InputError

_SCAN_COLUMNS = ("participantid", "participant", "scanid", "scan", "subjectid", "subject")
_PATIENT_COLUMNS = (
    "patient", "patientid", "patientno", "patientnr", "patientnumber", "patientname", "patid", "pid", "person",
    "personid", "subjectid", "subject",
)  # fmt: skip
_REMEDY = (
    "write a tab-separated table with the columns participant_id (the scan's name) and patient, "
    "or say how a scan's name tells the patient by --patient-pattern"
)


class Participants(NamedTuple):
    """Content of a table of patients.

    Attributes:
        path: the path of the table.
        patients: dict from `row_key` of the participant's name to the patient's name, "" for a row without a patient.
            None if the table has no column of patients; each participant then counts as a patient.
        columns: the names of the table's columns.
    """

    path: Path
    patients: dict[str, str] | None
    columns: list[str]


def read_participants(folder: str | os.PathLike) -> Participants | None:
    """Returns the table of patients in a folder; None if the folder has no table.

    The separator may be a tab, a semicolon or a comma, and the encoding UTF-8, UTF-16 or Latin-1. Capitals, blanks and
    separators in the names of columns do not count, so `Patient ID` is the same as `patient_id`.

    Raises:
        InputError: the folder has several tables, or a column is missing; the message lists the columns of the table.
    """
    tables = sorted(path for path in Path(folder).iterdir() if path.stem.lower() == "participants" and path.is_file())
    sheets = [path for path in tables if path.suffix.lower() not in (".json", ".md")]
    if not sheets:
        return None
    if len(sheets) > 1:
        shown = ", ".join(path.name for path in sheets)
        raise InputError(f"{folder}: {len(sheets)} tables of participants ({shown}); keep the one that is right")
    path = sheets[0]
    if path.suffix.lower() not in (".tsv", ".csv", ".txt"):
        raise InputError(f"{path} is not a text table; save it as participants.tsv, or move it out of the folder")
    header, *rows = _rows(path) or [[]]
    names, columns = [_normal(cell) for cell in header], [cell.strip() for cell in header]
    scan_column = next((names.index(name) for name in _SCAN_COLUMNS if name in names), None)
    patient_columns = [names.index(name) for name in _PATIENT_COLUMNS if name in names]
    patient_columns = [column for column in patient_columns if column != scan_column]
    found = f"the columns found are {', '.join(map(repr, columns)) or 'none'}; {_REMEDY}"
    if scan_column is None:
        raise InputError(f"{path} has no column participant_id; {found}")
    if patient_columns:
        return Participants(path, _patients(path, columns, rows, scan_column, patient_columns), columns)
    if any("patient" in name for name in names):
        raise InputError(f"{path} has no column patient; {found}")
    return Participants(path, None, columns)


def row_key(name: str) -> str:
    """Returns a participant's name in lower case, without blanks at the ends and without the prefix `sub-`.

    Two names are the same participant if their keys are equal.
    """
    return unicodedata.normalize("NFC", name).strip().casefold().removeprefix("sub-")


def text_of(path: str | os.PathLike) -> str:
    """Returns the text of a file in UTF-8 or UTF-16, with or without byte-order mark, else in Windows' Latin-1."""
    content = Path(path).read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    if content[1:2] == b"\0" or content[:1] == b"\0":
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _rows(path: Path) -> list[list[str]]:
    """Returns the non-empty rows of a table, split at the separator that gives most known columns in the first row."""
    try:
        text = re.sub(r"\Asep=.\r?\n", "", text_of(path))  # Excel's own way to name the separator
        cuts = [list(csv.reader(io.StringIO(text, newline=None), delimiter=separator)) for separator in "\t;,"]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}); save it again as text in UTF-8") from error
    tables = [[row for row in rows if any(cell.strip() for cell in row)] for rows in cuts]
    known = {*_SCAN_COLUMNS, *_PATIENT_COLUMNS}
    return max(
        tables, key=lambda rows: (sum(_normal(cell) in known for cell in rows[0]), len(rows[0])) if rows else (0, 0)
    )


def _normal(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _patients(
    path: Path, columns: list[str], rows: list[list[str]], scan_column: int, patient_columns: list[int]
) -> dict[str, str]:
    """Returns a dict from the `row_key` of each row to the patient's name.

    Raises:
        InputError: rows or columns contradict each other.
    """
    padded = [[cell.strip() for cell in row] + [""] * (len(columns) - len(row)) for row in rows]
    first = patient_columns[0]
    problems = [
        f"{path}: the columns {columns[first]} and {columns[other]} group the scans in two ways; keep the right one"
        for other in patient_columns[1:]
        if not _same_groups([row[first] for row in padded], [row[other] for row in padded])
    ]
    patients: dict[str, str] = {}
    spellings: dict[str, str] = {}
    for row in padded:
        name, patient = row[scan_column], "" if row[first].lower() == "n/a" else row[first]
        if patients.setdefault(row_key(name), patient) != patient:
            problems.append(f"{path}: {name} has two patients, {patients[row_key(name)]} and {patient}; keep one row")
        if (known := spellings.setdefault(patient.casefold(), patient)) != patient:
            problems.append(f"{path}: the patients {known} and {patient} differ by capitals alone; write one of them")
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return patients


def _same_groups(one: list[str], other: list[str]) -> bool:
    return len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other))
