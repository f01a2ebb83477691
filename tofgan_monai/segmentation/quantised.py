"""A network in int8, computed by OpenVINO."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class QuantisedNetwork(nn.Module):
    """Computes the logits of a 3D network with OpenVINO on the CPU; most convolutions are computed in int8.

    The input of a convolution is rounded to 256 levels, which span a range that is the same for all windows. Each
    output channel of its weights is rounded to 129 levels, whole numbers from -64 to 64: with 255 levels, the sums of
    OpenVINO 2026.4 overflow on processors that have AVX2 but not VNNI. The rest is computed in bfloat16 where the
    processor has it, else in float32. The first and the last convolution are not rounded.

    Args:
        network: network from windows (B, 1, X, Y, Z) to logits of the same shape.
        ranges: the smallest and the largest value of the input of each convolution, by the name of the module, in the
            order in which the network uses them.
    """

    def __init__(self, network: nn.Module, ranges: Mapping[str, tuple[float, float]]) -> None:
        super().__init__()
        self.network = network  # so that this module has the network's parameters and device
        self.ranges = dict(list(ranges.items())[1:-1])
        self.compiled: dict[tuple[int, ...], Any] = {}

    @torch.no_grad()
    def forward(self, windows: Tensor) -> Tensor:
        """Returns the logits (B, 1, X, Y, Z) for windows (B, 1, X, Y, Z)."""
        low, high = windows.amin((2, 3, 4), keepdim=True), windows.amax((2, 3, 4), keepdim=True)
        # To [0, 1] before bfloat16, which has few digits; the network's first layer undoes any scale.
        scaled = ((windows - low) / (high - low).clamp_min(1e-30)).numpy()
        if windows.shape[2:] not in self.compiled:
            self.compiled[windows.shape[2:]] = _compiled(self.network, self.ranges, windows[:1], len(windows))
        compiled = self.compiled[windows.shape[2:]]
        requests = [compiled.create_infer_request() for _ in scaled]
        for request, window in zip(requests, scaled, strict=True):
            request.start_async({0: window[None]})
        for request in requests:
            request.wait()
        return torch.from_numpy(np.concatenate([request.get_output_tensor(0).data for request in requests]))


def _compiled(network: nn.Module, ranges: Mapping[str, tuple[float, float]], window: Tensor, n: int) -> Any:
    """Returns OpenVINO's compiled model of a network, with rounded convolutions.

    Args:
        network: the network.
        ranges: the range of the input of each convolution that is rounded, by the name of the module.
        window: an example (1, 1, X, Y, Z); the model takes this shape alone.
        n: number of windows that are computed at the same time.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # openvino.convert_model does the same, but reports to the vendor that it was used.
    frontend = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the model takes this shape alone
        decoder = TorchScriptPythonDecoder(network, example_input=window)
    model = frontend.convert(frontend.load(decoder))  # reads the decoder
    model.reshape(list(window.shape))
    for node in model.get_ordered_ops():
        name = node.get_friendly_name().split("/")[0].removeprefix("__module.")
        if node.get_type_name() in ("Convolution", "ConvolutionBackpropData") and name in ranges:
            _round_inputs(node, *ranges[name])
    model.validate_nodes_and_infer_types()
    threads = torch.get_num_threads()
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": min(n, threads)}
    return openvino.Core().compile_model(model, "CPU", options)


def _round_inputs(node: Any, low: float, high: float) -> None:
    """Rounds the input and the weights of a convolution in an OpenVINO model, which then computes it in int8.

    Args:
        node: the convolution.
        low: smallest value of the input.
        high: largest value of the input.
    """
    if -low <= high / 255:  # after a leaky ReLU: negative values round to 0
        limits = 0.0, high
    else:
        level = max(-low / 128, high / 127)
        limits = -128 * level, 127 * level
    weights = node.input_value(1)
    values = weights.get_node().data
    output_axis = 1 if node.get_type_name() == "ConvolutionBackpropData" else 0
    others = tuple(axis for axis in range(values.ndim) if axis != output_axis)
    largest = np.abs(values).max(axis=others, keepdims=True)
    for i, source, (bottom, top), levels in (
        (0, node.input_value(0), limits, 256),
        (1, weights, (-127 / 64 * largest, 127 / 64 * largest), 255),  # as whole numbers up to 64
    ):
        node.input(i).replace_source_output(_rounded(source, bottom, top, levels))


def _rounded(source: Any, bottom: Any, top: Any, levels: int) -> Any:
    """Returns an OpenVINO output whose values are rounded to evenly spaced levels from `bottom` to `top`."""
    from openvino import opset13

    ends = [opset13.constant(np.asarray(end, np.float32)) for end in (bottom, top)]
    return opset13.fake_quantize(source, *ends, *ends, levels).output(0)
