"""Pieces of a segmentation that are too small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from skimage.morphology import remove_small_objects

from tofgan_monai import DropSmallPiecesd

VOXEL_MM3 = 0.5 * 0.5 * 0.7


def volume(*boxes):
    label = torch.zeros(1, 20, 20, 10)
    for box in boxes:
        label[(0, *box)] = 1
    return MetaTensor(label, affine=torch.diag(torch.tensor([-0.5, 0.5, 0.7, 1.0], dtype=torch.float64)))


def dropped(label, min_mm3):
    return DropSmallPiecesd("pred", min_mm3)({"pred": label})["pred"]


LARGE, SMALL = (slice(2, 5), slice(2, 4), slice(1, 3)), (slice(10, 12), slice(10, 12), slice(5, 6))  # 12 and 4 voxels


@pytest.mark.parametrize(("min_mm3", "left"), [(0, 16), (4 * VOXEL_MM3, 16), (4.1 * VOXEL_MM3, 12), (99, 0)])
def test_pieces_below_the_volume_in_mm3_are_dropped(min_mm3, left):
    label = volume(LARGE, SMALL)
    result = dropped(label, min_mm3)
    assert float(result.sum()) == left
    assert isinstance(result, MetaTensor) and result.dtype == label.dtype and torch.equal(result.affine, label.affine)


def test_voxels_that_share_a_corner_are_one_piece():
    label = volume(*[(i, i, i) for i in range(6)])
    assert torch.equal(dropped(label, 5.5 * VOXEL_MM3), label)


def test_empty_label_stays_empty():
    assert not dropped(volume(), 1.0).any()


def test_result_is_that_of_scikit_image():
    """Not of MONAI's RemoveSmallObjectsd, which with scikit-image 0.26 also drops pieces of exactly the size."""
    rng = np.random.default_rng(0)
    label = volume()
    label[0] = torch.from_numpy((rng.random((20, 20, 10)) < 0.1).astype(np.float32))
    kept = remove_small_objects(np.asarray(label[0]) > 0, max_size=5, connectivity=3)
    np.testing.assert_array_equal(dropped(label, 6 * VOXEL_MM3)[0], kept)
    assert 0 < kept.sum() < label.sum()
