"""Networks in bfloat16 and int8: near the network in float32, prepared once, refused where they cannot run."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from tofgan_monai import InputError, VesselUNet3D, with_precision
from tofgan_monai.phantom import Head
from tofgan_monai.segmentation import precision as precisions

WINDOW = (16, 16, 8)


def network(seed=0):
    torch.manual_seed(seed)
    return VesselUNet3D(width=8, levels=2)


def windows(n=3, seed=0):
    noise = torch.rand(n, 1, *WINDOW, generator=torch.Generator().manual_seed(seed))
    noise[:, :, 4:8] += 2
    return 100 * noise


@pytest.fixture
def simulated(monkeypatch, tmp_path):
    """Stands for the simulation, which takes seconds for a head; lists the seeds that were asked for."""
    seeds = []

    def simulate(source, seed, *, small):
        assert source == "C" and small
        seeds.append(seed)
        image = windows(1, seed)[0, 0].numpy()
        return Head(image, image > 200, np.ones(WINDOW, bool), np.eye(4), {})

    monkeypatch.setattr(precisions, "simulate_head", simulate)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return seeds


def test_float32_is_the_network_itself():
    given = network()
    assert with_precision(given, "float32") is given and not given.training


@torch.no_grad()
def test_bfloat16_is_near_float32_where_the_processor_has_it():
    given = network()
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(InputError, match="bfloat16"):
            with_precision(given, "bfloat16")
        return
    logits, expected = with_precision(given, "bfloat16")(windows()), given(windows())
    assert logits.dtype == torch.float32 and not torch.equal(logits, expected)
    torch.testing.assert_close(logits, expected, atol=0.05, rtol=0.05)


@torch.no_grad()
def test_int8_is_near_float32_at_any_number_of_windows(simulated):
    given = network()
    fast = with_precision(given, "int8", WINDOW)
    for n in (2, 1, 3):
        logits, expected = fast(windows(n, seed=n)), given(windows(n, seed=n))
        assert logits.shape == expected.shape and not torch.equal(logits, expected)
        assert torch.corrcoef(torch.stack([logits.flatten(), expected.flatten()]))[0, 1] > 0.99


@torch.no_grad()
def test_units_of_the_image_do_not_matter_in_int8():
    fast = with_precision(network(), "int8", WINDOW, calibration=[windows(1)])
    torch.testing.assert_close(fast(windows() + 30_000), fast(windows()), atol=0.05, rtol=0.05)


def test_int8_is_prepared_once_for_each_weights_and_window(simulated, tmp_path):
    first = with_precision(network(), "int8", WINDOW)
    assert simulated == list(range(8))
    assert with_precision(network(), "int8", WINDOW).ranges == first.ranges and len(simulated) == 8
    assert len(list((tmp_path / "cache" / "tofgan_monai").glob("int8_*.json"))) == 1
    with_precision(network(seed=1), "int8", WINDOW)
    with_precision(network(), "int8", (16, 16, 4))
    assert len(simulated) == 24


def test_int8_works_where_nothing_can_be_kept(simulated, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert with_precision(network(), "int8", WINDOW).ranges and "not kept" in caplog.text


def test_log_says_which_precision_runs(caplog):
    with caplog.at_level(logging.INFO):
        with_precision(network(), "int8", WINDOW, calibration=[windows(1)])
    assert "the network computes in int8" in caplog.text


def test_calibration_without_tissue_is_refused():
    with pytest.raises(InputError, match="no head"):
        with_precision(network(), "int8", WINDOW, calibration=[torch.zeros(1, 1, *WINDOW)])


def test_unknown_precision_is_refused():
    with pytest.raises(InputError, match="float32, bfloat16, int8"):
        with_precision(network(), "float8")


def test_int8_without_the_extra_is_refused(monkeypatch):
    monkeypatch.setattr(precisions, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install 'tofgan-monai\\[fast\\]'"):
        with_precision(network(), "int8", WINDOW)
