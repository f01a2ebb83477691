from __future__ import annotations

import nibabel
import numpy as np
import pytest

from tofgan_monai.volumes.headers import farthest_corner, header_doubts

AFFINE = np.array([[-0.5, 0, 0, 90], [0, 0.5, 0, -120], [0, 0, 0.7, -40], [0, 0, 0, 1.0]])
SHAPE = (100, 100, 50)


def doubts(change):
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE)
    image.set_sform(AFFINE, 1)
    image.set_qform(AFFINE, 1)
    image.header.set_xyzt_units("mm")
    change(image)
    reread = nibabel.Nifti1Image.from_bytes(image.to_bytes())
    return header_doubts(reread.header, reread.affine, SHAPE)


def shifted(mm):
    return AFFINE + np.array([[0, 0, 0, mm], *np.zeros((3, 4))])


def zooms(image, first_mm):
    image.header["pixdim"][1] = first_mm


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda image: image.set_qform(shifted(5), 1), "qform differs"),
        (lambda image: (image.set_qform(None, 0), image.set_sform(None, 0)), "neither qform nor sform"),
        (lambda image: (image.set_qform(None, 0), zooms(image, 0.6)), "pixdim differ"),
        (lambda image: image.header.set_xyzt_units("micron"), "micron"),
        (lambda image: image.header.set_xyzt_units("meter"), "meter"),
    ],
)
def test_two_places_are_refused(change, told):
    problems, _ = doubts(change)
    assert len(problems) == 1
    assert told in problems[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: None,
        lambda image: image.set_qform(None, 0),
        lambda image: image.set_sform(None, 0),
        lambda image: image.header.set_xyzt_units(None),
        lambda image: (image.set_qform(None, 0), zooms(image, 0.50001)),
        lambda image: image.set_qform(shifted(0.02), 1),
    ],
)
def test_one_place_passes(change):
    assert doubts(change) == ([], [])


def test_less_than_half_a_voxel_is_warned_of():
    problems, warnings = doubts(lambda image: image.set_qform(shifted(0.2), 1))
    assert not problems
    assert "0.40 voxels" in warnings[0]
    assert "at (90.2, -120.0, -40.0) mm against (90.0, -120.0, -40.0) mm" in warnings[0]


def test_distance_is_that_of_the_farthest_corner():
    longer = AFFINE.copy()
    longer[0, 0] = -0.51
    assert farthest_corner(AFFINE, longer, SHAPE)[1] == pytest.approx(99 * 0.01 / 0.5)
