"""The midline of a symmetric head is found wherever the head lies, and whatever of it is seen."""

from __future__ import annotations

import numpy as np
import pytest
from nibabel.affines import apply_affine, from_matvec
from scipy.spatial.transform import Rotation

from tofgan_monai.metrics.segmentation.midline import find_midline

SPACING_MM = (1.0, 1.2, 1.5)


def head(seed):
    """A symmetric head (X, Y, Z) with an affine that turns and shifts it, and its true midline (a, b, c, d)."""
    rng = np.random.default_rng(seed)
    pose = from_matvec(
        Rotation.from_euler("xyz", rng.uniform(-10, 10, 3), degrees=True).as_matrix(), rng.uniform(-20, 20, 3)
    )
    shape = np.array([170, 160, 60])
    inner = from_matvec(np.diag(SPACING_MM), -(shape - 1) / 2 * SPACING_MM + rng.uniform(-6, 6, 3))
    x, y, z = apply_affine(inner, np.moveaxis(np.indices(shape), 0, -1)).transpose(3, 0, 1, 2)
    image = 100.0 * ((x / 70) ** 2 + (y / 85) ** 2 < 1)
    for i, j, k, level in zip(*rng.uniform((10, -60, -40, 50), (55, 60, 40, 300), (12, 4)).T, strict=True):
        image += level * (np.hypot(np.hypot(np.abs(x) - i, y - j), z - k) < 9)
    image += rng.normal(0, 10, shape)
    plane = np.linalg.inv(pose).T @ (1, 0, 0, 0)
    return image, pose @ inner, plane / np.linalg.norm(plane[:3])


@pytest.mark.parametrize("seed", range(3))
def test_symmetric_heads(seed):
    image, affine, plane = head(seed)
    found = find_midline(image, affine)
    assert np.degrees(np.arccos(min(1, plane[:3] @ found.plane[:3]))) < 1
    middle = apply_affine(affine, (np.array(image.shape) - 1) / 2)
    assert np.dot(found.plane, [*middle, 1]) == pytest.approx(plane @ [*middle, 1], abs=0.7)
    assert found.symmetry > 0.8


def test_part_of_a_head_in_another_voxel_order():
    image, affine, plane = head(0)
    part = np.flip(image[30:, 40:120, 10:40], 0).transpose(2, 0, 1)
    turn = np.array([[0, -1, 0, image.shape[0] - 1], [0, 0, 1, 40], [1, 0, 0, 10], [0, 0, 0, 1]])
    found = find_midline(part, affine @ turn)
    assert np.degrees(np.arccos(min(1, plane[:3] @ found.plane[:3]))) < 2 and found.plane[0] > 0


def test_an_image_without_contrast_is_halved():
    found = find_midline(np.full((21, 10, 10), 5.0), np.diag([2, 1, 1, 1]))
    assert found.plane == (1, 0, 0, pytest.approx(-20, abs=1)) and found.symmetry == 0
