"""MS-SSIM within a stack: a closed form for constant images, the formula by scipy, collapse and noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from tofgan_monai import InputError
from tofgan_monai.metrics.stacks.diversity import WEIGHTS, similarity_within

C1, C2 = 0.01**2, 0.03**2


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 96, 96)).astype(np.float16)


def smooth(n: int, seed: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[:96, :96]
    phases = np.random.default_rng(seed).uniform(0, 1, (n, 2))
    return np.stack([np.sin(rows / 9 + a) * np.cos(columns / 14 + b) for a, b in phases])


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Of two images in [0, 1], as the paper has it."""
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    product = 1.0
    for scale, weight in enumerate(WEIGHTS):
        mean_a, mean_b, aa, bb, ab = (signal.convolve2d(x, window, "valid") for x in (a, b, a * a, b * b, a * b))
        structure = (2 * (ab - mean_a * mean_b) + C2) / (aa - mean_a**2 + bb - mean_b**2 + C2)
        luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
        last = scale == len(WEIGHTS) - 1
        product *= max((luminance * structure if last else structure).mean(), 0) ** weight
        a, b = (x.reshape(x.shape[0] // 2, 2, -1, 2).mean((1, 3)) for x in (a, b))
    return product


def test_of_constant_images_only_their_luminance_differs():
    images = np.stack([np.full((96, 96), -0.4), np.full((96, 96), 0.6)])  # 0.3 and 0.8 of [0, 1]
    expected = ((2 * 0.3 * 0.8 + C1) / (0.3**2 + 0.8**2 + C1)) ** WEIGHTS[-1]
    assert similarity_within(images, n_comparisons=4) == pytest.approx(expected, rel=1e-3)
    assert sum(WEIGHTS) == pytest.approx(1)


def test_it_is_the_papers_formula():
    a, b = smooth(2, seed=1)
    expected = ms_ssim((a + 1) / 2, (b + 1) / 2)
    assert 0.1 < expected < 0.95
    assert similarity_within(np.stack([a, b]), n_comparisons=3) == pytest.approx(expected, abs=1e-4)


def test_a_collapsed_stack_has_1_and_noise_next_to_0():
    assert similarity_within(np.repeat(smooth(1), 5, 0), n_comparisons=20) == pytest.approx(1, abs=1e-5)
    assert similarity_within(np.full((5, 96, 96), -1.0), n_comparisons=20) == pytest.approx(1, abs=1e-5)
    assert similarity_within(noise(20), n_comparisons=60) < 0.1 < similarity_within(smooth(20), n_comparisons=60)


def test_no_image_meets_itself_and_the_seed_draws():
    opposite = np.stack([smooth(1)[0], -smooth(1)[0]])
    assert similarity_within(opposite, n_comparisons=20) == 0  # one meeting with itself would be a 1
    first, again, other = (similarity_within(smooth(20), n_comparisons=10, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    with pytest.raises(InputError, match="1 images"):
        similarity_within(noise(1))
