"""The threshold of generated labels: the share of vessels it gives, saturated labels, labels that are all equal."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tofgan_monai import InputError, choose_label_threshold
from tofgan_monai.gan.label_threshold import vessel_share


def stack_with_share(share: float, n: int = 4) -> np.ndarray:
    label = np.where(np.random.default_rng(0).random((n, 96, 96)) < share, 1, -1)
    return np.stack([np.zeros_like(label), label], axis=1).astype(np.float16)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_label_threshold_gives_the_validation_share(share: float) -> None:
    validation = stack_with_share(share)
    raw = np.tanh(np.random.default_rng(1).normal(-2, 1, (7, 96, 96))).astype(np.float32)
    threshold = choose_label_threshold(raw, validation)
    assert -1 < threshold < 1
    assert (raw > threshold).mean() == pytest.approx(vessel_share(validation), abs=1 / raw.size)


def test_label_threshold_of_saturated_labels_lies_between_them(caplog: pytest.LogCaptureFixture) -> None:
    raw = np.full((2, 96, 96), -1, np.float32)
    raw[:, :20] = 1
    assert choose_label_threshold(raw, stack_with_share(0.01)) == 0
    raw[:, 30:40] = 0.5  # more than enough at +1 for the share: the cut stays above 0.5
    assert 0.5 < choose_label_threshold(raw, stack_with_share(0.1)) < 1
    with caplog.at_level(logging.WARNING):
        assert choose_label_threshold(np.full((2, 96, 96), -1.0), stack_with_share(0.01)) == 0
    assert "everywhere" in caplog.text
    with pytest.raises(InputError, match=r"\[-1, 1\]"):
        choose_label_threshold(raw * 3, stack_with_share(0.1))
