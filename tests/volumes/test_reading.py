from __future__ import annotations

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from monai.transforms import LoadImage, Orientationd

from tofgan_monai import InputError, ReadScand
from tofgan_monai.volumes.reading import onto_grid, read_scan
from tofgan_monai.volumes.volume import Volume

AFFINE = np.array([[0.5, 0, 0, -10], [0, 0.6, 0, -20], [0, 0, 0.7, 5], [0, 0, 0, 1.0]])
SHAPE = (8, 9, 7)
TURNS = [
    np.array([*zip(order, flips, strict=True)])
    for order in permutations(range(3))
    for flips in product((1, -1), repeat=3)
]


def turned(voxels, turns):
    affine = AFFINE @ nibabel.orientations.inv_ornt_aff(turns, voxels.shape)
    return nibabel.apply_orientation(voxels, turns), affine


@pytest.fixture
def voxels():
    return np.random.default_rng(0).integers(1, 900, SHAPE).astype(np.int16)


def write(path, voxels, affine=AFFINE):
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return str(path)


@pytest.mark.parametrize("turns", TURNS)
def test_label_in_any_voxel_order_comes_onto_the_images_grid(tmp_path, voxels, turns):
    label, affine = turned((voxels > 500).astype(np.uint8), turns)
    item = {"image": write(tmp_path / "i.nii.gz", voxels), "label": write(tmp_path / "l.nii.gz", label, affine)}
    read = read_scan(item, ("image", "label"))
    assert np.array_equal(read["label"].voxels, voxels > 500)
    assert np.array_equal(read["label"].affine, read["image"].affine)


def test_label_values_are_mapped_and_the_mask_is_binary(tmp_path, voxels):
    files = {key: write(tmp_path / f"{key}.nii.gz", voxels % 3) for key in ("label", "mask")}
    item = {"image": write(tmp_path / "i.nii.gz", voxels), **files, "label_values": {"1": 1, "2": 0}}
    out = ReadScand()(item)
    assert np.array_equal(out["label"][0], voxels % 3 == 1)
    assert np.array_equal(out["mask"][0], voxels % 3 > 0)


def test_metadata_is_what_monai_label_restores_by(tmp_path, voxels):
    path = write(tmp_path / "i.nii.gz", voxels)
    image = Orientationd("image", axcodes="LPS", labels=None)(ReadScand("image")({"image": path}))["image"]
    expected = LoadImage(ensure_channel_first=True)(path)
    assert image.shape == (1, *SHAPE)
    for key in ("filename_or_obj", "original_affine", "spatial_shape", "space"):
        assert np.array_equal(image.meta[key], expected.meta[key]), key


def test_sform_with_rounded_pixdim_is_kept(tmp_path, voxels):
    """MONAI's LoadImage takes the qform here without a word (monai 1.6.1)."""
    affine = AFFINE.copy()
    affine[0, 0] = 0.390625
    image = nibabel.Nifti1Image(voxels, affine)
    image.set_qform(np.eye(4), 0)
    image.header["pixdim"][1:4] = 0.3906, 0.6, 0.7
    nibabel.save(image, tmp_path / "i.nii.gz")
    out = ReadScand("image")({"image": str(tmp_path / "i.nii.gz")})
    assert np.allclose(out["image"].affine, affine, atol=1e-6)


def test_all_problems_are_told_with_their_files(tmp_path, voxels):
    moved = AFFINE.copy()
    moved[2, 3] += 3
    item = {
        "image": write(tmp_path / "i.nii.gz", voxels),
        "label": write(tmp_path / "l.nii.gz", voxels),
        "mask": write(tmp_path / "m.nii.gz", voxels, moved),
    }
    with pytest.raises(InputError) as error:
        read_scan(item)
    assert ["l.nii.gz" in error.value.problems[0], "m.nii.gz" in error.value.problems[1]] == [True, True]


def test_missing_keys_are_left_out_if_allowed(tmp_path, voxels):
    item = {"image": write(tmp_path / "i.nii.gz", voxels), "subject": "s"}
    assert set(ReadScand(allow_missing_keys=True)(item)) == {"image", "subject"}
    with pytest.raises(KeyError):
        ReadScand()(item)


def test_other_shape_is_no_turn():
    with pytest.raises(InputError, match="8x9x6"):
        onto_grid(Volume(np.zeros((8, 9, 6)), AFFINE), Volume(np.zeros(SHAPE), AFFINE))
