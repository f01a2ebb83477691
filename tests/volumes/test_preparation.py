"""Prepared folders: masked volumes on their own grid, resumable, with a mask that is kept."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from tofgan_monai import InputError, prepare, read_cohort
from tofgan_monai.volumes import reading
from tofgan_monai.volumes.cohort import write_cohort
from tofgan_monai.volumes.reading import read_scan

AFFINE = np.array([[0, -0.6, 0, 3.0], [0.5, 0, 0, -7], [0, 0, 0.7, 11], [0, 0, 0, 1]])
SHAPE = (24, 20, 6)


@pytest.fixture
def cohort(tmp_path):
    """Two subjects and one to be tested on, in an orientation of their own, the labels with values 0 and 255."""
    folder = tmp_path / "cohort"
    splits = {"training": ["sub-01", "sub-02"], "validation": [], "test": ["sub-03"]}
    write_cohort(folder, {split: [write_subject(folder, name) for name in names] for split, names in splits.items()})
    return folder


def write_subject(folder, subject):
    rng = np.random.default_rng(int(subject[-2:]))
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:-4, 4:-4] = 1
    volumes = {
        "image": rng.integers(100, 200, SHAPE).astype(np.int16),
        "label": (rng.random(SHAPE) < 0.3).astype(np.uint8) * 255,
        "mask": mask,
    }
    item = {"subject": subject, "patient": subject[:6], "label_values": {"255": 1}}
    (folder / subject).mkdir(parents=True)
    for key, volume in volumes.items():
        item[key] = str(folder / subject / f"{key}.nii.gz")
        nib.save(nib.Nifti1Image(volume, AFFINE), item[key])
    return item


def voxels(path):
    return np.asarray(nib.load(path).dataobj)


def written(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_image_and_label_are_masked_on_the_inputs_grid(cohort, tmp_path):
    prepare(cohort, tmp_path / "out")
    source, item = read_cohort(cohort, "training")[1], read_cohort(tmp_path / "out", "training")[1]
    mask, image = voxels(source["mask"]), voxels(source["image"])
    np.testing.assert_array_equal(voxels(item["image"]), np.where(mask, image, image.min()))
    assert item["black"] == image.min()
    prepare(cohort, tmp_path / "out")  # nothing is left to do
    assert read_cohort(tmp_path / "out", "training")[1] == item
    np.testing.assert_array_equal(voxels(item["label"]), (voxels(source["label"]) > 0) * mask)
    np.testing.assert_array_equal(voxels(item["mask"]), mask)
    for key, dtype in (("image", np.int16), ("label", np.uint8), ("mask", np.uint8)):
        image = nib.load(item[key])
        np.testing.assert_allclose(image.affine, AFFINE)
        assert image.get_data_dtype() == dtype


def test_splits_are_kept_and_paths_are_relative(cohort, tmp_path):
    path = prepare(cohort, tmp_path / "out")
    datalist = json.loads(path.read_text())
    assert [item["subject"] for item in datalist["training"]] == ["sub-01", "sub-02"]
    assert datalist["validation"] == [] and datalist["test"][0]["image"] == "sub-03/image.nii.gz"
    assert "label_values" not in datalist["training"][0]  # the labels are binary now


def test_the_kind_of_data_goes_with_the_items(cohort, tmp_path):
    datalist = json.loads((cohort / "cohort.json").read_text())
    datalist["training"][0]["simulated"] = True  # as earlier versions wrote it
    datalist["training"][1]["kind"] = "simulated"
    (cohort / "cohort.json").write_text(json.dumps(datalist))
    prepare(cohort, tmp_path / "out")
    assert [item["kind"] for item in read_cohort(tmp_path / "out", "all")] == ["simulated", "simulated", "real"]


def test_second_run_changes_nothing_and_a_stopped_one_goes_on(cohort, tmp_path, monkeypatch):
    prepare(cohort, tmp_path / "out")
    before = written(tmp_path / "out")
    for name in ("image.nii.gz", "preparation.json"):
        (tmp_path / "out" / "sub-02" / name).unlink()
    read = []
    monkeypatch.setattr(reading, "read_scan", lambda item, keys: read.append(item["subject"]) or read_scan(item, keys))
    prepare(cohort, tmp_path / "out")
    assert read == ["sub-02"] and written(tmp_path / "out") == before


def test_changed_input_is_prepared_again(cohort, tmp_path):
    prepare(cohort, tmp_path / "out")
    nib.save(nib.Nifti1Image(np.full(SHAPE, 7, np.int16), AFFINE), cohort / "sub-01" / "image.nii.gz")
    prepare(cohort, tmp_path / "out")
    assert set(np.unique(voxels(tmp_path / "out" / "sub-01" / "image.nii.gz"))) == {7}


def test_none_leaves_the_head_and_no_mask(cohort, tmp_path):
    prepare(cohort, tmp_path / "out", skull_strip="none")
    source, item = read_cohort(cohort, "test")[0], read_cohort(tmp_path / "out", "test")[0]
    np.testing.assert_array_equal(voxels(item["image"]), voxels(source["image"]))
    assert "mask" not in item


def test_computed_mask_is_kept_and_a_corrected_one_taken(cohort, tmp_path, monkeypatch):
    computed = []

    def half(image, spacing_mm):
        computed.append(spacing_mm)
        return np.arange(image.shape[0])[:, None, None] < image.shape[0] // 2 + np.zeros(image.shape)

    monkeypatch.setattr("tofgan_monai.volumes.transforms.skull_strip.brain_mask", half)
    out = tmp_path / "out"
    prepare(cohort, out, skull_strip="computed")
    prepare(cohort, out, skull_strip="computed")
    assert len(computed) == 3 and np.allclose(computed[0], [0.5, 0.6, 0.7])
    mask = voxels(out / "sub-01" / "mask.nii.gz").copy()
    assert (mask[:12] == 1).all() and (mask[12:] == 0).all()
    mask[:6] = 0
    nib.save(nib.Nifti1Image(mask, AFFINE), out / "sub-01" / "mask.nii.gz")
    prepare(cohort, out, skull_strip="computed")
    image = voxels(out / "sub-01" / "image.nii.gz")
    assert len(computed) == 3 and (image[:6] == image.min()).all() and (image[6:12] > image.min()).mean() > 0.9
    prepare(cohort, out, skull_strip="computed", force=True)
    assert len(computed) == 6 and (voxels(out / "sub-01" / "image.nii.gz")[:6] > image.min()).mean() > 0.9


def test_other_settings_are_refused_unless_forced(cohort, tmp_path):
    out = tmp_path / "out"
    prepare(cohort, out)
    before = written(out)
    with pytest.raises(InputError, match=r"skull_strip given.*not skull_strip none"):
        prepare(cohort, out, skull_strip="none")
    assert written(out) == before
    prepare(cohort, out, skull_strip="none", force=True)
    assert "mask" not in read_cohort(out, "test")[0] and not (out / "sub-03" / "mask.nii.gz").exists()


def test_all_problems_are_told_at_once_and_the_others_are_prepared(cohort, tmp_path):
    (cohort / "sub-01" / "image.nii.gz").write_bytes(b"broken")
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), AFFINE), cohort / "sub-03" / "mask.nii.gz")
    with pytest.raises(InputError) as caught:
        prepare(cohort, tmp_path / "out")
    assert [problem[:6] for problem in caught.value.problems] == ["sub-01", "sub-03"]
    assert "5x5x5" in caught.value.problems[1]
    assert (tmp_path / "out" / "sub-02" / "image.nii.gz").exists() and not (tmp_path / "out" / "cohort.json").exists()


def test_missing_mask_and_label(cohort, tmp_path):
    items = [{key: value for key, value in item.items() if key != "label"} for item in read_cohort(cohort, "test")]
    write_cohort(tmp_path / "unlabelled", {"unsplit": items})
    prepare(tmp_path / "unlabelled", tmp_path / "out")
    assert "label" not in read_cohort(tmp_path / "out", "unsplit")[0]
    del items[0]["mask"]
    write_cohort(tmp_path / "unlabelled", {"unsplit": items})
    with pytest.raises(InputError, match="sub-03: the cohort has no brain mask"):
        prepare(tmp_path / "unlabelled", tmp_path / "other")


def test_output_must_not_be_the_cohorts_own_folder(cohort):
    with pytest.raises(InputError, match="another output"):
        prepare(cohort, cohort)


def test_two_processes_write_what_one_writes(cohort, tmp_path):
    prepare(cohort, tmp_path / "one")
    prepare(cohort, tmp_path / "two", workers=2)
    assert written(tmp_path / "one") == written(tmp_path / "two")


def test_corrected_images_are_float_and_stay_masked(cohort, tmp_path):
    prepare(cohort, tmp_path / "out", bias_field=True)
    image = nib.load(tmp_path / "out" / "sub-01" / "image.nii.gz")
    assert image.get_data_dtype() == np.float32
    outside = np.asarray(image.dataobj)[voxels(cohort / "sub-01" / "mask.nii.gz") == 0]
    assert (outside == voxels(cohort / "sub-01" / "image.nii.gz").min()).all()
