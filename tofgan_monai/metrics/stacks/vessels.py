"""What a neurologist reads of a vessel tree, on the label maps and images of a stack.

The patches are axial slices of 96 x 96 pixels, so all of it is two-dimensional: a vessel that runs through the slice is
a dot, and one that leaves the patch ends there. Lengths are in pixels, as a synthetic stack has no spacing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats
from skimage.morphology import skeletonize
from tqdm import tqdm

from tofgan_monai.metrics.segmentation.topology import betti_numbers

TOUCHING = np.ones((3, 3))
RING_PIXELS = (2, 6)  # the tissue round a vessel: not the pixel at its wall, which is half vessel
OUTSIDE = -0.98  # images are at their minimum, -1, where the brain mask ends
N_RING = 30  # pixels of tissue without which its noise is not told


@dataclass(frozen=True)
class Statistic:
    """A statistic of vessels: its unit, the width of its histogram's bins, and whether it is a whole number."""

    name: str
    unit: str
    bin_width: float
    is_count: bool = False


STATISTICS = (
    Statistic("vessel radius", "pixels", 0.5),
    Statistic("length density", "pixels per 100 square pixels", 0.1),
    Statistic("branch points", "per patch", 1, is_count=True),
    Statistic("components", "per patch", 1, is_count=True),
    Statistic("loops", "per patch", 1, is_count=True),
    Statistic("contrast to noise", "standard deviations of the tissue", 0.5),
)


def vessel_statistics(pairs: np.ndarray, *, name: str = "a stack") -> dict[str, np.ndarray]:
    """Of pairs (n, 2, 96, 96) each of `STATISTICS` as an array, a value a patch, or a centreline pixel for the radius.

    A patch without vessels has no radius and no contrast, and 0 of the others.

    Args:
        pairs: a stack, or a memory map of one.
        name: of the stack, beside the progress.
    """
    found = [_of_patch(*pair) for pair in tqdm(pairs, desc=f"vessels of {name}", unit="pair", disable=None)]
    return {
        statistic.name: np.concatenate(values)
        for statistic, values in zip(STATISTICS, zip(*found, strict=True), strict=True)
    }


def _of_patch(image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, ...]:
    vessels = label > 0
    line = skeletonize(vessels)
    components, loops, _ = betti_numbers(vessels[..., None])
    density = 100 * length_pixels(line) / vessels.size
    contrast = contrast_to_noise(image, vessels)
    counts = (np.array([value], float) for value in (density, branch_points(line), components, loops))
    return radii_pixels(vessels, line), *counts, np.array([] if contrast is None else [contrast])


def radii_pixels(vessels: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Of each pixel of the centreline (H, W) the distance to the nearest background pixel's middle.

    A vessel one pixel wide has 1, one three wide 2. Without background nothing can be measured: no radius.
    """
    return ndimage.distance_transform_edt(vessels)[line] if not vessels.all() else np.empty(0)


def length_pixels(line: np.ndarray) -> float:
    """Length of a centreline (H, W), steps along rows and columns as 1 and diagonal ones as the root of 2."""
    straight = (line[1:] & line[:-1]).sum() + (line[:, 1:] & line[:, :-1]).sum()
    falling = line[1:, 1:] & line[:-1, :-1] & ~line[1:, :-1] & ~line[:-1, 1:]  # no way round the corner
    rising = line[1:, :-1] & line[:-1, 1:] & ~line[1:, 1:] & ~line[:-1, :-1]
    return float(straight + np.sqrt(2) * (falling.sum() + rising.sum()))


def branch_points(line: np.ndarray) -> int:
    """Branch points of a centreline (H, W): its pixels with three neighbours or more; those that touch count as one."""
    neighbours = ndimage.convolve(line.astype(np.int8), np.ones((3, 3), np.int8), mode="constant") - 1
    return ndimage.label(line & (neighbours >= 3), TOUCHING)[1]


def contrast_to_noise(image: np.ndarray, vessels: np.ndarray) -> float | None:
    """Mean of the vessels less that of the tissue round them, over the tissue's standard deviation.

    The tissue lies 2 to 6 pixels from the nearest vessel, inside the brain. Its deviation holds anatomy as well as the
    scanner's noise. An image's scale and offset change nothing.

    Args:
        image: (H, W) in [-1, 1].
        vessels: (H, W) of truth values.

    Returns:
        None where there is no vessel, less than 30 pixels of tissue, or tissue without any variation.
    """
    if not vessels.any():
        return None
    image = image.astype(np.float64)
    away = ndimage.distance_transform_edt(~vessels)
    tissue = image[(away >= RING_PIXELS[0]) & (away <= RING_PIXELS[1]) & (image > OUTSIDE)]
    noise = tissue.std() if len(tissue) >= N_RING else 0.0
    return float((image[vessels].mean() - tissue.mean()) / noise) if noise > 0 else None


def compare_vessels(
    synthetic: dict[str, np.ndarray], real: dict[str, np.ndarray], others: dict[str, np.ndarray]
) -> list[dict]:
    """Of each of `STATISTICS` the distance of synthetic to real values, and the histograms; JSON-able.

    The distance is Wasserstein's first, in the statistic's unit: how far the values must be moved on average. `floor`
    is that of other real patients. Both are None where a set has no value.

    Args:
        synthetic: what `vessel_statistics` gives.
        real: of the training patients' pairs, as many.
        others: of other patients' pairs, as many.

    Returns:
        For each: name, unit, distance, floor; `edges` of the bins, of which the first and the last hold what lies
        beyond; and for each set the share of values in each bin, their mean and their number.
    """
    return [
        _compared(one, {"synthetic": synthetic[one.name], "real": real[one.name], "others": others[one.name]})
        for one in STATISTICS
    ]


def _compared(statistic: Statistic, values: dict[str, np.ndarray]) -> dict:
    edges = _edges(np.concatenate(list(values.values())), statistic)
    shares = {name: _shares(of, edges).tolist() for name, of in values.items()}
    return {
        "name": statistic.name,
        "unit": statistic.unit,
        "distance": _distance(values["synthetic"], values["real"]),
        "floor": _distance(values["others"], values["real"]),
        "edges": edges.tolist(),
        **shares,
        "means": {name: float(of.mean()) if len(of) else None for name, of in values.items()},
        "n": {name: len(of) for name, of in values.items()},
    }


def _distance(a: np.ndarray, b: np.ndarray) -> float | None:
    return float(stats.wasserstein_distance(a, b)) if len(a) and len(b) else None


def _edges(values: np.ndarray, statistic: Statistic) -> np.ndarray:
    """Bins that hold 99 of 100 values; a whole number is the middle of its bin."""
    low, high = np.quantile(values, (0.005, 0.995)) if len(values) else (0.0, 0.0)
    first, last = np.floor(low / statistic.bin_width), np.floor(high / statistic.bin_width) + 1
    return (np.arange(first, last + 1) - statistic.is_count / 2) * statistic.bin_width


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    within = np.clip(values, (edges[0] + edges[1]) / 2, (edges[-2] + edges[-1]) / 2)
    return np.histogram(within, edges)[0] / max(len(values), 1)
