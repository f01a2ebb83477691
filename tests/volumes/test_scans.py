from __future__ import annotations

import errno
import os

import pytest

from tofgan_monai import InputError
from tofgan_monai.volumes.scans import find_scans


@pytest.fixture
def store(tmp_path):
    """A folder with the subjects a, b and c in `store`, each with an image; the files are empty."""
    for name in "abc":
        (tmp_path / "store" / name).mkdir(parents=True)
        (tmp_path / "store" / name / "image.nii.gz").touch()
    (tmp_path / "views").mkdir()
    return tmp_path


def subjects(found):
    return [scan.subject for scan in found.scans]


def test_links_into_one_store_are_all_followed(store):
    for name in "abc":
        (store / "views" / name).symlink_to(f"../store/{name}")
    found = find_scans(store, image="views/{subject}/image.nii.gz")
    assert subjects(found) == ["a", "b", "c"] and found.warnings == []
    assert subjects(find_scans(store, image="store/{subject}/image.nii.gz")) == ["a", "b", "c"]


def test_labels_in_a_linked_folder_of_a_bids_tree_are_found(store):
    for name in "abc":
        for path in (f"bids/sub-{name}/anat/sub-{name}_angio", f"raters/sub-{name}/anat/sub-{name}_label-vessel_mask"):
            (store / path).parent.mkdir(parents=True)
            (store / f"{path}.nii.gz").touch()
    (store / "bids/derivatives").mkdir()
    (store / "bids/derivatives/vessels").symlink_to("../../raters")
    scans = find_scans(store / "bids").scans
    assert [scan.label.name for scan in scans] == [f"sub-{name}_label-vessel_mask.nii.gz" for name in "abc"]


def test_links_that_lead_up_or_nowhere_are_told(store):
    (store / "store/a/up").symlink_to("..")
    (store / "store/b/all").symlink_to(store)
    (store / "store/gone").symlink_to("nowhere")
    found = find_scans(store / "store")
    assert subjects(found) == ["a", "b", "c"]
    assert found.warnings == [
        "gone: a link to nowhere, which does not exist; not followed",
        "a/up: a link to a folder that it lies in; not followed",
        "b/all: a link to a folder that it lies in; not followed",
    ]


def test_two_folders_that_link_to_each_other_end(store):
    (store / "store/a/other").symlink_to("../b")
    (store / "store/b/other").symlink_to("../a")
    found = find_scans(store / "store")
    assert subjects(found) == ["a", "b", "c"] and len(found.warnings) == 2


def test_a_folder_that_cannot_be_read_is_told(store, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "a":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root reads every folder, whatever its permissions
    found = find_scans(store / "store")
    assert subjects(found) == ["b", "c"] and "a: a folder that cannot be read (Permission denied)" in found.warnings[0]


def test_other_formats_are_named_and_labels_in_them_found_by_a_pattern(store):
    for name in ("a/label.seg.nrrd", "b/label.seg.nrrd", "c/label.seg.nrrd", "d/image.mha"):
        (store / "store" / name).parent.mkdir(exist_ok=True)
        (store / "store" / name).touch()
    (warning,) = find_scans(store / "store").warnings
    assert "4 volumes passed over: a/label.seg.nrrd, " in warning and "convert images to NIfTI" in warning
    found = find_scans(store / "store", label="{subject}/label.seg.nrrd")
    assert [scan.label.name for scan in found.scans] == ["label.seg.nrrd"] * 3
    assert "1 volumes passed over: d/image.mha" in found.warnings[0]
    with pytest.raises(InputError, match=r"passed over: a/label\.seg\.nrrd.* convert images to NIfTI"):
        find_scans(store / "store", image="{subject}/image.mha")


@pytest.mark.parametrize("name", ["old.img", "old.hdr", "old.nhdr", "old.mhd", "old.mgz", "old.Nii.gz"])
def test_every_other_format_is_named(store, name):
    (store / "store/a" / name).touch()
    (warning,) = find_scans(store / "store").warnings
    assert warning.startswith(f"1 volumes passed over: a/{name}; convert images to NIfTI")


def test_capitals_in_the_ending(store):
    (store / "store/a/image.nii.gz").rename(store / "store/a/image.NII.GZ")
    (store / "store/b/image.nii.gz").rename(store / "store/b/image.nii.GZ")
    assert subjects(find_scans(store / "store")) == ["a", "b", "c"]


def test_sessions(tmp_path):
    for name in ("sub-1_ses-a_angio.nii.gz", "sub-1_ses-b_angio.nii.gz", "sub-2_angio.nii.gz"):
        (tmp_path / name).touch()
    assert [scan.session for scan in find_scans(tmp_path, image="{subject}_angio.nii.gz").scans] == [
        "ses-a",
        "ses-b",
        "",
    ]
