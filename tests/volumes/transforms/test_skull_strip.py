"""Masks given and computed: what lies outside is 0, a second pass changes nothing, a simple head's brain is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from tofgan_monai import InputError, SkullStripd
from tofgan_monai.volumes.transforms.brain_mask import brain_mask

SPACING_MM = (3.0, 3.0, 3.0)
LAYERS_MM = {"skin and fat": (1.0, 260), "skull": (0.88, 12), "fluid": (0.8, 45), "tissue": (0.76, 100)}
"""Ellipsoids, each in the other, as parts of the head's radii, and their intensities."""


@pytest.fixture(scope="module")
def head():
    """A head of 150 x 190 x 160 mm in air, shaded by half from left to right, with noise; its brain and fluid."""
    x, y, z = np.meshgrid(*(np.arange(-n / 2, n / 2) * 3 for n in (60, 74, 62)), indexing="ij")
    radius = np.sqrt((x / 75) ** 2 + (y / 95) ** 2 + (z / 80) ** 2)
    image = np.zeros(radius.shape)
    for outer, intensity in LAYERS_MM.values():
        image[radius < outer] = intensity
    image[(radius < 0.7) & (np.abs(x) < 4)] = 45  # the fissure between the hemispheres, full of fluid
    image[(np.abs(y) < 3) & (np.abs(z) < 3) & (radius < 0.75)] = 400  # a vessel
    rng = np.random.default_rng(0)
    noisy = np.hypot(image * (1 + x / 300) + rng.normal(0, 5, image.shape), rng.normal(0, 5, image.shape))
    return noisy.astype(np.float32), radius < 0.8


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_brain_of_a_head_is_found(head):
    image, brain = head
    assert dice(brain_mask(image, SPACING_MM), brain) > 0.95


def test_orientation_does_not_matter(head):
    image, _ = head
    turned = image.transpose(2, 0, 1)[::-1, :, ::-1]
    found = brain_mask(image, SPACING_MM).transpose(2, 0, 1)[::-1, :, ::-1]
    assert dice(brain_mask(turned, SPACING_MM), found) > 0.999


def test_intensity_of_air_does_not_matter(head):
    image, _ = head
    assert np.array_equal(brain_mask(np.rint(image) - 1024, SPACING_MM), brain_mask(np.rint(image), SPACING_MM))


@pytest.mark.parametrize("window", [np.s_[:, :, 25:45], np.s_[20:45, 20:50, 25:40]], ids=["slab", "inside the head"])
def test_slab_and_crop_are_as_good_as_a_head(head, window):
    image, brain = (volume[window] for volume in head)
    assert dice(brain_mask(image, SPACING_MM), brain) > 0.95


@pytest.mark.parametrize("value", [0, 7])
def test_constant_volume_has_no_brain(value):
    assert not brain_mask(np.full((20, 20, 9), value, np.float32), SPACING_MM).any()


def small_item(**more):
    rng = np.random.default_rng(0)
    mask = np.zeros((1, 8, 9, 4), np.uint8)
    mask[:, 2:6, 2:6] = 1
    arrays = {
        "image": rng.random(mask.shape, np.float32) + 1,
        "label": (rng.random(mask.shape) < 0.5).astype(np.uint8),
        "mask": mask,
    }
    return {key: MetaTensor(array, affine=np.diag([0.5, 0.5, 0.7, 1])) for key, array in arrays.items()} | more


def test_image_and_label_are_masked_and_a_second_pass_changes_nothing():
    item = small_item(subject="sub-01")
    once = SkullStripd()(item)
    twice = SkullStripd()(once)
    inside = item["mask"] > 0
    for key, black in (("image", item["image"].min()), ("label", 0)):
        assert torch.equal(once[key][inside], item[key][inside]) and (once[key][~inside] == black).all()
        assert torch.equal(once[key], twice[key]) and once[key].dtype == item[key].dtype
    assert torch.equal(once["image"].affine, item["image"].affine) and item["image"].min() >= 1


def test_none_leaves_everything():
    item = small_item()
    assert torch.equal(SkullStripd(method="none")(item)["image"], item["image"])


def test_mask_that_was_not_read_is_an_error_with_a_remedy():
    with pytest.raises(InputError, match="sub-07: the configuration reads no brain mask; strip the volumes"):
        SkullStripd(method="given")(small_item(subject="sub-07") | {"mask": "sub-07/mask.nii.gz"})


def test_missing_mask_is_an_error_unless_allowed():
    item = small_item(subject="sub-07")
    del item["mask"]
    with pytest.raises(InputError, match="sub-07 has no brain mask"):
        SkullStripd()(item)
    assert torch.equal(SkullStripd(allow_missing_keys=True)(item)["image"], item["image"])


def test_empty_and_misshapen_masks_are_refused():
    with pytest.raises(InputError, match="empty"):
        SkullStripd()(small_item(mask=torch.zeros(1, 8, 9, 4)))
    with pytest.raises(InputError, match="shape"):
        SkullStripd()(small_item(mask=torch.ones(1, 8, 9, 5)))
    with pytest.raises(InputError, match="bet"):
        SkullStripd(method="bet")


def test_computed_mask_is_left_in_the_dictionary(head):
    image, brain = head
    item = {"image": MetaTensor(image[None], affine=np.diag([3, 3, 3, 1]))}
    out = SkullStripd(method="computed", allow_missing_keys=True)(item)
    assert out["mask"].dtype == torch.uint8 and dice(np.asarray(out["mask"][0]) > 0, brain) > 0.95
    assert (out["image"][out["mask"] == 0] == float(image.min())).all()


def test_given_mask_is_not_computed_again(monkeypatch):
    monkeypatch.setattr("tofgan_monai.volumes.transforms.skull_strip.brain_mask", None)
    assert len(SkullStripd(method="computed")(small_item())["image"][0, 0].unique()) == 1
