"""Draws Fig. 4: error maps of two networks on one patient, around large vessels and around small vessels.

An error map shows true positive, false positive and false negative voxels in colours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.transforms import AsDiscrete, Compose, Orientationd
from scipy import ndimage

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import inference_config
from tofgan_monai.metrics.segmentation.calibre import EDGES_MM, calibre_mm
from tofgan_monai.metrics.segmentation.overlap import dice, spacing_of
from tofgan_monai.segmentation.error_maps import error_map, radiological, save_with_legend
from tofgan_monai.training.weights import start_from
from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.reading import ReadScand

WINDOW_MM = 36.0


def draw(dataset_dir: Path, networks: Mapping[str, Path], output: str | os.PathLike, *, width: int) -> None:
    """Draws error maps of the first test patient into a PNG file.

    The figure has a column for each network and two rows: large vessels and small vessels. The patient is the first
    test patient in the cohort, so nobody chose this patient for a good result.

    Args:
        dataset_dir: folder of prepared volumes with labels.
        networks: dict from the title of a column to the weights file of a half U-Net.
        output: the PNG file to write.
        width: number of channels in the first level of the networks.
    """
    from matplotlib.figure import Figure

    keys = ["image", "label"]
    load = Compose([ReadScand(keys), Orientationd(keys, axcodes="RAS", labels=None)])
    item = load(read_cohort(dataset_dir, "test", labelled=True)[0])
    image, truth = item["image"], np.asarray(item["label"][0]) > 0
    spacing_mm = spacing_of(item["label"]) or (1.0, 1.0, 1.0)
    predictions = {name: _predict(image, weights, width) for name, weights in networks.items()}
    small = calibre_mm(truth, spacing_mm) < EDGES_MM[0]
    large, thin = truth & ~small, truth & small
    windows = {
        "large vessels": densest_window(large * 1.0, spacing_mm),
        "small vessels": densest_window(thin - 1.0 * large, spacing_mm),
    }

    figure = Figure(figsize=(3.4 * len(predictions), 7.2), dpi=150, layout="constrained")
    axes = figure.subplots(len(windows), len(predictions), squeeze=False)
    for row, (what, window) in zip(axes, windows.items(), strict=True):
        for axis, (name, prediction) in zip(row, predictions.items(), strict=True):
            rgb = error_map(np.asarray(image[0])[window], prediction[window], truth[window])
            axis.imshow(radiological(rgb), aspect=spacing_mm[1] / spacing_mm[0], interpolation="nearest")
            axis.set_title(f"{name}, {what}\nDSC here {dice(prediction[window], truth[window]):.2f}", fontsize=10)
            axis.set_axis_off()
    save_with_legend(figure, output)


@torch.no_grad()
def _predict(image: torch.Tensor, weights: Path, width: int) -> np.ndarray:
    """Segments an image (1, X, Y, Z) as the segmentation bundle does; returns the vessel mask (X, Y, Z), bool."""
    parser = inference_config(bundle_path("tof_mra_vessel_segmentation"))
    parser["width"] = width
    network = parser.get_parsed_content("network_def").eval()
    start_from(network, weights)
    logits = parser.get_parsed_content("inferer")(torch.as_tensor(image)[None].float(), network)
    mask = AsDiscrete(threshold=parser.get_parsed_content("threshold"))(torch.sigmoid(logits[0, 0]))
    return np.asarray(mask) > 0


def densest_window(weight: np.ndarray, spacing_mm: Sequence[float]) -> tuple[slice, slice, int]:
    """Searches the axial slices for the square window of WINDOW_MM with the largest mean weight.

    Args:
        weight: (X, Y, Z), weight of each voxel.
        spacing_mm: voxel size along the three axes.

    Returns:
        Index of the window: slice of the first axis, slice of the second axis, number of the axial slice.
    """
    size = [min(round(WINDOW_MM / edge), n) for edge, n in zip(spacing_mm, weight.shape[:2], strict=False)]
    mean = ndimage.uniform_filter(weight, size=(*size, 1), mode="constant")
    inner = tuple(slice(edge // 2, n - edge // 2 + 1) for edge, n in zip(size, weight.shape, strict=False))
    x, y, z = np.unravel_index(mean[inner].argmax(), mean[inner].shape)
    return slice(int(x), int(x) + size[0]), slice(int(y), int(y) + size[1]), int(z)
