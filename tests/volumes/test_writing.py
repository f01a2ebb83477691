from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from tofgan_monai import InputError, ReadScand, WriteLabeld
from tofgan_monai.volumes.writing import write_label

SHEARED = np.array([[0.5, 0.1, 0, -10], [0, 0.6, 0, -20], [0, 0, 0.7, 5], [0, 0, 0, 1.0]])
VALUES = np.array([0.99999994, -1.0, 0.4, 300.0]).reshape(4, 1, 1)


def test_label_takes_the_scans_geometry_codes_and_units(tmp_path):
    scan = nibabel.Nifti1Image(np.zeros((4, 1, 1), np.float32), SHEARED)
    scan.set_sform(SHEARED, 4)
    scan.header.set_xyzt_units("mm", "sec")
    scan.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Muster"))
    scan.header["descrip"] = b"Muster"
    nibabel.save(scan, tmp_path / "scan.nii.gz")
    write_label(VALUES, tmp_path / "label.nii.gz", affine=np.eye(4), like=tmp_path / "scan.nii.gz")
    label = nibabel.load(tmp_path / "label.nii.gz")
    assert np.allclose(label.affine, SHEARED, atol=1e-6)
    assert (int(label.header["sform_code"]), int(label.header["qform_code"])) == (4, 0)
    assert label.header.get_xyzt_units() == ("mm", "sec")
    assert label.get_data_dtype() == np.uint8
    assert b"Muster" not in label.to_bytes()


def test_values_are_rounded_and_clipped(tmp_path):
    write_label(VALUES, tmp_path / "label.nii.gz", affine=np.eye(4))
    assert np.asarray(nibabel.load(tmp_path / "label.nii.gz").dataobj).ravel().tolist() == [1, 0, 0, 255]


def test_without_a_nifti_scan_both_codes_are_set(tmp_path):
    affine = np.diag([-0.5, -0.5, 0.7, 1])
    write_label(VALUES, tmp_path / "label.nii.gz", affine=affine)
    label = nibabel.load(tmp_path / "label.nii.gz")
    assert np.allclose(label.get_qform(coded=True)[0], affine)
    assert np.allclose(label.get_sform(coded=True)[0], affine)
    assert label.header.get_xyzt_units()[0] == "mm"


def test_other_shape_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 2, 1)), np.eye(4)), tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match="shape"):
        write_label(VALUES, tmp_path / "label.nii.gz", affine=np.eye(4), like=tmp_path / "scan.nii.gz")


def test_prediction_is_named_after_its_subject_or_its_file(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 1, 1)), SHEARED), tmp_path / "scan.nii.gz")
    (tmp_path / "scan.nii.gz").rename(tmp_path / "scan.NII.GZ")  # as some systems write it
    image = ReadScand("image")({"image": str(tmp_path / "scan.NII.GZ")})["image"]
    pred = MetaTensor(torch.ones(1, 4, 1, 1))
    writer = WriteLabeld("pred", tmp_path / "out")
    writer({"image": image, "pred": pred, "subject": "sub-01"})
    writer({"image": image, "pred": pred})
    writer({"image": image, "pred": pred, "subject": "../../sub-02"})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".._.._sub-02_vessels.nii.gz",
        "scan_vessels.nii.gz",
        "sub-01_vessels.nii.gz",
    ]
