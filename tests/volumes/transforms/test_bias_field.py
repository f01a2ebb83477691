"""A known bias field is found and taken out; the image keeps its mean, its edges and its zeros."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from tofgan_monai import BiasFieldCorrectiond
from tofgan_monai.volumes.transforms.bias_field import bias_field

SPACING_MM = (3.0, 3.0, 4.0)


@pytest.fixture(scope="module")
def volumes():
    """Blocks of two tissues in a ball, the same shaded, the ball, and the field that shades."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 44, 24)), indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.9
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 2, (8, 9, 6)).repeat(5, 0).repeat(5, 1).repeat(4, 2)[:40, :44, :24]
    clean = ((100 + 40 * blocks) * mask).astype(np.float32)
    field = np.exp(0.35 * x - 0.25 * y * z).astype(np.float32)
    noisy = clean * field + rng.normal(0, 1, clean.shape).astype(np.float32) * mask
    return clean, noisy, mask, field


def test_known_field_is_found(volumes):
    _, shaded, mask, field = volumes
    found = bias_field(shaded, mask, spacing_mm=SPACING_MM)
    ratio = found[mask] / field[mask]
    assert ratio.std() / ratio.mean() < 0.35 * field[mask].std() / field[mask].mean()


def test_corrected_image_keeps_mean_edges_and_background(volumes):
    clean, shaded, mask, _ = volumes
    item = {"image": MetaTensor(shaded[None], affine=np.diag([*SPACING_MM, 1])), "mask": torch.from_numpy(mask[None])}
    out = BiasFieldCorrectiond()(item)["image"]
    assert out.dtype == torch.float32 and torch.equal(out.affine, item["image"].affine)
    out = np.asarray(out[0])
    assert out[mask].mean() == pytest.approx(shaded[mask].mean(), rel=1e-4)
    assert not out[~mask].any()
    scaled = out * (clean[mask].mean() / out[mask].mean())
    bright, dark = scaled[clean == 140], scaled[clean == 100]
    assert bright.mean() - dark.mean() == pytest.approx(40, rel=0.1)
    assert bright.std() < 0.5 * (shaded[clean == 140] / shaded[mask].mean() * clean[mask].mean()).std()


def test_empty_volumes_have_no_field():
    zeros = np.zeros((9, 9, 9), np.float32)
    assert (bias_field(zeros, zeros > 0, spacing_mm=(1, 1, 1)) == 1).all()
    assert (bias_field(zeros, zeros == 0, spacing_mm=(1, 1, 1)) == 1).all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_known_shading_is_found_within_one_percent_at_any_scale(scale):
    """ITK's function form of N4 gives int16: an image in 0..1 became NaN (itk 5.4.7)."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 44, 24)), indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.9
    shading = np.exp(0.35 * x - 0.25 * y * z)
    found = bias_field((100 * scale * shading * mask).astype(np.float32), mask, spacing_mm=SPACING_MM)
    ratio = found[mask] / shading[mask]
    assert np.abs(ratio / ratio.mean() - 1).max() < 0.01
