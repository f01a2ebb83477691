"""Which blocks of a volume are air: never one that holds tissue, whatever the intensities of air and tissue."""

from __future__ import annotations

import pytest
import torch

from tofgan_monai.volumes.transforms.air import BLOCK, has_head, head_blocks, tissue_level


def noise(*shape, seed=0):
    """Noise of magnitude images (Rayleigh's), of mean 1.25 for a standard deviation of 1 before the magnitude."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *shape, generator=generator).square().sum(0).sqrt()


def head(snr, shade=0.0):
    """A block of tissue of 100, with fluid of 50 and fat of 300 in it, in the middle of noisy air."""
    signal = torch.zeros(96, 96, 32)
    signal[24:72, 24:72] = 100
    signal[32:40, 32:40] = 50
    signal[24:26, 24:72] = 300
    signal = signal * (1 + shade * torch.linspace(-1, 1, 96)[:, None, None])
    sigma = 100 / snr
    generator = torch.Generator().manual_seed(1)
    real, other = sigma * torch.randn(2, *signal.shape, generator=generator)
    return ((signal + real).square() + other.square()).sqrt()[None, None]


def found(volume):
    black = float(volume.min())
    return head_blocks(volume, black, tissue_level(volume, black))[0, 0]


def is_tissue(blocks):
    inside = torch.zeros(12, 12, 8, dtype=torch.bool)
    inside[3:9, 3:9] = True
    return inside


@pytest.mark.parametrize("shade", [0.0, 0.5])
@pytest.mark.parametrize("snr", [6, 10, 30])
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.01, 0), (1, -1024)])
def test_tissue_is_found_and_air_is_not(snr, shade, scale, shift):
    blocks = found(head(snr, shade) * scale + shift)
    assert torch.equal(blocks, is_tissue(blocks))


def test_very_noisy_air_may_count_as_head_but_tissue_never_as_air():
    blocks = found(head(3))
    assert blocks[is_tissue(blocks)].all()


def test_black_outside_the_brain_is_air():
    volume = head(10)
    brain = torch.zeros(volume.shape, dtype=torch.bool)
    brain[..., 24:72, 24:72, :] = True
    blocks = found(volume.where(brain, volume.min()))
    assert torch.equal(blocks, is_tissue(blocks))


def test_whole_numbers_of_8_bits_make_no_difference():
    volume = head(12)
    assert torch.equal(found((volume / volume.max() * 255).round()), found(volume))


@pytest.mark.parametrize("bright", [300, 2000])
def test_crop_full_of_tissue_has_no_air(bright):
    """Even beside fat that is much brighter than all the rest."""
    volume = (100 + 8 * torch.randn(48, 48, 16, generator=torch.Generator().manual_seed(0)))[None, None]
    volume[..., :16, :, :] += bright
    assert found(volume).all()


def test_constant_volume_has_no_head():
    assert not found(torch.full((1, 1, 20, 20, 9), 7.0)).any()


def test_blocks_at_the_border_may_be_smaller():
    volume = torch.zeros(1, 1, 17, 9, 5)
    volume[..., 16, 8, 4] = 100
    blocks = found(volume)
    assert blocks.shape == (3, 2, 2) and blocks.sum() == 1 and blocks[2, 1, 1]


def test_windows_with_head_are_told_one_by_one():
    volume, (x, _, _) = head(10), BLOCK
    windows = torch.cat([volume[:, :, : 2 * x, : 2 * x], volume[:, :, 4 * x : 6 * x, 4 * x : 6 * x]])
    assert has_head(windows, float(volume.min()), tissue_level(volume, float(volume.min()))).tolist() == [False, True]
