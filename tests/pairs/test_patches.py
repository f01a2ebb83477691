"""Patches: the drawn voxel at the centre, halves, no duplicates, any orientation, seeds, borders, padding, counts."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from tofgan_monai import InputError, VesselPatchesd
from tofgan_monai.pairs.patches import extract_pairs

AFFINE = np.diag([0.5, 0.6, 0.7, 1.0])


def volumes(shape=(118, 122, 6), seed=0):
    rng = np.random.default_rng(seed)
    image = rng.random(shape, dtype=np.float32) * 400
    label = (rng.random(shape) < 0.2).astype(np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[10:-10, 12:-12, 1:-1] = 1
    return image, label, mask


def as_item(image, label, mask=None, affine=AFFINE, subject="sub-01"):
    arrays = {"image": image, "label": label, "mask": mask}
    tensors = {key: MetaTensor(array[None].copy(), affine=affine) for key, array in arrays.items() if array is not None}
    return tensors | {"subject": subject}


def draw(image, label, mask=None, *, n_vessel=40, n_random=30, size=96, seed=0):
    rng = np.random.default_rng(seed)
    return extract_pairs(image, label, mask, n_vessel=n_vessel, n_random=n_random, size=size, rng=rng)


@pytest.mark.parametrize("size", [96, 33])
def test_vessel_half_has_a_vessel_at_its_centre(size):
    image, label, mask = volumes()
    pairs, centres = draw(image, label, mask, size=size)
    assert pairs.shape == (70, 2, size, size) and pairs.dtype == np.float32
    assert (pairs[:40, 1, size // 2, size // 2] == 1).all()
    assert (label[tuple(centres[:40].T)] == 1).all()
    assert (mask[tuple(centres.T)] == 1).all()


def test_patches_are_the_volume_round_their_centres():
    image, label, mask = volumes()
    pairs, centres = draw(image, label, mask)
    for (patch, vessels), (x, y, z) in zip(pairs, centres, strict=True):
        window = np.s_[x - 48 : x + 48, y - 48 : y + 48, z]
        cut = image[window]
        np.testing.assert_allclose(patch, (cut - cut.min()) / (cut.max() - cut.min()) * 2 - 1, atol=1e-6)
        np.testing.assert_array_equal(vessels, np.where(label[window], 1, -1))


def test_no_centre_is_drawn_twice_not_even_across_the_halves():
    label = np.zeros((97, 98, 2), np.uint8)
    label[48:50, 48:51] = 1
    image = np.random.default_rng(0).random(label.shape)
    _, centres = draw(image, label, n_vessel=7, n_random=5)  # 2 x 3 x 2 = 12 admissible voxels, all of them vessels
    assert len(np.unique(centres, axis=0)) == 12


def test_every_admissible_voxel_and_no_other_can_be_drawn():
    image, label, _ = volumes((98, 97, 3))
    _, centres = draw(image, label, n_vessel=0, n_random=3 * 2 * 3)
    assert {tuple(c) for c in centres} == set(itertools.product((48, 49, 50), (48, 49), range(3)))


def test_random_half_is_uniform_over_the_brain():
    label = np.zeros((160, 160, 3), np.uint8)
    image = np.random.default_rng(0).random(label.shape)
    _, centres = draw(image, label, n_vessel=0, n_random=2000)
    assert np.abs(centres[:, :2].mean(axis=0) - 80).max() < 2  # 65 positions: a standard error of 0.4


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "ASR", "SPL", "IRP"])
def test_any_orientation_gives_the_same_patches(axcodes):
    image, label, mask = volumes()
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axcodes))
    turned = [nib.orientations.apply_orientation(volume, turn) for volume in (image, label, mask)]
    affine = AFFINE @ nib.orientations.inv_ornt_aff(turn, image.shape)
    transform = VesselPatchesd(n_vessel=10, n_random=10)
    expected, patches = transform(as_item(image, label, mask)), transform(as_item(*turned, affine=affine))
    for a, b in zip(expected, patches, strict=True):
        assert torch.equal(a["image"], b["image"]) and torch.equal(a["label"], b["label"])
        assert torch.equal(a["centre"], b["centre"]) and torch.allclose(b["spacing_mm"], torch.tensor([0.5, 0.6, 0.7]))


def test_draw_depends_on_seed_and_subject_alone():
    item = as_item(*volumes())
    first, again = (VesselPatchesd(n_vessel=5, n_random=5)(item) for _ in range(2))
    other_seed = VesselPatchesd(n_vessel=5, n_random=5, seed=1)(item)
    other_subject = VesselPatchesd(n_vessel=5, n_random=5)(item | {"subject": "sub-02"})
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, again, strict=True))
    for others in (other_seed, other_subject):
        assert any(not torch.equal(a["centre"], b["centre"]) for a, b in zip(first, others, strict=True))


def test_halves_are_told_apart():
    patches = VesselPatchesd(n_vessel=3, n_random=4)(as_item(*volumes()))
    assert [patch["vessel_centred"] for patch in patches] == [True] * 3 + [False] * 4
    assert all(patch["image"].shape == patch["label"].shape == (1, 96, 96) for patch in patches)


def test_narrow_slices_are_padded_on_both_sides_and_it_is_said():
    image, label, mask = volumes((91, 150, 6))
    pairs, centres = draw(image + 1, label, mask, n_vessel=20)
    assert (pairs[:, 0, :2] == -1).all() and (pairs[:, 0, 93:] == -1).all()  # 5 voxels lack: 2 before, 3 after
    assert (pairs[:, 1, :2] == -1).all() and (pairs[:, 1, 93:] == -1).all()
    assert (centres[:, 0] == 46).all() and (label[tuple(centres[:20].T)] == 1).all()
    patches = VesselPatchesd(n_vessel=1, n_random=1)(as_item(image, label, mask))
    assert all(patch["padded"] for patch in patches)
    assert not VesselPatchesd(n_vessel=1, n_random=1)(as_item(*volumes()))[0]["padded"]


def test_padding_is_no_place_for_a_random_centre():
    image, label, _ = volumes((60, 60, 2))
    _, centres = draw(image, label, n_vessel=0, n_random=2)  # without a mask
    assert sorted(map(tuple, centres)) == [(30, 30, 0), (30, 30, 1)]


def test_constant_patches_are_minus_one():
    image, label, mask = volumes()
    pairs, _ = draw(np.full_like(image, 7), label, mask)
    assert (pairs[:, 0] == -1).all()


def test_integer_volumes_do_not_wrap_round():
    image, label, mask = volumes()
    image = np.where(image > 200, 32000, -32000).astype(np.int16)
    assert set(np.unique(draw(image, label, mask)[0][:, 0])) == {-1.0, 1.0}


def test_too_few_centres_are_counted_and_the_subject_named():
    image, label, mask = volumes()
    label[:] = 0
    label[50, 50, :3] = label[0, 0, 2] = 1  # of four vessel voxels one is outside the mask and one at the border
    with pytest.raises(InputError, match=r"sub-01: 3 vessel.* only 2 of 4 vessel voxels"):
        VesselPatchesd(n_vessel=3, n_random=0)(as_item(image, label, mask))
    mask[:] = 0
    mask[48:50, 48, 2] = 1
    with pytest.raises(InputError, match="only 2 voxels"):
        VesselPatchesd(n_vessel=0, n_random=3)(as_item(image, label, mask))


def test_shapes_that_differ_are_refused():
    image, label, _ = volumes()
    with pytest.raises(InputError, match="the same shape"):
        draw(image, label[:, :, 1:])
