"""One head, stored in every way that a clinic may store it, is the same head to every verb."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd
from pydicom import dcmread

from tests.helpers.stored_heads import AIR, KEYS, ORIENTATIONS, PIXDIM, write_dicom, write_nifti
from tofgan_monai import HalfUNet, ReadScand, extract, prepare, read_cohort
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import run_bundle
from tofgan_monai.volumes.cohort import write_cohort

SHAPE, SPACING_MM = (112, 108, 5), (0.390625, 0.5, 0.7)
UNET = "tof_mra_vessel_segmentation"
RAS = Compose([ReadScand(KEYS), Orientationd(KEYS, axcodes="RAS", labels=None)])


@pytest.fixture(scope="module")
def head():
    """The head's volumes in RAS order, and their affine; tissue of 300 to 500, vessels of 900, air of 0 to 20."""
    rng = np.random.default_rng(0)
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, edge) for edge in SHAPE), indexing="ij")
    mask = x**2 + y**2 < 0.8
    label = mask & (rng.random(SHAPE) < 0.05)
    image = np.where(label, 900, np.where(mask, rng.integers(300, 500, SHAPE), rng.integers(0, 20, SHAPE)))
    affine = nibabel.affines.from_matvec(np.diag(SPACING_MM), (-20, -25, 3))
    return {"image": image.astype(np.float32), "label": label * 1.0, "mask": mask * 1.0}, affine


def assert_same_head(item, head, air=AIR["0"]):
    """The item's volumes, turned to RAS, lie voxel by voxel where the head's lie."""
    volumes, affine = head
    read = RAS(item)
    for key in KEYS:
        expected = air(volumes[key]) if key == "image" else volumes[key]
        tolerance = np.ptp(expected) * 1e-3 if key == "image" else 0
        np.testing.assert_allclose(np.asarray(read[key][0]), expected, rtol=0, atol=tolerance)
        np.testing.assert_allclose(read[key].affine, affine, atol=1e-3)


NIFTI = [
    *itertools.product(ORIENTATIONS, ["four digits"], ["0"]),
    *itertools.product(["PIR"], PIXDIM, AIR),
]


@pytest.mark.parametrize(("orientation", "pixdim", "air"), NIFTI)
def test_nifti_is_read_the_same_whatever_its_order_pixdim_and_air(head, tmp_path, orientation, pixdim, air):
    volumes, affine = head
    stored = {**volumes, "image": AIR[air](volumes["image"])}
    item = write_nifti(tmp_path / "s", stored, affine, orientation=orientation, pixdim=pixdim)
    assert_same_head(item, head, AIR[air])


@pytest.mark.parametrize(("backwards", "slope_per_slice"), [*itertools.product([False, True], repeat=2)])
def test_dicom_with_labels_of_dcm2niix_is_read_the_same(head, tmp_path, backwards, slope_per_slice):
    volumes, affine = head
    item = write_nifti(tmp_path / "s", {key: volumes[key] for key in KEYS[1:]}, affine, orientation="LAS")
    series = write_dicom(
        tmp_path / "TOF", volumes["image"], affine, backwards=backwards, slope_per_slice=slope_per_slice
    )
    assert_same_head({**item, "image": series}, head)


@pytest.mark.parametrize("backwards", [False, True])
def test_each_slice_has_its_own_slope(head, tmp_path, backwards):
    volumes, affine = head
    folder = write_dicom(tmp_path / "TOF", volumes["image"], affine, backwards=backwards, slope_per_slice=True)
    slices = sorted(map(dcmread, Path(folder).iterdir()), key=lambda one: float(one.ImagePositionPatient[2]))
    slopes = [float(one.RescaleSlope) for one in slices]
    expected = np.stack([one.pixel_array.T * slope for one, slope in zip(slices, slopes, strict=True)], axis=-1)
    assert slopes[0] == 1 and len(set(slopes)) == len(slices) and (expected % 1).any()
    np.testing.assert_allclose(ReadScand("image")({"image": folder})["image"][0], expected, rtol=1e-6)


@pytest.fixture(scope="module")
def cohorts(head, tmp_path_factory):
    """Cohorts of the one head by the way in which it is stored; the label has values of its own, 2 for vessels."""
    volumes, affine = head
    made = {}
    for name, orientation, air in (
        ("plain", "RAS", "0"), ("turned", "PIR", "0"), ("offset", "LPS", "-1024"), ("z-scored", "RAS", "z-scored"),
        ("recentred", "SAL", "recentred"), ("dicom", "LAS", "0"),
    ):  # fmt: skip
        made[name] = tmp_path_factory.mktemp(name)
        stored = {**volumes, "image": AIR[air](volumes["image"]), "label": volumes["mask"] + volumes["label"]}
        item = write_nifti(made[name] / "sub-01", stored, affine, orientation=orientation, pixdim="four digits")
        if name == "dicom":
            item["image"] = write_dicom(made[name] / "TOF", volumes["image"], affine, slope_per_slice=True)
        write_cohort(made[name], {"test": [{**item, "label_values": {"1": 0, "2": 1}}]})
    return made


OTHERS = ["turned", "offset", "recentred", "z-scored", "dicom"]


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_pairs_of_the_head_are_the_same(cohorts, name, prepared, tmp_path):
    stacks = []
    for folder in (cohorts["plain"], cohorts[name]):
        source = prepare(folder, tmp_path / folder.name) if prepared else folder
        output = tmp_path / f"{folder.name}.npy"
        extract(source, output, split="test", n_vessel=20, n_random=20)
        stacks.append(np.load(output).astype(np.float32))
    np.testing.assert_allclose(stacks[0][:, 0], stacks[1][:, 0], atol=2e-3)  # of a range of 2
    np.testing.assert_array_equal(stacks[0][:, 1], stacks[1][:, 1])
    np.testing.assert_array_equal(stacks[0][:, 0] > 0.5, stacks[0][:, 1] > 0)  # bright is vessel, by the mapping


def test_black_of_a_prepared_head_is_what_stands_outside_its_mask(cohorts, tmp_path):
    prepare(cohorts["offset"], tmp_path)
    item = RAS(read_cohort(tmp_path, "test")[0])
    assert (item["image"][item["mask"] == 0] == -1024).all() and item["image"].min() == item["black"] == -1024


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that runs the segmentation bundle's inference with a network that finds what is bright."""
    weights = tmp_path_factory.mktemp("weights") / "unet.pt"
    torch.save(HalfUNet(2).state_dict(), weights)

    def run(folder, output, *overlays):
        bright = "$lambda windows: windows - windows.amin((1, 2, 3), True) - 0.7 * windows.max().sub(windows.min())"
        given = {"dataset_dir": str(folder), "output_dir": str(output), "weights": str(weights), "width": 2}
        given |= {"network": bright, "split": "test", "device": "cpu"}
        run_bundle(bundle_path(UNET), ["inference.yaml", *overlays], given)

    return run


@pytest.mark.parametrize("name", ["plain", *OTHERS])
def test_segmentation_lies_on_the_scan_and_is_scored_against_the_label_as_it_is(cohorts, run, name, tmp_path):
    (item,) = read_cohort(cohorts[name], "test")
    output = tmp_path / "site #1"  # a name that MONAI's parser would change
    run(cohorts[name], output)
    written = nibabel.load(output / "sub-01_vessels.nii.gz")
    label = ReadScand(["image", "label"])(item)["label"]
    np.testing.assert_allclose(written.affine, label.affine, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(written.dataobj), label[0])
    run(cohorts[name], output, "evaluate.yaml")
    assert json.loads((output / "results.jsonl").read_text())["dsc"] == 1
    assert not (output / "unfinished.jsonl").exists() and list(tmp_path.iterdir()) == [output]
