"""Networks in a faster precision than float32: bfloat16 by PyTorch, and int8 by OpenVINO (the extra `fast`)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_json
from tofgan_monai.phantom import SEEDS, simulate_head
from tofgan_monai.segmentation.inference import HeadWindowInferer
from tofgan_monai.segmentation.quantised import QuantisedNetwork
from tofgan_monai.training.weights import weights_digest

PRECISIONS = ("float32", "bfloat16", "int8")
Ranges = dict[str, tuple[float, float]]

_logger = logging.getLogger(__name__)
_N_HEADS = 8
_VERSION = 1  # of the calibration; another version makes new files of ranges


def require_precision(precision: str) -> None:
    """Checks that this machine can compute in a precision.

    Raises:
        InputError: the precision is unknown, its package is not installed, or the processor does not have it.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision == "int8" and not find_spec("openvino"):
        raise InputError("the precision int8 needs OpenVINO; run pip install 'tofgan-monai[fast]'")
    on_gpu = torch.cuda.is_available()
    if precision == "bfloat16" and not (on_gpu or torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        raise InputError("this processor does not compute in bfloat16; choose the precision float32 or int8")


def with_precision(
    network: nn.Module,
    precision: str,
    window: Sequence[int] = (96, 96, 24),
    calibration: Iterable[Tensor] | None = None,
) -> nn.Module:
    """Returns a network that computes the logits of `network` in a precision; for "float32", `network` itself.

    The result is for inference alone. In bfloat16, PyTorch computes the convolutions, on the network's device. In int8,
    OpenVINO computes them on the CPU, except for the first and the last one, which see intensities and make logits.
    Int8 needs the range of the values that enter each convolution. It is measured on simulated heads, which takes less
    than a minute, and is kept in the user's cache folder in a file that is named by the digest of the weights.

    Args:
        network: 3D network from windows (B, 1, X, Y, Z) to logits of the same shape, with its weights.
        precision: "float32", "bfloat16" or "int8".
        window: size of the windows in voxels; only int8 uses it.
        calibration: volumes (1, 1, X, Y, Z) that the ranges for int8 are measured on; None simulates heads of C.

    Raises:
        InputError: this machine cannot compute in the precision, or int8 is asked for a network that is on a GPU.
    """
    require_precision(precision)
    network.eval()
    device = next(network.parameters()).device
    _logger.info("the network computes in %s", precision)
    if precision == "float32":
        return network
    if precision == "bfloat16":
        return _BFloat16(network)
    if device.type != "cpu":
        raise InputError(f"the network is on {device}, and int8 runs on the CPU alone; give --device cpu, or float32")
    ranges = _kept_ranges(network, window) if calibration is None else _ranges(network, window, calibration)
    return QuantisedNetwork(network, ranges)


class _BFloat16(nn.Module):
    """Computes the convolutions of a network in bfloat16; takes and returns float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        with torch.autocast(windows.device.type, dtype=torch.bfloat16):
            return self.network(windows).float()


def _kept_ranges(network: nn.Module, window: Sequence[int]) -> Ranges:
    """Returns the ranges for int8 from the user's cache folder; measures and keeps them if they are not there."""
    key = json.dumps([_VERSION, weights_digest(network.state_dict()), str(network), list(window)])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tofgan_monai"
    path = cache / f"int8_{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    if path.exists():
        return {name: (low, high) for name, (low, high) in json.loads(path.read_text("utf-8")).items()}
    _logger.info("int8 is prepared once for these weights, on %d simulated heads; kept in %s", _N_HEADS, path)
    ranges = _ranges(network, window, _simulated_volumes())
    try:
        cache.mkdir(parents=True, exist_ok=True)
        write_json(path, ranges)
    except (InputError, OSError) as error:
        _logger.warning("the preparation for int8 is not kept, the next run repeats it: %s", error)
    return ranges


def _simulated_volumes() -> Iterator[Tensor]:
    """Yields the circle of Willis of simulated heads of C (1, 1, X, Y, Z), every second one skull-stripped."""
    for seed in SEEDS["weights"][:_N_HEADS]:
        head = simulate_head("C", seed, small=True)
        image = np.where(head.mask > 0, head.image, head.image.min()) if seed % 2 else head.image
        yield torch.as_tensor(image, dtype=torch.float32)[None, None]


@torch.no_grad()
def _ranges(network: nn.Module, window: Sequence[int], volumes: Iterable[Tensor]) -> Ranges:
    """Returns the range of the input of each convolution, by its name: the means of the windows' smallest and largest.

    Args:
        network: the network.
        window: size of the windows in voxels.
        volumes: the volumes (1, 1, X, Y, Z) whose windows the network sees.
    """
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def note(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[name].append((float(inputs[0].min()), float(inputs[0].max())))

    hooks = [
        module.register_forward_pre_hook(partial(note, name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d)
    ]
    try:
        for volume in volumes:
            HeadWindowInferer(window, batch_size=1)(volume, network)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise InputError("the volumes for the calibration of int8 hold no head; give volumes with tissue")
    return {name: tuple(np.mean(pairs, axis=0).tolist()) for name, pairs in seen.items()}  # in the order of their use
