from __future__ import annotations

import pytest

from tofgan_monai import InputError
from tofgan_monai.volumes.participants import read_participants, row_key

ROWS = [
    ("participant_id", "patient", "remark"),
    *((f"sub-0{i}", patient, "Müller, 3 µm") for i, patient in enumerate(["P-A", "P-A", "P-B", "P-B"], start=1)),
]
PATIENTS = {"01": "P-A", "02": "P-A", "03": "P-B", "04": "P-B"}


def table(separator="\t", end="\n", columns=3, pad="", quote="", **renamed):
    rows = [[quote + renamed.get(cell, cell) + pad + quote for cell in row[:columns]] for row in ROWS]
    return "".join(separator.join(row) + end for row in rows)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (table(), "utf-8"),
        (table(end="\r\n"), "utf-8"),
        (table(end="\r"), "utf-8"),
        (table(), "utf-8-sig"),
        (table(), "utf-16"),
        (table(), "utf-16-le"),
        (table(), "utf-16-be"),
        (table(), "latin-1"),
        (table(separator=";", end="\r\n"), "cp1252"),
        ("sep=;\r\n" + table(separator=";", end="\r\n"), "utf-8"),
        (table(separator=",", columns=2), "utf-8"),
        (table(separator=";", quote='"'), "utf-8"),
        (table(pad=" "), "utf-8"),
        ("\n" + table() + "\t\t\n", "utf-8"),
        (table(participant_id="Participant_ID", patient="PATIENT"), "utf-8"),
        (table(patient="patient_ID"), "utf-8"),
        (table(patient="Patient ID"), "utf-8"),
        (table(patient="PatientId"), "utf-8"),
        (table(participant_id="Subject", patient="patient-no"), "utf-8"),
        (table(participant_id="scan", patient="subject_id"), "utf-8"),
        (table().replace("sub-0", "SUB-0"), "utf-8"),
        (table().replace("sub-0", "0"), "utf-8"),
    ],
)
def test_every_spreadsheets_table_gives_two_patients(tmp_path, text, encoding):
    (tmp_path / "participants.tsv").write_bytes(text.encode(encoding))
    assert read_participants(tmp_path).patients == PATIENTS


def test_other_names_of_the_table(tmp_path):
    (tmp_path / "participants.json").write_text("{}", encoding="utf-8")
    assert read_participants(tmp_path) is None
    (tmp_path / "Participants.csv").write_text(table(","), encoding="utf-8")
    assert read_participants(tmp_path).patients == PATIENTS
    (tmp_path / "participants.tsv").write_text(table(), encoding="utf-8")
    with pytest.raises(InputError, match=r"2 tables of participants \(Participants.csv, participants.tsv\); keep"):
        read_participants(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            table(participant_id="Kennung"),
            "no column participant_id; the columns found are 'Kennung', 'patient', 'remark'",
        ),
        (
            table(patient="patient's code name"),
            "no column patient; the columns found are 'participant_id', \"patient's",
        ),
        (table(separator=" "), "no column participant_id; the columns found are 'participant_id patient remark'"),
        ("", "no column participant_id; the columns found are none; write a tab-separated table"),
        (table() + "sub-01\tP-B\t\n", "sub-01 has two patients, P-A and P-B; keep one row"),
        (table().replace("P-A", "p-a", 1), "the patients p-a and P-A differ by capitals alone"),
        (table(remark="subject").replace("3 µm", "5 µm", 1), "the columns patient and subject group the scans in two"),
    ],
)
def test_a_table_that_is_not_understood_is_refused(tmp_path, text, told):
    (tmp_path / "participants.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_participants(tmp_path)
    assert told in str(raised.value)


def test_a_spreadsheets_own_file_is_refused(tmp_path):
    (tmp_path / "participants.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"participants.xlsx is not a text table; save it as participants.tsv"):
        read_participants(tmp_path)


def test_rows_are_compared_without_capitals_blanks_and_prefix():
    assert row_key(" Sub-M\u00fcller ") == row_key("mu\u0308ller") == "m\u00fcller"
