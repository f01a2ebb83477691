"""A DICOM SEG has the label's voxels where the series has them, whoever reads it, and says what it is."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import highdicom
import itk
import numpy as np
import pydicom
import pytest

from tests.helpers.dicom import write_slice
from tofgan_monai import InputError
from tofgan_monai.installation import EXTRAS
from tofgan_monai.volumes.dicom import read_series
from tofgan_monai.volumes.dicom_seg import Algorithm, write_seg, write_seg_beside
from tofgan_monai.volumes.itk_files import as_ras
from tofgan_monai.volumes.reading import onto_grid
from tofgan_monai.volumes.volume import Volume
from tofgan_monai.volumes.writing import write_label

ALGORITHM = Algorithm("tof_mra_vessel_segmentation_3d", "0.1.0", "5e" * 32)
N = 6
C, S = (float(x) for x in np.round((np.cos(0.3), np.sin(0.3)), 6))
STACKS = {  # direction cosines of the slices, and the way from a slice to the one above it
    "axial": ((1, 0, 0, 0, 1, 0), (0, 0, 1)),
    "oblique": ((1, 0, 0, 0, C, S), (0, -S, C)),
    "feet first in the file": ((1, 0, 0, 0, -1, 0), (0, 0, 1)),  # the normal of the slices points to the feet
    "sagittal": ((0, 1, 0, 0, 0, -1), (1, 0, 0)),
}


def write_series(folder: Path, stack: str = "axial", **tags) -> Path:
    """A series of N slices of 20 rows and 22 columns; names are sorted against the places."""
    directions, way = STACKS[stack]
    for i in range(N):
        place = tuple(np.round(np.array([-30.0, -25.0, 5.0]) + 0.7 * i * np.array(way), 5))
        voxels = np.random.default_rng(i).integers(0, 1000, (20, 22))
        write_slice(folder / f"IM{N - i}.dcm", voxels, place, directions=directions, **tags)
    return folder


def changed(folder: Path, **tags) -> Path:
    """The series with other values of tags in each file; None removes a tag."""
    for path in folder.iterdir():
        one = pydicom.dcmread(path)
        for name, value in tags.items():
            if value is None:
                one.pop(name, None)
            else:
                setattr(one, name, value)
        one.save_as(path)
    return folder


def a_label(shape: tuple[int, ...]) -> np.ndarray:
    """A label with an empty slice in the middle and another at the end, unlike any of its mirror images."""
    label = (np.random.default_rng(7).random(shape) < 0.1).astype(np.uint8)
    label[..., 2] = label[..., -1] = 0
    return label


@pytest.fixture
def series(tmp_path) -> Path:
    return write_series(tmp_path / "series")


def written(path: Path, series: Path, label: np.ndarray | None = None) -> highdicom.seg.Segmentation:
    voxels, affine = read_series(series)
    write_seg(path, a_label(voxels.shape) if label is None else label, affine, series=series, algorithm=ALGORITHM)
    return highdicom.seg.segread(path)


def by_itk(path: Path) -> Volume:
    return Volume(*as_ras(itk.imread(str(path), itk.F)))


def by_highdicom(path: Path) -> Volume:
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True).to_patient_orientation("RAS")
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return Volume(volume.array, flip @ volume.affine)


@pytest.mark.parametrize("read", [by_itk, by_highdicom])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("kind", ["some", "none", "all"])
def test_the_same_voxels_in_the_same_place(tmp_path, read, stack, kind):
    voxels, affine = read_series(write_series(tmp_path / "series", stack))
    label = {"some": a_label(voxels.shape), "none": np.zeros(voxels.shape), "all": np.ones(voxels.shape)}[kind]
    write_seg(tmp_path / "seg.dcm", label, affine, series=tmp_path / "series", algorithm=ALGORITHM)
    back = onto_grid(read(tmp_path / "seg.dcm"), Volume(label, affine))  # refuses another grid
    assert np.array_equal(back.voxels > 0, label > 0)
    assert pydicom.dcmread(tmp_path / "seg.dcm").NumberOfFrames == N


def test_a_label_with_flipped_axes_is_turned_to_the_series(tmp_path, series):
    voxels, affine = read_series(series)
    label = a_label(voxels.shape)
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = voxels.shape[0] - 1
    write_seg(tmp_path / "seg.dcm", label[::-1], affine @ flip, series=series, algorithm=ALGORITHM)
    assert np.array_equal(onto_grid(by_itk(tmp_path / "seg.dcm"), Volume(label, affine)).voxels > 0, label > 0)


def test_it_refers_to_every_source_image_at_its_place(tmp_path, series):
    seg = written(tmp_path / "seg.dcm", series)
    sources = {one.SOPInstanceUID: one for one in (pydicom.dcmread(path) for path in series.iterdir())}
    assert {uid for _, _, uid in seg.get_source_image_uids()} == set(sources)
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert place == sources[source.ReferencedSOPInstanceUID].ImagePositionPatient


def test_it_names_artery_algorithm_and_purpose(tmp_path, series):
    seg = written(tmp_path / "seg.dcm", series)
    (segment,) = seg.SegmentSequence
    (kind,) = segment.SegmentedPropertyTypeCodeSequence
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("51114001", "SCT", "Artery")
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ALGORITHM[:2]
    assert algorithm.AlgorithmParameters == f"weights_sha256={ALGORITHM.weights_digest}"
    assert (seg.SegmentationType, segment.SegmentNumber) == ("BINARY", 1)
    for text in (seg.SeriesDescription, seg.ContentDescription, segment.SegmentDescription):
        assert "research only, not for diagnosis" in text
    assert seg.ContentQualification == "RESEARCH" and seg.ContentCreatorName == ""


def test_it_carries_the_identifiers_of_its_source(tmp_path, series):
    given = {"PatientID": "P 17", "PatientBirthDate": "19500102", "AccessionNumber": "A5", "StudyDate": "20260131"}
    changed(series, PatientName="Müller^Änne", SpecificCharacterSet="ISO_IR 192", **given)
    written(tmp_path / "seg.dcm", series)
    seg, source = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(next(series.iterdir()))
    for name in (*given, "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[name].value == source[name].value, name
    assert seg.PatientName.family_name == "Müller"
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID


def test_the_same_label_has_the_same_uids_and_another_one_others(tmp_path, series):
    shape = read_series(series)[0].shape
    first, again = (written(tmp_path / name, series) for name in ("1.dcm", "2.dcm"))
    other = written(tmp_path / "3.dcm", series, np.zeros(shape))
    assert (first.SOPInstanceUID, first.SeriesInstanceUID) == (again.SOPInstanceUID, again.SeriesInstanceUID)
    assert first.SOPInstanceUID != other.SOPInstanceUID and first.SeriesInstanceUID != other.SeriesInstanceUID


def test_attributes_that_may_be_empty_may_be_missing(tmp_path, series):
    changed(series, PatientID=None, PatientBirthDate=None, AccessionNumber=None, StudyID=None, SeriesNumber=None)
    seg = written(tmp_path / "seg.dcm", series)
    assert (seg.PatientID, seg.AccessionNumber, seg.SeriesNumber) == ("", "", 1000)


@pytest.mark.parametrize("name", ["FrameOfReferenceUID", "StudyInstanceUID", "SOPInstanceUID"])
def test_a_series_without_a_uid_is_refused(tmp_path, series, name):
    changed(series, **{name: None})
    with pytest.raises(InputError, match=f"series: the images have no {name}.*export the series again"):
        written(tmp_path / "seg.dcm", series)
    assert not (tmp_path / "seg.dcm").exists()


def test_what_highdicom_refuses_is_told_in_one_line(tmp_path, series):
    changed(series, PatientSex="unknown")
    with pytest.raises(InputError, match=r"no DICOM SEG can refer to these images \(ValueError: .*unknown") as caught:
        written(tmp_path / "seg.dcm", series)
    assert len(caught.value.problems) == 1 and not (tmp_path / "seg.dcm").exists()


@pytest.mark.parametrize("move", ["shape", "origin", "spacing"])
def test_a_label_of_another_grid_is_refused(tmp_path, series, move):
    voxels, affine = read_series(series)
    label = a_label(voxels.shape)
    if move == "shape":
        label = label[:, :, 1:]
    elif move == "origin":
        affine[2, 3] += 0.7
    else:
        affine[:3, 0] *= 1.1
    with pytest.raises(InputError, match=f"{move} .*differs from the image's"):
        write_seg(tmp_path / "seg.dcm", label, affine, series=series, algorithm=ALGORITHM)
    assert not (tmp_path / "seg.dcm").exists()


def test_a_seg_beside_a_nifti_label(tmp_path, series):
    voxels, affine = read_series(series)
    label = a_label(voxels.shape)
    write_label(label, tmp_path / "sub.1_vessels.nii.gz", affine=affine)
    path = write_seg_beside(tmp_path / "sub.1_vessels.nii.gz", series, ALGORITHM)
    assert path == tmp_path / "sub.1_vessels.dcm"
    assert np.array_equal(onto_grid(by_itk(path), Volume(label, affine)).voxels > 0, label > 0)


def test_no_identifier_is_logged(tmp_path, series, caplog):
    with caplog.at_level(logging.INFO):
        written(tmp_path / "seg.dcm", series)
    assert caplog.text == ""


def test_without_the_extra_one_line_names_it(tmp_path, series, monkeypatch):
    monkeypatch.setitem(EXTRAS["dicom"].packages, "highdicom", (99,))
    with pytest.raises(InputError, match=r"needs the extra dicom \(highdicom 99 or newer not found\); run pip install"):
        written(tmp_path / "seg.dcm", series)


def test_no_package_of_the_extra_is_imported_without_need():
    code = "import sys, tofgan_monai.volumes.dicom_seg; print({'highdicom', 'dicomweb_client'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
