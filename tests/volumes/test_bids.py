"""BIDS trees: where labels of their scans go, how they are described, and that they are no labels to train on."""

from __future__ import annotations

import json

import pytest

from tests.helpers.refusals import refused
from tofgan_monai.volumes.bids import as_derivative, default_output, describe_derivative, label_path, own_derivatives
from tofgan_monai.volumes.cohort import check_cohort
from tofgan_monai.volumes.scans import find_scans
from tofgan_monai.volumes.writing import label_file

NAMES = ("sub-01/anat/sub-01_acq-tof", "sub-02/ses-b/anat/sub-02_ses-b_run-1")
MADE_BY = ("net", "0.2.0", "ab" * 32)


@pytest.fixture
def tree(tmp_path):
    """A BIDS tree of two scans."""
    for name in NAMES:
        (tmp_path / "bids" / name).parent.mkdir(parents=True)
        (tmp_path / "bids" / f"{name}_angio.nii.gz").touch()
    described = {"Name": "x", "BIDSVersion": "1.10.0", "DatasetDOI": "doi:10.5/x"}
    (tmp_path / "bids" / "dataset_description.json").write_text(json.dumps(described))
    return tmp_path / "bids"


@pytest.fixture
def splits(tree):
    return {"unsplit": [{"subject": name[-6:], "image": str(tree / f"{name}_angio.nii.gz")} for name in NAMES]}


@pytest.mark.parametrize(
    ("image", "label"),
    [
        (f"{NAMES[0]}_angio.nii.gz", f"{NAMES[0]}_label-vessel_mask.nii.gz"),
        (f"{NAMES[1]}_angio.nii", f"{NAMES[1]}_label-vessel_mask.nii.gz"),
        ("sub-01/anat/sub-01_T1w.nii.gz", None),
        ("anat/sub-01_angio.nii.gz", None),
        ("../other/sub-01/anat/sub-01_angio.nii.gz", None),
    ],
)
def test_label_lies_where_its_scan_does_in_the_tree(tree, image, label):
    assert label_path(tree / image, tree) == label


def test_items_of_a_tree_get_the_path_of_their_label(tree, splits, tmp_path):
    named, found = as_derivative(tree, splits)
    assert found == tree and named["unsplit"][0] == {
        **splits["unsplit"][0],
        "segmentation": f"{NAMES[0]}_label-vessel_mask.nii.gz",
    }
    assert as_derivative(tree / "cohort.json", splits) == (named, tree)
    elsewhere = {"unsplit": [*splits["unsplit"], {"image": str(tmp_path / "a.nii.gz")}]}
    assert as_derivative(tree, elsewhere) == (elsewhere, None)
    assert as_derivative(tmp_path, splits) == (splits, None)


def test_output_of_a_tree_is_its_derivative_and_anything_else_needs_one(tree, tmp_path):
    assert default_output(tree) == tree / "derivatives/tofgan"
    refused("is no BIDS tree.*give an output folder", default_output, tmp_path)
    (tree / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    refused("is no BIDS tree", default_output, tree)


def test_derivative_is_described(tree, splits):
    items = as_derivative(tree, splits)[0]["unsplit"]
    folder = default_output(tree)
    describe_derivative(folder, tree, items, MADE_BY)
    described = json.loads((folder / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative" and described["DatasetLinks"] == {"raw": "../.."}
    assert described["SourceDatasets"] == [{"URL": "../..", "DOI": "doi:10.5/x"}]
    (maker,) = described["GeneratedBy"]
    assert maker["Name"] == "tofgan_monai" and maker["Description"] == f"bundle net 0.2.0, weights {'ab' * 32}"
    sidecar = json.loads((folder / f"{NAMES[1]}_label-vessel_mask.json").read_text())
    assert sidecar["Sources"] == [f"bids:raw:{NAMES[1]}_angio.nii.gz"] and sidecar["Type"] == "ROI"
    assert "*_vessels.jpg\n" in (folder / ".bidsignore").read_text()
    assert "not for diagnosis" in (folder / "README").read_text()
    assert str(tree) not in "".join(path.read_text() for path in folder.rglob("*") if path.is_file())


def test_check_says_why_own_segmentations_are_no_labels(tree, splits, caplog):
    items = as_derivative(tree, splits)[0]["unsplit"]
    folder = default_output(tree)
    describe_derivative(folder, tree, items, MADE_BY)
    for item in items:
        (folder / item["segmentation"]).touch()
    refused("no label found for any of 2 scans", check_cohort, tree, tree / "cohort.json")
    assert "warning: derivatives/tofgan: segmentations by this program, not taken as labels" in caplog.text
    assert not (tree / "cohort.json").exists()


def test_own_segmentations_are_not_taken_as_labels(tree, splits):
    items = as_derivative(tree, splits)[0]["unsplit"]
    folder = default_output(tree)
    describe_derivative(folder, tree, items, MADE_BY)
    for item in items:
        (folder / item["segmentation"]).touch()
    assert own_derivatives(tree) == ["derivatives/tofgan"]
    found = find_scans(tree)
    assert [scan.label for scan in found.scans] == [None, None]
    (warning,) = found.warnings
    assert warning.startswith("derivatives/tofgan: segmentations by this program, not taken as labels")
    pattern = warning.split("--label '")[1].rstrip("'")
    assert all(scan.label for scan in find_scans(tree, label=pattern).scans)  # as the warning says
    (folder / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "a person"}]}')
    assert all(scan.label for scan in find_scans(tree).scans)


@pytest.mark.parametrize("path", ["/etc/x.nii.gz", "../x.nii.gz", "a/../../x.nii.gz"])
def test_label_stays_in_the_output_folder(path):
    refused("leads out of the output folder", label_file, {"segmentation": path}, "scan.nii.gz")
