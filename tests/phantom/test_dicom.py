"""The simulated heads as DICOM series: the same head as in NIfTI, and no patient."""

from __future__ import annotations

import nibabel
import numpy as np
import pydicom
import pytest

from tofgan_monai import InputError, check_cohort, read_cohort
from tofgan_monai.installation import EXTRAS
from tofgan_monai.phantom import Head, simulate_head, write_heads
from tofgan_monai.phantom.cohorts import write_head
from tofgan_monai.phantom.dicom import write_series
from tofgan_monai.phantom.sources import VERSION
from tofgan_monai.volumes.reading import read_scan
from tofgan_monai.volumes.volume import load_volume, simulation_version, to_ras


@pytest.fixture(scope="module", params="AC")
def head(request) -> Head:
    return simulate_head(request.param, 10_000, small=True)


def test_a_series_is_the_nifti_of_the_head(tmp_path, head: Head) -> None:
    write_head(tmp_path / "sub-X", head)
    write_head(tmp_path / "sub-X", head, dicom=True)
    series, nifti = to_ras(load_volume(tmp_path / "sub-X" / "image")), nibabel.load(tmp_path / "sub-X" / "image.nii.gz")
    assert np.array_equal(series.voxels, nifti.get_fdata())
    np.testing.assert_allclose(series.affine, nifti.affine, atol=1e-4)


def test_rows_run_to_the_left_and_columns_to_the_back(tmp_path, head: Head) -> None:
    write_head(tmp_path, head, dicom=True)
    orientation = pydicom.dcmread(tmp_path / "image" / "IM0001.dcm").ImageOrientationPatient
    assert orientation[0] > 0.9 and orientation[4] > 0.9  # DICOM's axes run to the left, to the back and up


def test_each_file_says_that_it_is_simulated(tmp_path, head: Head) -> None:
    write_head(tmp_path / "sub-X", head, dicom=True)
    slices = [pydicom.dcmread(path) for path in sorted((tmp_path / "sub-X" / "image").iterdir())]
    assert len(slices) == head.image.shape[2] and len({one.SOPInstanceUID for one in slices}) == len(slices)
    for number, one in enumerate(slices, start=1):
        assert (one.PatientName, one.PatientID) == ("Simulated^sub-X", "sub-X")
        assert one.ImageComments == one.PatientComments == f"simulated by tofgan phantom, version {VERSION}"
        assert one.QualityControlImage == one.QualityControlSubject == "YES"
        assert "simulated" in one.SeriesDescription and one.InstanceNumber == number
        assert one.SOPClassUID.name == "MR Image Storage"
        assert np.array_equal(one.pixel_array.T[::-1, ::-1], head.image[..., number - 1])


def test_a_head_has_the_same_bytes_and_another_shape_other_uids(tmp_path, head: Head) -> None:
    cropped = Head(head.image[:-1], head.label[:-1], head.mask[:-1], head.affine, head.parameters)
    for name, one in (("first", head), ("again", head), ("cropped", cropped)):
        write_head(tmp_path / name / "sub-X", one, dicom=True)
    first, again, other = (tmp_path / name / "sub-X" / "image" for name in ("first", "again", "cropped"))
    assert [path.read_bytes() for path in sorted(first.iterdir())] == [p.read_bytes() for p in sorted(again.iterdir())]
    one, odd = (pydicom.dcmread(folder / "IM0001.dcm") for folder in (first, other))
    assert one.StudyInstanceUID != odd.StudyInstanceUID and one.SOPInstanceUID != odd.SOPInstanceUID


def test_a_cohort_of_series_is_found_and_counts_as_simulated(tmp_path, head: Head) -> None:
    write_head(tmp_path / "sub-X", head, dicom=True)
    report = check_cohort(tmp_path, tmp_path, no_split=True)
    (item,) = read_cohort(report.path, "all")
    assert (item["kind"], item["simulation"]) == ("simulated", VERSION)
    read = read_scan(item)
    assert read["label"].voxels.sum() == head.label.sum()
    assert read["image"].voxels[read["label"].voxels > 0].sum() == head.image[head.label > 0].sum()


def test_another_comment_is_no_simulation(tmp_path, head: Head) -> None:
    write_head(tmp_path, head, dicom=True)
    path = tmp_path / "image" / "IM0001.dcm"
    one = pydicom.dcmread(path)
    one.ImageComments = "a scanner"
    one.save_as(path)
    assert simulation_version(tmp_path / "image") is None


def test_a_full_disk_leaves_no_folder(tmp_path, head: Head, full_disk) -> None:
    with full_disk(5000), pytest.raises(InputError, match=r"/image cannot be written \(File too large\); free"):
        write_series(tmp_path / "image", head, "sub-X")
    assert not list(tmp_path.iterdir())


def test_without_the_extra_one_line_names_it_before_any_work(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(EXTRAS["dicom"].packages, "a-package-that-is-not-here", (1,))
    monkeypatch.setitem(EXTRAS["dicom"].packages, "pydicom", (99,))
    with pytest.raises(InputError) as caught:
        write_heads(tmp_path / "heads", "A", [10_000], dicom=True)
    (line,) = caught.value.problems
    assert "extra dicom (pydicom 99 or newer, a-package-that-is-not-here 1 or newer not found)" in line
    assert 'pip install "tofgan-monai[dicom]"' in line and not (tmp_path / "heads").exists()


def test_a_head_that_is_there_in_the_other_form_is_refused(tmp_path) -> None:
    for name in ("nifti/sub-A00001/image.nii.gz", "nifti/sub-A00002/image.nii.gz", "dicom/sub-A00001/image/IM0001.dcm"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    told = r"sub-A00001/image.nii.gz and 1 more: the head is there .*; choose another folder, or leave --dicom out"
    with pytest.raises(InputError, match=told):
        write_heads(tmp_path / "nifti", "A", range(3), dicom=True)
    with pytest.raises(InputError, match=r"sub-A00001/image: the head is there .*; choose another folder, or add --d"):
        write_heads(tmp_path / "dicom", "A", range(3))
    assert not (tmp_path / "nifti" / "sub-A00000").exists()
