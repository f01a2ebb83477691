"""The faults and filters of a simulated scanner."""

from __future__ import annotations

import numpy as np
import pytest

from tofgan_monai.phantom import SOURCES
from tofgan_monai.phantom.acquisition import acquire, export

SHAPE = (48, 64, 20)
AXES = [(np.arange(n) - (n - 1) / 2) * 2.0 for n in SHAPE]
NEUTRAL = {name: low for name, (low, high) in SOURCES["A"].items()} | {"blur": 0.0, "noise_blur": 0.0, "snr": 1e6}


def acquired(signal: np.ndarray, seed: int = 0, **changed: float) -> np.ndarray:
    """Image of a signal by a scanner without faults, but for the changed parameters; grey matter has the value 1000."""
    drawn = NEUTRAL | {"grey_level": 1000.0} | changed
    return acquire(signal.astype(np.float32), AXES, drawn, np.random.default_rng(seed), np.random.default_rng(seed))


def smooth_signal(seed: int = 0) -> np.ndarray:
    return 2 + np.random.default_rng(seed).random(SHAPE)


def test_without_faults_the_image_is_the_rounded_signal() -> None:
    signal = smooth_signal()
    np.testing.assert_allclose(acquired(signal), signal * 1000, atol=0.6)


@pytest.mark.parametrize("kept", [{"kept_in_plane": 0.6}, {"kept_through_plane": 0.5}])
def test_zero_filling_leaves_nothing_outside_the_acquired_part_of_k_space(kept: dict[str, float]) -> None:
    image = acquired(smooth_signal(), **kept)
    axes, share = ((0, 1), 0.6) if "kept_in_plane" in kept else ((2,), 0.5)
    full = np.abs(np.fft.fftn(smooth_signal() * 1000))
    for axis in axes:
        spectrum = np.moveaxis(np.abs(np.fft.fftn(image)), axis, 0)
        outside = np.abs(np.fft.fftfreq(SHAPE[axis])) > share / 2
        assert spectrum[outside].mean() < 0.05 * np.moveaxis(full, axis, 0)[outside].mean()
    assert image.mean() == pytest.approx(smooth_signal().mean() * 1000, rel=1e-3)


def test_the_noise_of_a_zero_filled_image_has_the_same_size() -> None:
    flat = np.full(SHAPE, 20.0)
    for kept in (1.4, 0.7, 0.5):
        image = acquired(flat, snr=10.0, kept_in_plane=kept, kept_through_plane=kept)
        assert image.std() == pytest.approx(100, rel=0.06)


def test_ghosts_are_copies_on_both_sides_along_an_in_plane_axis() -> None:
    signal = np.zeros(SHAPE)
    signal[24, 32] = 4.0
    plain, moved, pulsed = acquired(signal), acquired(signal, motion=0.05), acquired(signal, pulsation=0.05)
    for image, height in ((moved, 4.0), (pulsed, 4.0 - 1.5)):  # pulsation copies what is brighter than 1.5 alone
        copies = np.argwhere(np.abs(image - plain)[:, :, 10] > 20)
        assert len(copies) == 2
        offsets = copies - (24, 32)
        np.testing.assert_array_equal(offsets.sum(0) % SHAPE[:2], 0)  # as far to one side as to the other, or wrapped
        assert np.count_nonzero(np.ptp(copies, axis=0)) <= 1
        assert np.abs(image - plain).max() == pytest.approx(1000 * 0.05 * height, abs=2)


def test_distortion_correction_blurs_off_centre_and_keeps_a_flat_image() -> None:
    flat, rough = np.full(SHAPE, 3.0), smooth_signal()
    np.testing.assert_array_equal(acquired(flat, distortion=4.0), 3000)
    change = np.abs(acquired(rough, distortion=4.0) - acquired(rough))
    assert change[23:25, 31:33].mean() < 5 < change[:8].mean()


def test_sharpening_raises_contrast_and_keeps_a_flat_image() -> None:
    np.testing.assert_array_equal(acquired(np.full(SHAPE, 3.0), sharpening=1.0), 3000)
    assert acquired(smooth_signal(), sharpening=1.0).std() > 1.3 * acquired(smooth_signal()).std()


def test_an_eight_bit_export_clips_and_may_have_blocks() -> None:
    drawn = NEUTRAL | {"window": 2.5, "gamma": 1.0, "grey_level": 77.0}
    image = (smooth_signal() * np.linspace(0.2, 1.5, SHAPE[0])[:, None, None]).astype(np.float32)
    plain = export(image, drawn)
    blocked = export(image, drawn | {"block_noise": 8.0})
    assert plain.max() == 255 and (plain == 255).mean() > 0.1
    assert blocked.min() >= 0 and blocked.max() <= 255 and np.array_equal(blocked, np.rint(blocked))
    assert 1 < np.abs(blocked - plain).mean() < 16
    block = np.zeros((8, 8, 1), np.float32) + np.float32(1.2)
    block[::2] += np.float32(0.01)  # weaker than a step: the block becomes flat
    assert np.ptp(export(block, drawn)) == 1
    assert np.ptp(export(block, drawn | {"block_noise": 8.0})) == 0
