"""Rician noise of a known standard deviation: it is estimated, it falls, edges and thin vessels stay."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from tofgan_monai import InputError, RicianDenoised
from tofgan_monai.volumes.transforms.denoise import rician_sigma

SIGMA = 10.0


@pytest.fixture(scope="module")
def volumes():
    """Two tissues and a vessel, clean and with noise, and a mask that leaves the empty rim out."""
    clean = np.full((40, 44, 16), 100, np.float32)
    clean[20:] = 160
    clean[10:13, :, 7:10] = 300
    clean[:, 38:] = 0
    mask = np.zeros(clean.shape, np.uint8)
    mask[:, :36] = 1
    rng = np.random.default_rng(0)
    noisy = np.hypot(clean + rng.normal(0, SIGMA, clean.shape), rng.normal(0, SIGMA, clean.shape))
    return clean, noisy.astype(np.float32), mask


def test_sigma_of_known_noise_is_estimated(volumes):
    clean, noisy, mask = volumes
    assert rician_sigma(noisy, mask) == pytest.approx(SIGMA, rel=0.1)
    assert rician_sigma(clean, mask) == 0


def test_noise_falls_and_edges_stay(volumes):
    pytest.importorskip("dipy")
    clean, noisy, mask = volumes
    item = {"image": MetaTensor(noisy[None], affine=np.diag([0.5, 0.5, 0.7, 1])), "mask": MetaTensor(mask[None])}
    out = RicianDenoised()(item)["image"]
    assert out.dtype == torch.float32 and torch.equal(out.affine, item["image"].affine)
    out = np.asarray(out[0])
    flat, inside = np.s_[24:38, 4:32, 3:13], mask > 0
    assert out[flat].std() < 0.5 * noisy[flat].std()
    assert np.abs(out - clean)[inside].mean() < 0.6 * np.abs(noisy - clean)[inside].mean()
    assert out[20:22, 4:32, 3:6].mean() - out[18:20, 4:32, 3:6].mean() > 0.9 * 60
    assert out[11, 4:32, 8].mean() > 0.95 * 300
    assert (out[~inside] == noisy.min()).all()


def test_image_without_noise_is_left_alone(volumes):
    pytest.importorskip("dipy")
    clean, _, mask = volumes
    out = RicianDenoised()({"image": torch.from_numpy(clean[None]), "mask": torch.from_numpy(mask[None])})
    np.testing.assert_array_equal(out["image"][0], clean)


def test_missing_dipy_is_said(monkeypatch, volumes):
    monkeypatch.setitem(sys.modules, "dipy.denoise.nlmeans", None)
    with pytest.raises(InputError, match="pip install"):
        RicianDenoised()({"image": torch.from_numpy(volumes[1][None])})
