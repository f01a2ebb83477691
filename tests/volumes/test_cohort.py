from __future__ import annotations

import gzip
import json
import logging
import os
from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest
from monai.transforms import LoadImaged

from tofgan_monai import InputError, check_cohort, read_cohort
from tofgan_monai.volumes.cohort import write_cohort
from tofgan_monai.volumes.volume import binary_label, load_volume, parse_label_values

AFFINE = np.diag([0.5, 0.5, 0.7, 1.0])
SHAPE = (100, 100, 4)
VESSELS = (slice(46, 54), slice(46, 54), slice(None))  # 100 of them, 5x5x4, can be the centre of a patch


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def brain(name: str) -> np.ndarray:
    voxels = np.random.default_rng(list(name.encode())).integers(0, 1000, SHAPE).astype(np.int16)
    voxels[VESSELS] += 3000
    return voxels


def vessels(value: int = 1) -> np.ndarray:
    label = np.zeros(SHAPE, np.uint8)
    label[VESSELS] = value
    return label


def subject(folder: Path, name: str, *, image="image.nii.gz", label="label.nii.gz", mask="mask.nii.gz") -> Path:
    save(folder / name / image, brain(name))
    save(folder / name / label, vessels())
    save(folder / name / mask, np.ones(SHAPE, np.uint8))
    return folder / name


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    for i in range(1, 5):
        subject(tmp_path / "in", f"sub-0{i}")
    return tmp_path / "in"


def check(folder: Path, **options):
    return check_cohort(folder, folder.parent / "out", **{"n_vessel": 50, **options})


def refusal(folder: Path, **options) -> list[str]:
    """What `check_cohort` raises; an older cohort.json must stay as it was."""
    output = folder.parent / "out" / "cohort.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text("before")
    with pytest.raises(InputError) as raised:
        check(folder, **options)
    assert output.read_text() == "before"
    assert os.listdir(output.parent) == ["cohort.json"]
    return raised.value.problems


def only(problems: list[str], *words: str) -> None:
    assert len(problems) == 1, problems
    for word in words:
        assert word in problems[0]


class TestGood:
    def test_plain_folder(self, cohort):
        report = check(cohort)
        assert report.n_patients == {"training": 2, "validation": 1, "test": 1}
        assert report.warnings == []
        content = json.loads(report.path.read_text())
        assert content["format"] == 1 and set(content) == {"format", "training", "validation", "test"}
        items = read_cohort(cohort.parent / "out", "all")
        assert {item["black"] for item in items} == {0.0}
        assert sorted(item["subject"] for item in items) == ["sub-01", "sub-02", "sub-03", "sub-04"]
        loaded = LoadImaged(["image", "label", "mask"])(items[0])
        assert loaded["image"].shape == SHAPE

    def test_paths_are_relative_below_the_cohorts_folder_and_absolute_elsewhere(self, cohort):
        inside = check_cohort(cohort, cohort / "cohort.json", n_vessel=50, no_split=True)
        assert json.loads(inside.path.read_text())["unsplit"][0]["image"] == "sub-01/image.nii.gz"
        assert read_cohort(inside.path, "unsplit")[0]["image"] == str(cohort / "sub-01/image.nii.gz")
        outside = check(cohort, no_split=True)
        assert json.loads(outside.path.read_text())["unsplit"][0]["image"] == str(cohort / "sub-01/image.nii.gz")

    def test_flat_files_by_pattern(self, tmp_path):
        for i in range(3):
            save(tmp_path / "in" / f"sub-{i}_tof.nii.gz", brain(str(i)))
            save(tmp_path / "in" / f"sub-{i}_vessels.nii", vessels())
        check(tmp_path / "in", image="{subject}_tof.nii.gz", label="{subject}_vessels.nii.gz")
        items = read_cohort(tmp_path / "out", "all")
        assert {item["subject"] for item in items} == {"sub-0", "sub-1", "sub-2"}
        assert all(Path(item["label"]).is_file() and "mask" not in item for item in items)

    def test_labels_in_a_folder_of_their_own(self, tmp_path):
        for i in range(3):
            save(tmp_path / "in/imagesTr" / f"case{i}_0000.nii.gz", brain(str(i)))
            save(tmp_path / "in/labelsTr" / f"case{i}.nii.gz", vessels())
        check(tmp_path / "in", image="imagesTr/{subject}_0000.nii.gz", label="labelsTr/{subject}.nii.gz")
        assert {item["patient"] for item in read_cohort(tmp_path / "out", "all")} == {"case0", "case1", "case2"}

    def test_bids_tree_with_sessions(self, tmp_path):
        folder = tmp_path / "in"
        for name in ("sub-01/ses-01", "sub-01/ses-02", "sub-02", "sub-03"):
            stem = name.replace("/", "_")
            save(folder / name / "anat" / f"{stem}_angio.nii.gz", brain(name))
            save(folder / "derivatives/manual" / name / "anat" / f"{stem}_desc-vessels_dseg.nii.gz", vessels())
            save(folder / "derivatives/bet" / name / "anat" / f"{stem}_desc-brain_mask.nii.gz", vessels())
        report = check(folder)
        assert report.n_patients == {"training": 1, "validation": 1, "test": 1}
        assert sum(report.n_scans.values()) == 4
        for split in ("training", "validation", "test"):
            subjects = {item["subject"] for item in read_cohort(report.path, split)}
            assert len(subjects & {"sub-01_ses-01", "sub-01_ses-02"}) in (0, 2)
        assert all("label" in item and "mask" in item for item in read_cohort(report.path, "all"))

    def test_session_placeholder(self, tmp_path):
        for name in ("a/1", "a/2", "b/1", "c/1"):
            save(tmp_path / "in" / name / "tof.nii.gz", brain(name))
            save(tmp_path / "in" / name / "v.nii.gz", vessels())
        report = check(tmp_path / "in", image="{subject}/{session}/tof.nii.gz", label="{subject}/{session}/v.nii.gz")
        items = read_cohort(report.path, "all")
        assert {item["subject"]: item["patient"] for item in items} == {"a_1": "a", "a_2": "a", "b_1": "b", "c_1": "c"}

    def test_no_split_needs_no_label(self, tmp_path):
        save(tmp_path / "in/sub-01/image.nii.gz", brain("1"))
        assert check(tmp_path / "in", no_split=True).n_scans == {"unsplit": 1}

    def test_a_trailing_dimension_of_one_is_fine(self, cohort):
        save(cohort / "sub-01/image.nii.gz", brain("x")[..., None])
        assert load_volume(cohort / "sub-01/image.nii.gz").voxels.shape == SHAPE
        check(cohort)

    def test_any_orientation_is_counted_in_axial_slices(self, cohort):
        turned = AFFINE[:, [0, 2, 1, 3]]
        for name, voxels in (("image", brain("1")), ("label", vessels()), ("mask", np.ones(SHAPE, np.uint8))):
            save(cohort / "sub-01" / f"{name}.nii.gz", voxels.transpose(0, 2, 1), turned)
        check(cohort, n_vessel=100)
        assert "only 100 of 256" in " ".join(refusal(cohort, n_vessel=101))

    def test_what_was_used_is_told(self, cohort):
        (cohort / "sub-04").rename(cohort.parent / "sub-04")
        (cohort / "sub-04_ses-2").symlink_to("../sub-04")
        (cohort / "sub-03").rename(cohort / "sub-04_ses-1")
        told = "4 scans of 3 patients, 1 to 2 sessions each, 1 scan by links; patients by the scans' names"
        assert check(cohort).used == told

    def test_progress_is_logged(self, cohort, caplog):
        with caplog.at_level(logging.INFO):
            check(cohort)
        assert "4 of 4 scans checked" in caplog.text


class TestFiles:
    def test_no_folder(self, tmp_path):
        only(refusal(tmp_path / "none"), str(tmp_path / "none"), "not an existing folder")

    def test_no_subject(self, tmp_path):
        (tmp_path / "in").mkdir()
        only(refusal(tmp_path / "in"), str(tmp_path / "in"), "{subject}/image.nii.gz", "--image")

    def test_odd_patterns(self, cohort):
        only(refusal(cohort, image="image.nii.gz"), "--image image.nii.gz", "{subject}")
        only(refusal(cohort, label="{subject}_{id}.nii.gz"), "--label", "{id}")

    def test_a_pattern_that_finds_no_label(self, cohort):
        problems = refusal(cohort, label="{subject}/vessels.nii.gz")
        assert any("no label found by --label {subject}/vessels.nii.gz" in problem for problem in problems)

    def test_two_images_of_one_subject(self, cohort):
        save(cohort / "sub-02/image.nii", brain("x"))
        only(refusal(cohort), "sub-02: 2 files", "sub-02/image.nii,", "--image")

    def test_a_label_that_is_missing(self, cohort):
        (cohort / "sub-03/label.nii.gz").unlink()
        only(refusal(cohort), "sub-03: label missing", "add it")
        assert "sub-03: label missing" in check(cohort, no_split=True).warnings[0]

    def test_no_label_at_all(self, cohort):
        for i in range(1, 5):
            (cohort / f"sub-0{i}/label.nii.gz").unlink()
        only(refusal(cohort), "no label found for any of 4", "--no-split")

    def test_a_mask_that_is_missing_and_a_label_without_image_are_warned_of(self, cohort):
        (cohort / "sub-03/mask.nii.gz").unlink()
        save(cohort / "sub-09/label.nii.gz", vessels())
        warnings = check(cohort).warnings
        assert len(warnings) == 2
        assert "sub-09/label.nii.gz: a label without an image" in warnings[0]
        assert "sub-03: mask missing" in warnings[1]

    def test_a_link_that_leads_back_up(self, cohort):
        (cohort / "sub-01" / "loop").symlink_to(cohort)
        assert "sub-01/loop: a link to a folder that it lies in; not followed" in check(cohort).warnings

    def test_the_same_file_by_two_links(self, cohort):
        (cohort / "sub-05").symlink_to("sub-04")
        only(refusal(cohort), "sub-05/image.nii.gz is the same file as sub-04/image.nii.gz of sub-04; remove one")


def with_value(value: float) -> np.ndarray:
    voxels = brain("1").astype(np.float32)
    voxels[3, 3, 3] = value
    return voxels


TILT = nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(0.01)) @ AFFINE
ONE_WRONG_FILE = {  # what replaces which file, its affine, and words of the refusal
    "not 3D": ("image", np.zeros((100, 100, 4, 2), np.int16), AFFINE, ["100x100x4x2 is not 3D", "dimension of 1"]),
    "colours": ("image", np.zeros(SHAPE, [(c, "u1") for c in "RGB"]), AFFINE, ["voxels of type", "grey"]),
    "NaN": ("image", with_value(np.nan), AFFINE, ["1 NaN or infinite", "replace"]),
    "infinite": ("image", with_value(np.inf), AFFINE, ["1 NaN or infinite", "replace"]),
    "constant": ("image", np.full(SHAPE, 7, np.int16), AFFINE, ["constant image, every voxel is 7", "export"]),
    "two values": ("image", vessels(), AFFINE, ["a label or mask, not an image: every voxel is 0 or 1", "the scan"]),
    "spacing": (
        "label", vessels(), np.diag([0.5, 0.5, 0.8, 1]),
        ["spacing (0.5, 0.5, 0.8) mm differs from the image's (0.5, 0.5, 0.7) mm", "tolerance", "one grid"],
    ),
    "flipped": ("label", vessels(), np.diag([-0.5, 0.5, 0.7, 1]), ["origin (-49.5, 0, 0) mm differs"]),
    "moved": (
        "label", vessels(), AFFINE + np.eye(4, k=3) * 0.1,
        ["origin (0.1, 0, 0) mm differs from the image's (0, 0, 0) mm"],
    ),
    "tilted": ("label", vessels(), TILT, ["RAS differs from the image's RAS by up to 0.010", "tolerance 0.001"]),
    "shape": (
        "mask", np.ones((100, 100, 5), np.uint8), AFFINE, ["shape 100x100x5 differs from the image's 100x100x4"],
    ),
    "not binary": ("label", vessels(255), AFFINE, ["not binary: 2 values (0, 255)", "--label-values 1,255=1"]),
    "empty": ("label", np.zeros(SHAPE, np.uint8), AFFINE, ["empty label", "leave the subject out"]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "voxels", "affine", "words"), ONE_WRONG_FILE.values(), ids=ONE_WRONG_FILE)
def test_one_wrong_file_is_one_problem_with_its_remedy(cohort, name, voxels, affine, words):
    save(cohort / f"sub-02/{name}.nii.gz", voxels, affine)
    only(refusal(cohort), f"sub-02: sub-02/{name}.nii.gz: ", *words)


class TestVolumes:
    def test_truncated_and_unreadable(self, cohort):
        path = cohort / "sub-01/image.nii.gz"
        path.write_bytes(path.read_bytes()[:5000])
        (cohort / "sub-02/label.nii.gz").write_bytes(b"no NIfTI")
        (cohort / "sub-03/mask.nii.gz").write_bytes(gzip.compress(b"\0" * 348))
        path = save(cohort / "sub-04/image.nii", brain("4"))
        (cohort / "sub-04/image.nii.gz").unlink()
        path.write_bytes(path.read_bytes()[:5000])
        problems = refusal(cohort)
        assert [problem.split(": unreadable or truncated")[0] for problem in problems] == [
            "sub-01: sub-01/image.nii.gz",
            "sub-02: sub-02/label.nii.gz",
            "sub-03: sub-03/mask.nii.gz",
            "sub-04: sub-04/image.nii",
        ]
        assert all("copy" in problem for problem in problems)

    def test_a_broken_link(self, cohort):
        (cohort / "sub-01/image.nii.gz").unlink()
        (cohort / "sub-01/image.nii.gz").symlink_to("nowhere")
        only(refusal(cohort), "sub-01: sub-01/image.nii.gz: unreadable: a link to nowhere", "copy or fetch")

    def test_the_same_scan_under_two_names(self, cohort):
        flip = np.diag([-0.5, 0.5, 0.7, 1])
        save(cohort / "sub-02/image.nii.gz", brain("sub-01")[::-1].astype(np.float32), flip)
        for name in ("label", "mask"):  # on the same grid
            save(cohort / f"sub-02/{name}.nii.gz", vessels(), flip)
        only(refusal(cohort), "sub-02: sub-02/image.nii.gz", "the same scan as sub-01/image.nii.gz of sub-01", "remove")

    def test_odd_spacing_and_narrow_slices_are_warned_of(self, cohort):
        affine = np.diag([1.0, 1.0, 0.7, 1.0])
        save(cohort / "sub-01/image.nii.gz", brain("1")[:90], affine)
        for name in ("label", "mask"):
            save(cohort / f"sub-01/{name}.nii.gz", np.ones((90, 100, 4), np.uint8), affine)
        warnings = check(cohort, n_vessel=20).warnings
        assert len(warnings) == 2
        assert "sub-01/image.nii.gz: spacing (1, 1, 0.7) mm" in warnings[0] and "0.4 to 0.8 mm" in warnings[0]
        assert "90x100" in warnings[1] and "padded" in warnings[1]
        # Padded, the 90 columns leave one place for the centre, the 100 rows 5, in 4 slices.
        test_split = {item["subject"] for item in read_cohort(cohort.parent / "out", "test")}
        assert "sub-01" in test_split or "only 20 of" in " ".join(refusal(cohort, n_vessel=21))


class TestNoAngiography:
    def test_vessels_no_brighter_than_the_brain(self, cohort):
        save(cohort / "sub-01/image.nii.gz", brain("1") % 1000)
        assert check(cohort).warnings == [
            "sub-01: sub-01/label.nii.gz: the labelled vessels are not brighter than the brain: 5% of their voxels are "
            "brighter than 95% of those around them; make sure that the image is a TOF-MRA and that the label belongs "
            "to it"
        ]

    def test_an_unlabelled_image_without_bright_voxels(self, cohort):
        for path in cohort.glob("*/label.nii.gz"):
            path.unlink()
        assert check(cohort, no_split=True).warnings == []
        save(cohort / "sub-01/image.nii.gz", brain("1") % 1000)
        (warning,) = check(cohort, no_split=True).warnings
        assert "sub-01/image.nii.gz: no vessels brighter than the brain" in warning and "1.0 interquartile" in warning

    def test_a_whole_head(self, cohort):
        tall = np.tile(brain("1"), (1, 1, 55))
        save(cohort / "sub-01/image.nii.gz", tall)
        for name in ("label", "mask"):
            save(cohort / f"sub-01/{name}.nii.gz", np.tile(vessels(), (1, 1, 55)))
        (warning,) = check(cohort).warnings
        assert "covers 154 mm from foot to head" in warning


class TestGeometry:
    def test_a_label_with_its_axes_in_another_order(self, cohort):
        turned = nibabel.Nifti1Image(vessels(), AFFINE).as_reoriented([[1, -1], [0, 1], [2, -1]])
        save(cohort / "sub-02/label.nii.gz", np.asarray(turned.dataobj), turned.affine)
        assert check(cohort).warnings == []

    def test_within_the_tolerance(self, cohort):
        save(cohort / "sub-02/label.nii.gz", vessels(), AFFINE + np.eye(4, k=3) * 0.01)
        check(cohort)

    def test_qform_against_sform(self, cohort):
        path = cohort / "sub-02/image.nii.gz"
        image = nibabel.Nifti1Image(brain("sub-02"), AFFINE)
        image.set_sform(AFFINE, code=1)
        image.set_qform(AFFINE + np.eye(4, k=3) * 5, code=1)
        nibabel.save(image, path)
        only(refusal(cohort), "sub-02: sub-02/image.nii.gz: the qform differs", "10.00 voxels", "set both")

    def test_neither_form_is_refused(self, cohort):
        path = cohort / "sub-02/image.nii.gz"
        image = nibabel.Nifti1Image(brain("sub-02"), None)
        image.header.set_zooms((0.5, 0.5, 0.7))
        nibabel.save(image, path)
        for name in ("label", "mask"):
            other = nibabel.Nifti1Image(vessels(), nibabel.load(path).affine)
            nibabel.save(other, cohort / f"sub-02/{name}.nii.gz")
        only(refusal(cohort), "sub-02: sub-02/image.nii.gz: neither qform nor sform is set", "set the sform")

    def test_a_flat_affine(self, cohort):
        image = nibabel.Nifti1Image(brain("sub-02"), AFFINE)
        image.header["srow_z"] = 0
        image.header["qform_code"] = 0
        image.header["sform_code"] = 1
        path = cohort / "sub-02/image.nii.gz"
        raw = image.header.binaryblock + b"\0" * 4 + image.get_fdata().astype("<i2").tobytes(order="F")
        path.write_bytes(gzip.compress(raw))
        only(refusal(cohort), "sub-02/image.nii.gz: the header's affine cannot be inverted", "correct")


class TestLabels:
    def test_mapped_values_travel_with_the_item(self, cohort):
        label = vessels(255)
        label[50:] //= 85  # 3
        for i in range(1, 5):
            save(cohort / f"sub-0{i}/label.nii.gz", label)
        check(cohort, label_values=["3,255=1"])
        item = read_cohort(cohort.parent / "out", "training")[0]
        assert item["label_values"] == {"3": 1, "255": 1}
        loaded = load_volume(item["label"]).voxels
        assert np.array_equal(binary_label(loaded, item["label_values"]), vessels())
        only(refusal(cohort, label_values="256=1")[:1], "values (0, 3, 255), of which 3,255", "3,255,256=1")
        only(refusal(cohort, label_values="3,255=0")[:1], "empty label")

    @pytest.mark.parametrize("kinds", [[(1, 2), (1, 2, 4, 15)], [(1,), (2,)]])
    @pytest.mark.parametrize("given", [(), ("1=1",)])
    def test_the_remedy_for_classes_works_for_every_subject(self, cohort, kinds, given):
        for i in range(1, 5):
            classes = np.array(kinds[i % 2])
            label = vessels() * classes[np.arange(SHAPE[0]) % len(classes)][:, None, None].astype(np.uint8)
            save(cohort / f"sub-0{i}/label.nii.gz", label)
        problem = refusal(cohort, label_values=given)[-1]
        option = problem.split("--label-values ")[-1]
        assert option == ("1,2,4,15=1" if len(kinds[0]) > 1 else "1,2=1")
        check(cohort, label_values=option)

    def test_probabilities_are_called_that(self, cohort):
        save(cohort / "sub-02/label.nii.gz", np.linspace(0, 1, vessels().size, dtype=np.float32).reshape(SHAPE))
        only(refusal(cohort), "values between 0 and 1 are probabilities; binarise them")

    @pytest.mark.parametrize("ending", ["seg.nrrd", "mha"])
    def test_a_label_that_itk_reads(self, cohort, ending):
        for i in range(1, 5):
            label = itk.image_from_array(vessels().transpose(2, 1, 0).copy())
            label.SetSpacing([0.5, 0.5, 0.7])
            label.SetDirection(itk.matrix_from_array(np.diag([-1.0, -1.0, 1.0])))  # ITK's axes are LPS
            itk.imwrite(label, str(cohort / f"sub-0{i}/label.{ending}"))
        report = check(cohort, label=f"{{subject}}/label.{ending}")
        assert {item["label"].split(".", 1)[1] for item in read_cohort(report.path, "all")} == {ending}

    def test_mappings(self):
        assert parse_label_values("255=1") == {"255": 1}
        assert parse_label_values(["1, 2=1", "3=0"]) == {"1": 1, "2": 1, "3": 0}
        assert parse_label_values("1-3,15=1,4=0") == {"1": 1, "2": 1, "3": 1, "15": 1, "4": 0}
        for text in ("255", "a=1", "1=2", "", "3-1=1", "1-=1", "0-9999=1"):
            with pytest.raises(InputError, match="--label-values"):
                parse_label_values(text)

    def test_binary_label(self):
        values = np.array([0, 1 / 255 * 255 * (1 + 6e-8), 1], np.float32)
        assert binary_label(values).tolist() == [0, 1, 1] and binary_label(values).dtype == np.uint8
        assert binary_label(np.array([0, 1, 2]), {"2": 1, "1": 0}).tolist() == [0, 0, 1]
        assert binary_label(np.array([0, 1]), {"0": 1, "1": 0}).tolist() == [1, 0]
        with pytest.raises(InputError, match="3 values between 0 and 1"):
            binary_label(np.array([0, 0.5, 1]))

    def test_empty_mask_and_label_outside_the_mask(self, cohort):
        save(cohort / "sub-01/mask.nii.gz", np.zeros(SHAPE, np.uint8))
        corner = np.zeros(SHAPE, np.uint8)
        corner[:5] = 1
        save(cohort / "sub-02/mask.nii.gz", corner)
        problems = refusal(cohort)
        assert "sub-01/mask.nii.gz: empty mask" in problems[0]
        assert "none of its 256 vessel voxels lies in the mask" in problems[1]
        assert len(problems) == 2

    def test_too_few_vessels_for_the_patches(self, cohort):
        check(cohort, n_vessel=100)
        problems = refusal(cohort, n_vessel=101)
        assert len(problems) == 3  # the test patient gives no patches
        assert "101 vessel-centred patches were requested, but only 100 of 256 vessel voxels" in problems[0]
        assert "--n-vessel" in problems[0]


class TestAllAtOnce:
    def test_every_problem_is_listed_by_subject_and_file(self, cohort):
        save(cohort / "sub-01/image.nii.gz", np.full(SHAPE, 7, np.int16))
        save(cohort / "sub-01/label.nii.gz", vessels(2))
        save(cohort / "sub-02/mask.nii.gz", np.ones((5, 5, 5), np.uint8))
        (cohort / "sub-03/label.nii.gz").unlink()
        problems = refusal(cohort)
        assert len(problems) == 4
        for words in ("01/image.nii.gz: constant", "01/label.nii.gz: label", "02/mask.nii.gz: shape", "sub-03: label"):
            assert sum(words in problem for problem in problems) == 1


class TestReadAndWrite:
    def test_missing_cohort_and_missing_split(self, cohort):
        with pytest.raises(InputError, match="tofgan check"):
            read_cohort(cohort, "training")
        check(cohort, no_split=True)
        with pytest.raises(InputError, match="no split training, only unsplit"):
            read_cohort(cohort.parent / "out", "training")

    def test_broken_and_foreign_files(self, tmp_path):
        for text in ("{", "[]", '{"format": 2}'):
            (tmp_path / "cohort.json").write_text(text)
            with pytest.raises(InputError, match=r"cohort\.json"):
                read_cohort(tmp_path, "all")

    def test_round_trip(self, tmp_path):
        items = [{"subject": "a", "patient": "a", "image": str(tmp_path / "a/image.nii.gz")}]
        path = write_cohort(tmp_path, {"test": items})
        assert path == tmp_path / "cohort.json"
        assert read_cohort(tmp_path, "test") == items

    def test_an_output_that_cannot_be_written(self, cohort):
        (cohort.parent / "out/cohort.json").mkdir(parents=True)
        with pytest.raises(InputError, match="cannot be written"):
            check(cohort)
