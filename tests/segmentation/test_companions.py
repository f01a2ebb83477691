"""`tofgan segment` as a user runs it on small scans, and what it writes beside each label."""

from __future__ import annotations

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.heads import write_small_head
from tests.helpers.pages import Page
from tofgan_monai import InputError, VesselUNet3D
from tofgan_monai.cli import app
from tofgan_monai.metrics.segmentation.measures import calibre_names
from tofgan_monai.segmentation import companions
from tofgan_monai.segmentation.projections import MOST_BYTES, save_projections
from tofgan_monai.training.weights import save_weights
from tofgan_monai.volumes.cohort import write_cohort
from tofgan_monai.volumes.volume import Volume

SIZES = ("--width", 2, "--levels", 3, "--window", "[16,16,8]", "--in_plane_fold", 1)
BRIGHT = ("--network", "$lambda windows: windows - 250")


@pytest.fixture
def scans(tmp_path):
    """Callable (n) -> a folder with n scans, each a NIfTI file in another orientation than the one before."""

    def write(n):
        (tmp_path / "scans").mkdir()
        for i in range(n):
            image = nib.load(write_small_head(tmp_path / "heads" / f"p{i}", i)["image"])
            turned = image.as_reoriented([[[0, 1], [1, 1], [2, 1]], [[2, 1], [0, -1], [1, -1]]][i % 2])
            nib.save(turned, tmp_path / "scans" / f"p{i}.nii.gz")
        return tmp_path / "scans"

    return write


@pytest.fixture
def segment(tmp_path):
    """Callable (input, *words) -> result of `tofgan segment` with a network that finds bright voxels."""
    save_weights(VesselUNet3D(2, 3, in_plane_fold=1).state_dict(), tmp_path / "model.pt")

    def run(given, *words):
        line = ["segment", given, tmp_path / "out", "--weights", tmp_path / "model.pt", *SIZES, *BRIGHT, *words]
        return CliRunner().invoke(app, list(map(str, line)))

    return run


def test_a_folder_with_a_broken_scan(scans, segment, tmp_path):
    folder = scans(2)
    shutil.copy(folder / "p0.nii.gz", folder / "broken.nii.gz")
    with open(folder / "broken.nii.gz", "r+b") as stream:
        stream.truncate(3000)
    result = segment(folder)
    assert isinstance(result.exception, InputError) and "1 of 3 scans were refused" in str(result.exception)
    assert "refused: broken: broken.nii.gz: unreadable or truncated" in result.output
    out = tmp_path / "out"
    written = {f"p{i}_{name}" for i in range(2) for name in ("vessels.nii.gz", "vessels.jpg", "measures.json")}
    assert {path.name for path in out.iterdir()} == written | {"measures.csv", "scans.json"}
    for i in range(2):
        label, scan = nib.load(out / f"p{i}_vessels.nii.gz"), nib.load(folder / f"p{i}.nii.gz")
        np.testing.assert_array_equal(np.asarray(label.dataobj), np.asarray(scan.dataobj) > 250)
        np.testing.assert_allclose(label.affine, scan.affine, atol=1e-4)
        content = json.loads((out / f"p{i}_measures.json").read_text("utf-8"))
        assert content.keys() == {"scan", "label", "midline", "measures"} and content["scan"] == f"p{i}"
        assert str(tmp_path) not in json.dumps(content)
        (total,) = (one for one in content["measures"] if (one["side"], one["calibre"]) == ("total", "all"))
        assert total["volume_mm3"] == pytest.approx((np.asarray(scan.dataobj) > 250).sum() * 0.175, abs=0.01)
    with open(out / "measures.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    groups = [(side, calibre) for side in ("total", "left", "right") for calibre in ("all", *calibre_names())]
    assert [(row["label"], row["side"], row["calibre"]) for row in rows] == [
        (f"p{i}_vessels.nii.gz", *group) for i in range(2) for group in groups
    ]


def test_a_stopped_run_goes_on_with_added_scans_and_those_whose_companions_are_missing(
    scans, segment, monkeypatch, tmp_path
):
    folder, calls = scans(3), []

    def stop_at_second(scan):
        calls.append(scan.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        companions.write_picture(scan)

    monkeypatch.setitem(companions.WRITERS, "picture", stop_at_second)
    segment(folder)
    assert calls == ["p0", "p1"] and not (tmp_path / "out" / "measures.csv").exists()
    shutil.copy(folder / "p0.nii.gz", folder / "added.nii.gz")  # comes before the others
    assert segment(folder).exit_code == 0
    assert calls == ["p0", "p1", "added", "p1", "p2"]
    assert len((tmp_path / "out" / "measures.csv").read_text("utf-8").splitlines()) == 1 + 4 * 12


def test_scans_whose_files_have_one_name(segment, tmp_path):
    for i in range(2):
        write_small_head(tmp_path / "scans" / f"sub-{i}", i)
    assert segment(tmp_path / "scans").exit_code == 0
    assert {path.name for path in (tmp_path / "out").glob("*.json")} >= {f"sub-{i}_measures.json" for i in range(2)}
    # both scans are called image.nii.gz: the measures name them by their folders
    content = json.loads((tmp_path / "out" / "sub-1_measures.json").read_text("utf-8"))
    assert (content["scan"], content["label"]) == ("sub-1", "sub-1_vessels.nii.gz")


def test_a_second_scan_loses_nothing_of_the_first(scans, segment, tmp_path):
    folder, table = scans(3), tmp_path / "out" / "measures.csv"

    def labels():
        return sorted({line.split("_")[0] for line in table.read_text("utf-8").splitlines()[1:]})

    for i in range(2):
        assert segment(folder / f"p{i}.nii.gz").exit_code == 0
    assert labels() == ["p0", "p1"] and len(table.read_text("utf-8").splitlines()) == 1 + 2 * 12
    (tmp_path / "out" / "p0_vessels.nii.gz").unlink()
    assert segment(folder / "p2.nii.gz").exit_code == 0 and labels() == ["p1", "p2"]


def test_the_label_of_another_scan_is_not_overwritten(segment, tmp_path):
    for i in range(2):
        write_small_head(tmp_path / "scans" / f"sub-{i}", i)
    one, other = (tmp_path / "scans" / f"sub-{i}" / "image.nii.gz" for i in range(2))
    label = tmp_path / "out" / "image_vessels.nii.gz"
    assert segment(one, "--label-only").exit_code == 0
    first = label.read_bytes()
    told = str(segment(other, "--label-only").exception)
    assert told.startswith(f"{label}: is the label of {one}, not of {other}; ") and "--restart" in told
    assert label.read_bytes() == first and segment(one, "--label-only").exit_code == 0
    assert segment(other, "--label-only", "--restart").exit_code == 0 and label.read_bytes() != first


def test_the_labels_of_all_earlier_runs_are_known(segment, tmp_path):
    for i in range(3):
        write_small_head(tmp_path / "scans" / f"sub-{i}", i)
    one, two = (tmp_path / "scans" / f"sub-{i}" / "image.nii.gz" for i in range(2))
    cohort = write_cohort(tmp_path / "cohort.json", {"test": [{"subject": "other", "image": str(two)}]})
    for given in (one, cohort):
        assert segment(given, "--label-only").exit_code == 0
    assert "image_vessels.nii.gz: is the label of" in str(segment(two, "--label-only").exception)
    cohort = write_cohort(tmp_path / "cohort.json", {"test": [{"subject": "other", "image": str(one)}]})
    assert "other_vessels.nii.gz: is the label of" in str(segment(cohort, "--label-only").exception)


@pytest.mark.slow
def test_what_is_segmented_already_is_not_segmented_again(scans, segment, tmp_path):
    folder, label = scans(3), tmp_path / "out" / "p0_vessels.nii.gz"
    last = folder / "p2.nii.gz"
    moved = shutil.move(last, tmp_path / "p2.nii.gz")
    assert segment(folder).exit_code == 0
    (tmp_path / "out" / "p1_vessels.nii.gz").unlink()
    written = label.stat().st_mtime_ns
    result = segment(folder)
    assert result.exit_code == 0 and "1 of 2 scans are already segmented with these settings" in result.output
    shutil.move(moved, last)  # one scan more
    assert segment(folder).exit_code == 0 and label.stat().st_mtime_ns == written
    table = (tmp_path / "out" / "measures.csv").read_text("utf-8")
    result = segment(folder, "--label-only")
    assert result.exit_code == 0 and "3 of 3 scans are already segmented" in result.output
    assert "--restart segments them again" in result.output and label.stat().st_mtime_ns == written
    assert len(table.splitlines()) == 1 + 3 * 12 and (tmp_path / "out" / "measures.csv").read_text("utf-8") == table
    assert segment(folder, "--restart").exit_code == 0 and label.stat().st_mtime_ns > written


def test_pictures_are_added_to_labels_and_labels_of_other_settings_are_kept(scans, segment, tmp_path):
    folder = scans(2)
    assert segment(folder, "--label-only").exit_code == 0
    assert segment(folder).exit_code == 0 and (tmp_path / "out" / "p1_vessels.jpg").exists()
    told = str(segment(folder, "--min_piece_mm3", 5).exception)
    assert "p0_vessels.nii.gz and 1 more labels: made with other settings (min_piece_mm3 was 0.0, is 5 now)" in told
    assert segment(folder, "--min_piece_mm3", 5, "--restart").exit_code == 0


def test_a_scan_that_has_changed_is_segmented_again(scans, segment, tmp_path):
    folder, label = scans(1), tmp_path / "out" / "p0_vessels.nii.gz"
    assert segment(folder).exit_code == 0
    scan = nib.load(folder / "p0.nii.gz")
    voxels = np.asarray(scan.dataobj).copy()
    voxels[:2] = 1000
    nib.save(nib.Nifti1Image(voxels, scan.affine, scan.header), folder / "p0.nii.gz")
    assert segment(folder).exit_code == 0 and np.asarray(nib.load(label).dataobj)[:2].all()


def test_a_label_alone(scans, segment, tmp_path):
    result = segment(scans(1) / "p0.nii.gz", "--label-only")
    assert result.exit_code == 0 and "1 of 1 scans segmented" in result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"p0_vessels.nii.gz", "scans.json"}


def test_what_belongs_to_an_earlier_label_is_deleted_with_it(scans, segment, tmp_path):
    folder, out = scans(2), tmp_path / "out"
    assert segment(folder, "--page").exit_code == 0
    assert segment(folder / "p0.nii.gz", "--label-only", "--threshold", 0.4, "--restart").exit_code == 0
    assert {path.name for path in out.glob("p0_*")} == {"p0_vessels.nii.gz"}
    assert {path.name for path in out.glob("p1_*")} == {
        *("p1_vessels.nii.gz", "p1_measures.json", "p1_vessels.jpg", "p1_vessels.html")
    }
    assert {line.split(",")[0] for line in (out / "measures.csv").read_text("utf-8").splitlines()[1:]} == {
        "p1_vessels.nii.gz"
    }
    assert segment(folder, "--label-only", "--threshold", 0.3, "--restart").exit_code == 0
    assert not (out / "measures.csv").exists()


def test_a_page_beside_each_label_if_it_is_asked_for(scans, segment, tmp_path):
    assert segment(scans(2), "--page").exit_code == 0
    for i in range(2):
        page = Page(tmp_path / "out" / f"p{i}_vessels.html", n_scripts=2)
        page.assert_self_contained(1)
        assert f"Vessels of p{i}" in page.text and str(tmp_path) not in page.source


def test_unknown_companions_are_refused(scans, segment):
    result = segment(scans(1), "--companions", "['movie']")
    assert "companions movie: unknown" in str(result.exception)


# ---- the picture


def picture(path, label, image):
    save_projections(path, Volume(image.astype(np.float32), np.diag([0.5, 0.5, 0.7, 1])), label)
    assert path.stat().st_size <= MOST_BYTES
    return np.asarray(Image.open(path)).astype(int)


def noisy(shape):
    image = np.random.default_rng(0).uniform(0, 1000, shape)
    label = np.zeros(shape, bool)
    label[shape[0] // 2, 10:-10, shape[2] // 2] = True
    return label, image


def test_a_picture_shows_nothing_away_from_the_vessels(tmp_path):
    label, image = noisy((60, 60, 40))
    far = np.ones_like(label)
    far[30 - 8 : 30 + 9, 10 - 8 : 50 + 8, 20 - 6 : 20 + 7] = False  # 4 mm and the rest of a voxel
    changed = np.where(far, 5000.0, image)
    np.testing.assert_array_equal(
        picture(tmp_path / "a.jpg", label, image), picture(tmp_path / "b.jpg", label, changed)
    )


def test_a_picture_is_small_and_outlines_the_label(tmp_path):
    label, image = noisy((300, 300, 120))
    label[20:280:9, 20:280, ::7] = True
    rgb = picture(tmp_path / "a.jpg", label, image)
    assert (rgb[..., 0] - rgb[..., 2] > 60).any()
    assert not picture(tmp_path / "b.jpg", np.zeros_like(label), image)[:200].any()  # words in the middle alone


def test_a_picture_needs_a_label_on_the_grid(tmp_path):
    with pytest.raises(InputError, match="the shapes differ"):
        save_projections(tmp_path / "a.jpg", Volume(np.zeros((3, 4, 5)), np.eye(4)), np.zeros((3, 4, 6), bool))


def test_labels_of_a_bids_tree_are_a_derivative_of_it(segment, tmp_path):
    names = ("sub-01/anat/sub-01_acq-tof", "sub-02/ses-1/anat/sub-02_ses-1")
    for i, name in enumerate(names):
        (tmp_path / "bids" / name).parent.mkdir(parents=True)
        image = write_small_head(tmp_path / "heads" / str(i), i)["image"]
        shutil.move(image, tmp_path / "bids" / f"{name}_angio.nii.gz")
    (tmp_path / "bids" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    assert segment(tmp_path / "bids").exit_code == 0
    out = tmp_path / "out"
    for name in names:
        scan = nib.load(tmp_path / "bids" / f"{name}_angio.nii.gz")
        label = nib.load(out / f"{name}_label-vessel_mask.nii.gz")
        np.testing.assert_array_equal(np.asarray(label.dataobj), np.asarray(scan.dataobj) > 250)
        assert (out / f"{name}_vessels.jpg").exists()
        content = json.loads((out / f"{name}_measures.json").read_text("utf-8"))
        assert content["label"] == f"{name.split('/')[-1]}_label-vessel_mask.nii.gz"
        sidecar = json.loads((out / f"{name}_label-vessel_mask.json").read_text("utf-8"))
        assert sidecar["Sources"] == [f"bids:raw:{name}_angio.nii.gz"]
    described = json.loads((out / "dataset_description.json").read_text("utf-8"))
    assert described["SourceDatasets"] == [{"URL": "../bids"}]
    assert "tof_mra_vessel_segmentation_3d" in described["GeneratedBy"][0]["Description"]
    assert len((out / "measures.csv").read_text("utf-8").splitlines()) == 1 + 2 * 12
