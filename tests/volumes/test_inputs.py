"""The scans of every kind of input are found and checked; a scan with a problem is left out, the others are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.dicom import write_slice
from tests.helpers.heads import write_small_head
from tofgan_monai import InputError
from tofgan_monai.volumes.cohort import write_cohort
from tofgan_monai.volumes.inputs import choose_scans


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """The images of three small heads."""
    folder = tmp_path_factory.mktemp("heads")
    return [Path(write_small_head(folder / f"sub-{i}", i)["image"]) for i in range(3)]


def write_series(folder, seed=0):
    voxels = np.random.default_rng(seed).integers(50, 100, (5, 12, 14))
    voxels[:, 5, 5:7] = 900
    for z, plane in enumerate(voxels):
        write_slice(folder / f"IM{z}.dcm", plane, (0, 0, 0.7 * z))
    return folder


def names(chosen):
    return {split: [item["subject"] for item in items] for split, items in chosen.splits.items()}


def test_a_file(heads, tmp_path):
    shutil.copy(heads[0], tmp_path / "scan.NII.GZ")
    chosen = choose_scans(tmp_path / "scan.NII.GZ")
    assert names(chosen) == {"unsplit": ["scan"]} and not chosen.problems and not chosen.n_refused
    assert chosen.splits["unsplit"][0]["image"] == str(tmp_path / "scan.NII.GZ")


def test_a_dicom_series(tmp_path):
    chosen = choose_scans(write_series(tmp_path / "TOF"))
    assert names(chosen) == {"unsplit": ["TOF"]} and chosen.splits["unsplit"][0]["image"] == str(tmp_path / "TOF")


def test_a_folder_of_files_and_series(heads, tmp_path):
    for i in (1, 2):
        shutil.copy(heads[i], tmp_path / f"p{i}.nii.gz")
    write_series(tmp_path / "p3" / "TOF")
    assert names(choose_scans(tmp_path)) == {"unsplit": ["p1", "p2", "p3"]}


def test_plain_folders_and_a_bids_tree(heads, tmp_path):
    assert names(choose_scans(heads[0].parents[1])) == {"unsplit": ["sub-0", "sub-1", "sub-2"]}
    (tmp_path / "sub-1" / "ses-1" / "anat").mkdir(parents=True)
    shutil.copy(heads[0], tmp_path / "sub-1" / "ses-1" / "anat" / "sub-1_ses-1_angio.nii.gz")
    (item,) = choose_scans(tmp_path).splits["unsplit"]
    assert (item["subject"], item["patient"]) == ("sub-1_ses-1", "sub-1")


def test_files_by_a_pattern(heads, tmp_path):
    for name in ("p1_tof", "p1_label"):
        shutil.copy(heads[0], tmp_path / f"{name}.nii.gz")
    assert names(choose_scans(tmp_path, image="{subject}_tof.nii.gz")) == {"unsplit": ["p1"]}


def test_a_cohort_keeps_its_splits_and_items(heads, tmp_path):
    items = [{"subject": f"s{i}", "patient": "p", "image": str(path), "kind": "real"} for i, path in enumerate(heads)]
    path = write_cohort(tmp_path, {"training": items[:1], "test": items[1:]})
    expected = {"training": items[:1], "test": items[1:]}
    assert choose_scans(path).splits == choose_scans(tmp_path).splits == expected
    assert choose_scans(tmp_path, split="test").splits == {"test": items[1:]}
    with pytest.raises(InputError, match="no split validation"):
        choose_scans(tmp_path, split="validation")


def test_broken_scans_are_named_and_left_out(heads, tmp_path):
    shutil.copy(heads[0], tmp_path / "good.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes(heads[1].read_bytes()[:5000])
    for part in ("one", "two"):
        write_series(tmp_path / "twice" / part)
    write_series(tmp_path / "gap")
    (tmp_path / "gap" / "IM2.dcm").unlink()
    chosen = choose_scans(tmp_path)
    assert names(chosen) == {"unsplit": ["good"]} and chosen.n_refused == 3 == len(chosen.problems)
    told = sorted(chosen.problems)
    assert told[0].startswith("cut: cut.nii.gz: unreadable or truncated")
    assert told[1].startswith("gap: gap: 1 missing slices") and told[2].startswith("twice: 2 files or series match")


def test_an_earlier_segmentation_and_a_twin_are_told(heads, tmp_path):
    for name in ("a", "b", "a_vessels"):
        shutil.copy(heads[0], tmp_path / f"{name}.nii.gz")
    chosen = choose_scans(tmp_path)
    assert names(chosen) == {"unsplit": ["a", "b"]}
    assert "a_vessels.nii.gz: the segmentation of another scan; left out" in chosen.warnings
    assert "b: the same scan as a" in chosen.warnings


@pytest.mark.parametrize(
    ("name", "told"), [("none", "does not exist"), ("notes.txt", "no NIfTI file"), ("empty", "no image found by")]
)
def test_what_is_no_scan_is_refused(name, told, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=told):
        choose_scans(tmp_path / name)


def test_broken_scans_alone_are_an_error(tmp_path):
    (tmp_path / "cut.nii.gz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"cut: cut.nii.gz: unreadable"):
        choose_scans(tmp_path)
