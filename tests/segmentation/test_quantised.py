"""What OpenVINO makes of a network: values are rounded to levels within their range, in int8."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tofgan_monai.segmentation.quantised import QuantisedNetwork

BFLOAT16 = 2**-8  # its relative error


def chain():
    """Three convolutions that each give the image itself."""
    network = nn.Sequential(*(nn.Conv3d(1, 1, 1, bias=False) for _ in range(3)))
    for convolution in network:
        nn.init.ones_(convolution.weight)
    return network


def ramp(n=512):
    return torch.linspace(0, 1, n).reshape(1, 1, 8, 8, n // 64)


@pytest.mark.parametrize(
    ("limits", "step", "bottom", "top"),
    [((0.0, 0.5), 0.5 / 255, 0, 0.5), ((0.0, 8.0), 8 / 255, 0, 1), ((-8.0, 0.4), 8 / 128, 0, 1)],
)
def test_values_are_rounded_to_the_levels_of_the_range(limits, step, bottom, top):
    ranges = {"0": (0.0, 0.1), "1": limits, "2": (0.0, 0.1)}
    given = QuantisedNetwork(chain(), ranges)(ramp())
    expected = (ramp() / step).round() * step
    # A value between two levels may become either one, as it enters in bfloat16.
    assert ((given - expected.clamp(bottom, top)).abs() <= step + BFLOAT16).all()
    assert len(given.unique()) <= 1 / step + 2
    assert given.amax() == pytest.approx(min(top, 1), abs=step / 2 + BFLOAT16)


def test_first_and_last_convolution_keep_their_precision():
    ranges = {"0": (0.0, 0.1), "1": (0.0, 1.0), "2": (0.0, 0.1)}  # 0.1 would cut the values off
    torch.testing.assert_close(QuantisedNetwork(chain(), ranges)(ramp()), ramp(), atol=0.01, rtol=0)


def test_convolution_is_computed_in_int8():
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Conv3d(n, 16, 3, padding=1) for n in (1, 16, 16)))
    fast = QuantisedNetwork(network, dict.fromkeys("012", (-3.0, 3.0)))
    fast(ramp())
    model = fast.compiled[ramp().shape[2:]].get_runtime_model()
    infos = [{name: value.astype(str) for name, value in node.get_rt_info().items()} for node in model.get_ops()]
    kinds = [info["runtimePrecision"] for info in infos if "Convolution" in info["layerType"]]
    assert len(kinds) == 3 and [kind in ("i8", "u8") for kind in kinds] == [False, True, False]
