from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from monai.transforms import LoadImage

from tests.helpers.dicom import write_slice
from tofgan_monai import InputError, check_cohort, read_cohort
from tofgan_monai.volumes.dicom import read_series

N = 6


def voxels(seed: int = 0) -> np.ndarray:
    """A volume (slices, rows, columns)."""
    return np.random.default_rng(seed).integers(0, 1000, (N, 100, 110))


def write_series(folder: Path, places=tuple(0.7 * i for i in range(N)), *, seed: int = 0, name="IM", **tags) -> Path:
    for i, (place, one) in enumerate(zip(places, voxels(seed), strict=False)):
        # Names that sort the other way round: the order must come from the positions.
        write_slice(folder / f"{name}{N - i}.dcm", one, (-30.0, -25.0, place), **tags)
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as raised:
        read_series(folder)
    assert len(raised.value.problems) == 1, raised.value.problems
    return raised.value.problems[0]


def test_a_series_is_what_monai_loads(tmp_path):
    volume, affine = read_series(write_series(tmp_path / "s"))
    (tmp_path / "s" / "notes.txt").write_text("not DICOM")
    loaded = LoadImage(reader="ITKReader")(tmp_path / "s")
    assert np.array_equal(volume, voxels().transpose(2, 1, 0)) and volume.dtype == np.float32
    assert np.array_equal(loaded.numpy(), volume)
    assert np.allclose(loaded.affine.numpy(), affine)
    assert np.allclose(affine, [[-0.5, 0, 0, 30], [0, -0.6, 0, 25], [0, 0, 0.7, 0], [0, 0, 0, 1]])


def test_an_oblique_series_is_what_monai_loads(tmp_path):
    c, s = np.cos(0.3), np.sin(0.3)
    for i, one in enumerate(voxels()):
        position = tuple(np.round(np.array([-30, -25, 0]) + 0.7 * i * np.array([0, -s, c]), 4))
        write_slice(tmp_path / f"{i}.dcm", one, position, directions=(1, 0, 0, 0, round(c, 6), round(s, 6)))
    volume, affine = read_series(tmp_path)
    loaded = LoadImage(reader="ITKReader")(tmp_path)
    assert np.array_equal(loaded.numpy(), volume)
    assert np.allclose(loaded.affine.numpy(), affine)


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ((0, 0.7, 1.4, 3.5, 4.2, 4.9), ["2 missing slices", "IM4.dcm and IM3.dcm (2.10 mm)", "0.70 mm", "export"]),
        ((0, 0.7, 1.4, 1.4, 2.1, 2.8), ["1 duplicate slices (IM3.dcm and IM4.dcm at 1.40 mm)", "keep one"]),
        ((0, 0.7, 1.4, 2.4, 3.1, 3.8), ["unevenly spaced slices, from 0.70 to 1.00 mm", "resample"]),
    ],
)
def test_missing_duplicate_and_uneven_slices(tmp_path, places, words):
    problem = refusal(write_series(tmp_path, places))
    assert all(word in problem for word in words)


def test_a_class_whose_spacing_itk_does_not_read_is_refused(tmp_path):
    for path in write_series(tmp_path).iterdir():
        one = pydicom.dcmread(path)
        one.SOPClassUID = "1.2.3.4"  # a private class
        one.save_as(path)
    problem = refusal(tmp_path)
    assert (
        "ITK reads a pixel spacing of [1. 1.] mm" in problem and "is [0.6 0.5] mm" in problem and "dcm2niix" in problem
    )


def test_rounded_positions_pass(tmp_path):
    read_series(write_series(tmp_path, (0, 0.7, 1.41, 2.1, 2.8, 3.5)))


def test_several_series(tmp_path):
    write_series(tmp_path)
    write_series(tmp_path, series="1.2.3.5", description="T1 sag", name="XX")
    problem = refusal(tmp_path)
    assert "2 series in one folder" in problem and '"TOF", 6 files' in problem and '"T1 sag", 6 files' in problem
    assert "folder of its own" in problem and "--image" in problem


@pytest.mark.parametrize(
    "image_type", ["DERIVED\\PRIMARY\\MPR\\ND", "ORIGINAL\\PRIMARY\\PROJECTION IMAGE", "ORIGINAL\\PRIMARY\\MIP"]
)
def test_a_projection_is_refused(tmp_path, image_type):
    problem = refusal(write_series(tmp_path, image_type=image_type))
    assert "a MIP or another projection" in problem and image_type.replace("\\", "/") in problem
    assert "source slices" in problem


@pytest.mark.parametrize(
    "image_type", ["DERIVED\\PRIMARY\\M", "DERIVED\\SECONDARY\\M\\DIS3D\\NORM", "ORIGINAL\\PRIMARY\\M\\NORM\\DIS2D"]
)
def test_an_anonymised_or_corrected_series_is_no_projection(tmp_path, image_type):
    read_series(write_series(tmp_path, image_type=image_type))


def test_derived_slabs_are_refused(tmp_path):
    problem = refusal(write_series(tmp_path, image_type="DERIVED\\SECONDARY", thickness="10"))
    assert "derived slabs, 10 mm thick in steps of 0.70 mm" in problem


TILTED = (1, 0, 0, 0, float(np.cos(0.1)), float(np.sin(0.1)))
ODD_SLICES = {  # what is changed of which slices, by their number from the bottom, and words of the refusal
    "oblique": (lambda i: {"directions": TILTED} if i == 2 else {}, ["1 slices oblique", "IM4.dcm", "0.100", "0.001"]),
    "jump": (lambda i: {"beside": 3.0 * (i > 3)}, ["3.00 mm beside", "IM3.dcm and IM2.dcm (3.00 mm)", "0.1 mm"]),
    "sheared": (lambda i: {"beside": 0.2 * i}, ["sheared stack: each slice lies 0.20 mm", "1.00 mm from IM6.dcm to"]),
    "spacing": (
        lambda i: {"spacing": (0.5, 0.7)} if i == 2 else {},
        ["several pixel spacings (0.6x0.5 mm in 5 files from IM1.dcm, 0.7x0.5 mm in 1 files from IM4.dcm)", "0.001 mm"],
    ),
    "size": (
        lambda i: {"crop": 90} if i == 2 else {},
        ["several sizes (100x110", "100x90 rows and columns in 1 files"],
    ),
}


@pytest.mark.parametrize(("change", "words"), ODD_SLICES.values(), ids=ODD_SLICES)
def test_slices_off_the_stack_are_refused(tmp_path, change, words):
    for i, one in enumerate(voxels()):
        tags = {"beside": 0.0, "crop": 110, **change(i)}
        write_slice(
            tmp_path / f"IM{N - i}.dcm", one[:, : tags.pop("crop")], (-30.0 + tags.pop("beside"), -25, 0.7 * i), **tags
        )
    problem = refusal(tmp_path)
    assert all(word in problem for word in words)


def test_one_stack_under_two_series_uids_is_not_taken_apart(tmp_path):
    for i, one in enumerate(voxels()):
        write_slice(tmp_path / f"IM{i}.dcm", one, (-30.0, -25.0, 0.7 * i), series=f"1.2.3.{4 + i // 3}")
    problem = refusal(tmp_path)
    assert "differ in SeriesInstanceUID" in problem and "1.2.3.4" in problem and "1.2.3.5" in problem
    assert "do not take the stack apart" in problem and "folder of its own" not in problem


def test_a_thickness_written_in_two_ways_is_one_series(tmp_path):
    for i, one in enumerate(voxels()):
        write_slice(tmp_path / f"IM{i}.dcm", one, (-30.0, -25.0, 0.7 * i), thickness=("0.7", "0.69999")[i % 2])
    assert np.array_equal(read_series(tmp_path)[0], voxels().transpose(2, 1, 0))


def test_multi_frame(tmp_path):
    write_slice(tmp_path / "all.dcm", voxels(), (-30, -25, 0))
    problem = refusal(tmp_path)
    assert "enhanced multi-frame DICOM (all.dcm, 6 frames)" in problem and "dcm2niix" in problem


@pytest.mark.parametrize("n_bytes", [0, 200, 5000])
def test_a_truncated_slice(tmp_path, n_bytes):
    write_series(tmp_path)
    (tmp_path / "IM6.dcm").write_bytes((tmp_path / "IM6.dcm").read_bytes()[:n_bytes])
    with pytest.raises(InputError) as raised:
        read_series(tmp_path)
    assert "IM6.dcm" in raised.value.problems[0] and "copy" in raised.value.problems[0]


def test_nothing_readable(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"")
    assert "a.dcm" in refusal(tmp_path)


def label_of(folder: Path, path: Path) -> None:
    """A label as a converter leaves it: the series' grid with the rows stored the other way round."""
    volume, affine = read_series(folder)
    label = np.zeros(volume.shape, np.uint8)
    label[45:60, 45:60] = 1
    flip = np.diag([1.0, -1, 1, 1])
    flip[1, 3] = volume.shape[1] - 1
    nibabel.save(nibabel.Nifti1Image(label, affine @ flip), path)


def test_a_cohort_of_series(tmp_path):
    for i in range(3):
        folder = write_series(tmp_path / f"in/p{i}/SER001", seed=i)
        label_of(folder, tmp_path / f"in/p{i}/label.nii.gz")
    report = check_cohort(tmp_path / "in", tmp_path / "out", n_vessel=50)
    text = report.path.read_text()
    assert "Muster" not in text and "1.2.3" not in text
    items = read_cohort(report.path, "all")
    assert {item["subject"] for item in items} == {"p0", "p1", "p2"}
    assert {LoadImage()(item["image"]).shape for item in items} == {(110, 100, N)}


def test_problems_of_a_cohort_name_subject_and_folder(tmp_path):
    for i in range(3):
        folder = write_series(tmp_path / f"in/p{i}/SER001", seed=i)
        label_of(folder, tmp_path / f"in/p{i}/label.nii.gz")
    (tmp_path / "in/p0/SER001/IM4.dcm").unlink()
    write_series(tmp_path / "in/p1/SER002", seed=9, series="1.2.3.9")
    with pytest.raises(InputError) as raised:
        check_cohort(tmp_path / "in", tmp_path / "out", n_vessel=50)
    first, second = sorted(raised.value.problems)
    assert first.startswith("p0: p0/SER001: 1 missing slices")
    assert second.startswith("p1: 2 files or series match as image (p1/SER001, p1/SER002)") and "--image" in second
    assert not (tmp_path / "out").exists()
    (tmp_path / "in/p0/SER001").rename(tmp_path / "in/p0/.broken")
    report = check_cohort(tmp_path / "in", tmp_path / "out", image="{subject}/SER002", n_vessel=50, no_split=True)
    assert report.n_scans == {"unsplit": 1}
