"""Exports: each form is read back by another library, with the stack's values and the geometry of its manifest."""

from __future__ import annotations

import json
import logging
import sys

import h5py
import itk
import nibabel
import numpy as np
import pytest
from PIL import Image

from tests.helpers.refusals import refused
from tofgan_monai import export_stack, open_stack
from tofgan_monai.pairs.export import FORMS

N = 5
VOLUMES = [
    {"patient": 0, "n_vessel": 2, "n_random": 1, "spacing_mm": [0.5, 0.6, 0.8]},
    {"patient": 1, "n_vessel": 1, "n_random": 1, "spacing_mm": [0.4, 0.4, 0.7]},
]
SIMULATED = {"kind": "simulated", "simulation": [2], "volumes": VOLUMES}
NAMES = [f"patient{patient:03d}_pair_{index:06d}" for index, patient in enumerate((0, 0, 0, 1, 1))]


@pytest.fixture
def stack(tmp_path, write_pairs):
    return write_pairs(tmp_path / "stack.npy", N, **SIMULATED)


def channels(stack):
    pairs = open_stack(stack)[0].astype(np.float32)
    return pairs[:, 0], pairs[:, 1] > 0


def test_nnunet_finds_its_layout_with_the_geometry_of_each_pair(stack, tmp_path):
    folder = tmp_path / "Dataset501_TOFpairs"
    assert export_stack(stack, folder, "nnunet") == N
    told = json.loads((folder / "dataset.json").read_text())
    assert told["channel_names"] == {"0": "TOF-MRA"} and told["labels"] == {"background": 0, "vessel": 1}
    assert told["numTraining"] == N and told["file_ending"] == ".nii.gz" and told["kind"] == "simulated"
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [f"{name}_0000.nii.gz" for name in NAMES]
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == [f"{name}.nii.gz" for name in NAMES]
    images, labels = channels(stack)
    for index, name in enumerate(NAMES):
        image = nibabel.load(folder / "imagesTr" / f"{name}_0000.nii.gz")
        label = nibabel.load(folder / "labelsTr" / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj)[..., 0], images[index])
        np.testing.assert_array_equal(np.asarray(label.dataobj)[..., 0], labels[index])
        assert image.get_data_dtype() == np.float32 and label.get_data_dtype() == np.uint8
        spacing = VOLUMES[index // 3]["spacing_mm"]
        for volume in (image, label):  # RAS, as the slices were cut
            assert np.allclose(volume.affine, np.diag([*spacing, 1])) and volume.shape == (96, 96, 1)
            assert (int(volume.header["sform_code"]), int(volume.header["qform_code"])) == (1, 1)
        by_itk = itk.imread(str(folder / "imagesTr" / f"{name}_0000.nii.gz"))
        assert np.allclose(list(by_itk.GetSpacing()), spacing) and np.allclose(list(by_itk.GetOrigin()), 0)
        assert np.allclose(itk.array_from_matrix(by_itk.GetDirection()), np.diag([-1, -1, 1]))


def test_nifti_has_the_same_files_under_plain_names(stack, tmp_path):
    export_stack(stack, tmp_path / "out", "nifti", spacing_mm=(0.3, 0.2))
    label = nibabel.load(tmp_path / "out" / "labels" / f"{NAMES[4]}.nii.gz")
    np.testing.assert_array_equal(np.asarray(label.dataobj)[..., 0], channels(stack)[1][4])
    assert np.allclose(label.header.get_zooms(), (0.3, 0.2, 0.7))  # the distance of slices is the manifest's
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["values"]["label"] == "0 background, 1 vessel"


def test_png_gives_the_values_back_as_dataset_json_says(stack, tmp_path):
    export_stack(stack, tmp_path / "out", "png")
    told = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert told["values"]["image"].startswith("16 bits: value = grey / 65535 * 2 - 1")
    assert told["spacing_mm"] == [[0.4, 0.4, 0.7], [0.5, 0.6, 0.8]] and told["n"] == N
    images, labels = channels(stack)
    for index, name in enumerate(NAMES):
        grey = np.asarray(Image.open(tmp_path / "out" / "images" / f"{name}.png"))
        marks = np.asarray(Image.open(tmp_path / "out" / "labels" / f"{name}.png"))
        assert grey.dtype == np.uint16 and np.abs(grey / 65535 * 2 - 1 - images[index]).max() <= 1 / 65535
        np.testing.assert_array_equal(marks, np.where(labels[index], 255, 0))


def test_hdf5_holds_all_pairs_and_says_what_they_are(stack, tmp_path):
    export_stack(stack, tmp_path / "out", "hdf5")
    images, labels = channels(stack)
    with h5py.File(tmp_path / "out" / "pairs.h5") as file:
        np.testing.assert_array_equal(file["image"], images)
        np.testing.assert_array_equal(file["label"], labels)
        assert [name.decode() for name in file["name"]] == NAMES
        assert file["spacing_mm"][3].tolist() == [0.4, 0.4, 0.7]
        assert file.attrs["kind"] == "simulated" and file.attrs["simulation"].tolist() == [2]
        assert file["image"].attrs["values"].startswith("float32 in [-1, 1]")


def test_unknown_pixel_size_and_real_patients_are_told(tmp_path, write_pairs, caplog):
    stack = write_pairs(tmp_path / "a.npy", 2, kind="synthetic", weights_sha256="ab" * 32)
    with caplog.at_level(logging.WARNING):
        export_stack(stack, tmp_path / "out", "nifti")
    assert "a.npy: the size of a pixel is not known and is written as 1 mm; give --spacing X,Y" in caplog.text
    assert nibabel.load(tmp_path / "out" / "images" / "pair_000000.nii.gz").header.get_zooms() == (1, 1, 1)
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["made_with"] == {"weights_sha256": "ab" * 32}
    assert "real patients" not in caplog.text
    stack = write_pairs(tmp_path / "b.npy", 2)  # of a kind that nobody states
    with caplog.at_level(logging.WARNING):
        export_stack(stack, tmp_path / "out_b", "png", spacing_mm=(0.5, 0.5))
    assert "b.npy holds pairs of real patients" in caplog.text and "must stay where their scans stay" in caplog.text


@pytest.mark.parametrize(
    ("folder", "form", "spacing_mm", "told"),
    [
        ("pairs", "nnunet", None, r"name the folder as in Dataset501_TOFpairs"),
        ("full", "png", None, "full exists already; give a new folder"),
        ("out", "nifti", (0.5,), r"--spacing 0.5: not the two edges .*, as --spacing 0.5,0.5"),
        ("out", "nifti", (0.5, -1), r"--spacing 0.5,-1: not the two edges"),
        ("out", "nifti", (0.5, float("nan")), r"--spacing .*not the two edges"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(stack, tmp_path, folder, form, spacing_mm, told):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("")
    refused(told, export_stack, stack, tmp_path / folder, form, spacing_mm=spacing_mm)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "stack.json", "stack.npy"]


def test_hdf5_without_h5py_names_the_extra(stack, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(r"pip install 'tofgan-monai\[release\]'", export_stack, stack, tmp_path / "out", "hdf5")


@pytest.mark.parametrize("form", FORMS)
def test_full_disk_leaves_no_half_export(stack, tmp_path, form, full_disk):
    folder = tmp_path / "Dataset501_pairs"
    with full_disk(20):
        refused("cannot be written", export_stack, stack, folder, form)
    assert not folder.exists()
