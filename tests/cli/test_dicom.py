"""`tofgan segment` on DICOM: a SEG beside each label, from an archive and back into it, and what is refused at once."""

from __future__ import annotations

import io
import logging
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from tests.helpers.dicomweb import archive
from tofgan_monai import check_cohort
from tofgan_monai.bundle_runs import runs
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.cli import app
from tofgan_monai.installation import EXTRAS
from tofgan_monai.phantom import simulate_head
from tofgan_monai.phantom.cohorts import write_head
from tofgan_monai.training.weights import weights_file_digest
from tofgan_monai.volumes.dicomweb import PASSWORD, USER
from tofgan_monai.volumes.itk_files import read_itk
from tofgan_monai.volumes.reading import onto_grid
from tofgan_monai.volumes.volume import Volume, load_volume

BUNDLE = "tof_mra_vessel_segmentation_3d"
BRIGHT = ("--network", "$lambda windows: windows - 500", "--label-only")  # in place of the network: what is bright


def tofgan(*words):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """Two scans, one a DICOM series and one NIfTI."""
    folder = tmp_path_factory.mktemp("cohort")
    head = simulate_head("A", 10_000, small=True)
    write_head(folder / "series" / "sub-1", head, dicom=True)
    write_head(folder / "nifti" / "sub-2", head)
    check_cohort(folder / "series", folder / "series", no_split=True)
    check_cohort(folder / "nifti", folder / "nifti", no_split=True)
    return folder


@pytest.fixture
def ran(monkeypatch):
    """What `run_bundle` was called with; nothing is segmented."""
    calls = []
    monkeypatch.setattr(runs, "run_bundle", lambda *call: calls.append(call))
    return calls


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch, tmp_path):
    monkeypatch.delenv(USER, raising=False)
    monkeypatch.delenv(PASSWORD, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def assert_same(seg: Path, label: Path) -> None:
    found = load_volume(label)
    assert found.voxels.any()
    assert np.array_equal(onto_grid(Volume(*read_itk(seg)), found).voxels > 0, found.voxels > 0)


def test_a_series_gets_a_seg_by_default(cohort, tmp_path):
    assert tofgan("segment", cohort / "series", tmp_path, *BRIGHT).exit_code == 0
    assert_same(tmp_path / "sub-1_vessels.dcm", tmp_path / "sub-1_vessels.nii.gz")
    (segment,) = pydicom.dcmread(tmp_path / "sub-1_vessels.dcm").SegmentSequence
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    digest = weights_file_digest(bundle_path(BUNDLE) / "models" / "model.pt")
    assert (algorithm.AlgorithmName, algorithm.AlgorithmParameters) == (BUNDLE, f"weights_sha256={digest}")


def test_a_folder_of_slices_beside_which_the_seg_is_written(cohort, tmp_path):
    shutil.copytree(cohort / "series" / "sub-1" / "image", tmp_path / "tof")
    for _ in range(2):  # the SEG of the first run is no slice of the second
        assert tofgan("segment", tmp_path / "tof", tmp_path / "tof", *BRIGHT).exit_code == 0
    assert_same(tmp_path / "tof" / "tof_vessels.dcm", tmp_path / "tof" / "tof_vessels.nii.gz")


def test_no_seg_where_none_is_wanted_or_possible(cohort, tmp_path, ran):
    assert tofgan("segment", cohort / "series", tmp_path, "--no-dicom-seg").exit_code == 0
    assert tofgan("segment", cohort / "nifti", tmp_path).exit_code == 0
    assert len(ran) == 2 and [path.name for path in tmp_path.iterdir()] == ["scans.json"]
    result = tofgan("segment", cohort / "nifti", tmp_path, "--dicom-seg")
    assert "no scan is a DICOM series" in str(result.exception) and len(ran) == 2


def test_without_the_extra_one_line_or_a_refusal(cohort, tmp_path, monkeypatch, caplog, ran):
    monkeypatch.setitem(EXTRAS["dicom"].packages, "highdicom", (99,))
    assert tofgan("segment", cohort / "series", tmp_path).exit_code == 0
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "no DICOM SEG is written, as the extra dicom is not installed (highdicom 99" in record.getMessage()
    assert len(ran) == 1 and [path.name for path in tmp_path.iterdir()] == ["scans.json"]
    result = tofgan("segment", tmp_path / "not looked at", tmp_path, "--dicom-seg")
    assert "--dicom-seg needs the extra dicom" in str(result.exception) and len(ran) == 1


def test_from_an_archive_and_back(cohort, tmp_path, monkeypatch):
    monkeypatch.setenv(USER, "anna")
    monkeypatch.setenv(PASSWORD, "secret")
    with archive(login=("anna", "secret")) as stub:
        stub.take(cohort / "series" / "sub-1" / "image")
        source = stub.headers()[0]
        words = (f"dicomweb:{stub.url}", tmp_path, "--study", source.StudyInstanceUID, *BRIGHT)
        assert tofgan("segment", *words).exit_code == 0
        assert len(stub.files) == 24 and not any(request.startswith("POST") for request in stub.asked)
        assert "is there already" in str(tofgan("segment", *words, "--store").exception)
        assert tofgan("segment", *words, "--store", "--restart").exit_code == 0
        (stored,) = stub.files[24:]
    name = f"{source.SeriesInstanceUID}_vessels"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.dcm", f"{name}.nii.gz"]
    assert_same(tmp_path / f"{name}.dcm", tmp_path / f"{name}.nii.gz")
    seg = pydicom.dcmread(io.BytesIO(stored))
    assert seg == pydicom.dcmread(tmp_path / f"{name}.dcm") and seg.StudyInstanceUID == source.StudyInstanceUID
    series = nibabel.load(tmp_path / f"{name}.nii.gz")
    np.testing.assert_allclose(series.affine, load_volume(cohort / "series" / "sub-1" / "image").affine, atol=1e-4)


def test_a_fault_of_the_archive_stops_before_any_work(cohort, tmp_path, ran):
    with archive(cut_at=100_000) as stub:
        stub.take(cohort / "series" / "sub-1" / "image")
        study = stub.headers()[0].StudyInstanceUID
        result = tofgan("segment", f"dicomweb:{stub.url}", tmp_path, "--study", study, "--store")
    assert "the connection ended before all had come" in str(result.exception)
    assert not ran and not list(tmp_path.iterdir())


def test_a_seg_that_cannot_be_stored_stays_and_no_fetched_image_does(cohort, tmp_path):
    with archive(refuses=True) as stub:
        stub.take(cohort / "series" / "sub-1" / "image")
        source = stub.headers()[0]
        words = ("--study", source.StudyInstanceUID, "--store", *BRIGHT)
        result = tofgan("segment", f"dicomweb:{stub.url}", tmp_path, *words)
    assert "the archive refused the DICOM SEG" in str(result.exception) and "the file stays" in str(result.exception)
    assert {path.suffix for path in tmp_path.iterdir()} == {".dcm", ".gz"} and len(stub.files) == 24


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["FOLDER", "--store"], "--study, --series and --store need an archive"),
        (["FOLDER", "--study", "1.2"], "--study, --series and --store need an archive"),
        (["dicomweb:http://127.0.0.1:1/web"], "give --study UID"),
        (["dicomweb:http://127.0.0.1:1/web", "--study", "1.2", "--store", "--no-dicom-seg"], "leave one of them out"),
        (["dicomweb:http://u:p@127.0.0.1:1/web", "--study", "1.2"], "contains a user or a password"),
    ],
)
def test_options_that_contradict_each_other(cohort, tmp_path, ran, words, told):
    scans = [str(cohort / "series") if word == "FOLDER" else word for word in words]
    result = tofgan("segment", *scans[:1], tmp_path / "out", *scans[1:])
    assert told in str(result.exception) and not ran and not (tmp_path / "out").exists()


def test_a_series_that_no_seg_can_refer_to_keeps_its_label(cohort, tmp_path):
    shutil.copytree(cohort / "series", tmp_path / "in")
    for path in (tmp_path / "in" / "sub-1" / "image").iterdir():
        one = pydicom.dcmread(path)
        del one.FrameOfReferenceUID
        one.save_as(path)
    result = tofgan("segment", tmp_path / "in", tmp_path / "out", *BRIGHT)
    assert "sub-1: " in str(result.exception) and "no FrameOfReferenceUID" in str(result.exception)
    assert [path.name for path in (tmp_path / "out").glob("*vessels*")] == ["sub-1_vessels.nii.gz"]
