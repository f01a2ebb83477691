from __future__ import annotations

from pathlib import Path

import pytest

from tofgan_monai import InputError
from tofgan_monai.volumes.scans import Scan
from tofgan_monai.volumes.splits import split_by_counts, split_by_fractions, split_by_lists, with_patients


def scans(*names: str) -> list[Scan]:
    return [Scan(name, name.split("_")[0], Path(name)) for name in names]


def sizes(split) -> list[int]:
    return [len({scan.patient for scan in members}) for members in split.scans.values()]


@pytest.mark.parametrize(
    ("n", "fractions", "expected"),
    [
        (1, (0.6, 0.15, 0.25), [1, 0, 0]),
        (2, (0.6, 0.15, 0.25), [1, 0, 1]),
        (3, (0.6, 0.15, 0.25), [1, 1, 1]),
        (4, (0.6, 0.15, 0.25), [2, 1, 1]),
        (10, (0.9, 0.05, 0.05), [8, 1, 1]),
        (66, (41 / 66, 11 / 66, 14 / 66), [41, 11, 14]),
        (5, (0, 0, 1), [0, 0, 5]),
        (5, (0.8, 0.2, 0), [4, 1, 0]),
        (0, (0.6, 0.15, 0.25), [0, 0, 0]),
    ],
)
def test_fractions(n, fractions, expected):
    split = split_by_fractions(scans(*(f"p{i}" for i in range(n))), fractions, seed=0)
    assert sizes(split) == expected
    wanted = sum(fraction > 0 for fraction in fractions)
    assert len(split.warnings) == wanted - sum(count > 0 for count in expected)


def test_patients_stay_together_and_are_in_one_split_each():
    members = scans(*(f"p{i}_s{j}" for i in range(20) for j in range(3)))
    split = split_by_fractions(members, (0.5, 0.25, 0.25), seed=1)
    patients = [{scan.patient for scan in part} for part in split.scans.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 20
    assert sum(map(len, split.scans.values())) == 60


def test_the_seed_decides_and_nothing_else():
    members = scans(*(f"p{i:02}" for i in range(12)))
    first = split_by_counts(members, (6, 3, 3), seed=1).scans
    again = split_by_counts(members[::-1], (6, 3, 3), seed=1).scans
    assert {name: set(part) for name, part in first.items()} == {name: set(part) for name, part in again.items()}
    assert first != split_by_counts(members, (6, 3, 3), seed=2).scans
    assert [scan.subject for scan in first["test"]] == ["p01", "p05", "p09"]  # the same for ever


def test_bad_fractions_and_counts():
    members = scans("a", "b", "c")
    for fractions in ((0.5, 0.5), (0.5, 0.5, 0.5), (-1, 1, 1)):
        with pytest.raises(InputError, match=r"fractions .* with the sum 1"):
            split_by_fractions(members, fractions, seed=0)
    with pytest.raises(InputError, match=r"counts 2, 1, 1: .* most 3"):
        split_by_counts(members, (2, 1, 1), seed=0)
    assert len(split_by_counts(members, (1, 0, 1), seed=0).warnings) == 1


def test_lists(tmp_path):
    (tmp_path / "test.txt").write_bytes("c\r\nd\r\n".encode("utf-16"))  # as Windows' editors save it
    lists = {"training": "a", "validation": ["b"], "test": str(tmp_path / "test.txt")}
    split = split_by_lists(scans("a_1", "a_2", "b", "c", "d", "e"), lists)
    names = {name: [scan.subject for scan in part] for name, part in split.scans.items()}
    assert names == {"training": ["a_1", "a_2"], "validation": ["b"], "test": ["c", "d"]}
    assert split.problems == [] and split.warnings == ["e: in no split; left out"]


def test_a_patient_in_two_lists():
    members = scans("a_1", "a_2", "b")
    by_scan = split_by_lists(members, {"training": "a_1,b", "test": "a_2"})
    by_name = split_by_lists(members, {"training": "a, b", "test": "a"})
    for split in (by_scan, by_name):
        assert split.problems == ["a: patient in two splits, test and training; put all scans of a patient into one"]


def test_a_name_that_nobody_has():
    split = split_by_lists(scans("a"), {"training": "a, z"})
    assert split.problems == ["z: no patient or subject has this name; correct the list for training"]


def test_patient_pattern(tmp_path):
    named, source = with_patients(scans("P1_base", "P1_follow", "P2_base"), tmp_path, patient_pattern="^(P[0-9]+)")
    assert [scan.patient for scan in named] == ["P1", "P1", "P2"] and source == "patients by --patient-pattern"
    whole, _ = with_patients(scans("x-P1"), tmp_path, patient_pattern="P[0-9]+")
    assert whole[0].patient == "P1"
    with pytest.raises(InputError, match="not a regular expression"):
        with_patients(scans("a"), tmp_path, patient_pattern="(")
    with pytest.raises(InputError, match="b: --patient-pattern a finds no patient"):
        with_patients(scans("a", "b"), tmp_path, patient_pattern="a")


def test_participants(tmp_path):
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\tage\tpatient\nsub-01\t50\tX\nsub-02\t52\tX\nsub-03\t40\tn/a\n")
    named, source = with_patients(scans("sub-01_ses-1", "sub-02"), tmp_path)
    assert [scan.patient for scan in named] == ["X", "X"]
    assert source == "patients by participants.tsv, 2 of 3 rows used"
    with pytest.raises(InputError, match=r"sub-04: has no patient in .*participants\.tsv"):
        with_patients(scans("sub-01", "sub-04"), tmp_path)
    with pytest.raises(InputError, match="sub-03: has no patient"):
        with_patients(scans("sub-03"), tmp_path)
    table.write_text("participant_id\tage\nsub-01\t50\n")
    named, source = with_patients(scans("sub-09"), tmp_path)
    assert named[0].patient == "sub-09"
    assert source == "patients by the scans' names: participants.tsv has no column patient, only participant_id, age"
