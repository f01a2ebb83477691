"""Statistics of the vessels in a stack that a neurologist would look at, from its label maps and images.

Patches are axial slices of 96 x 96 pixels, so all statistics are two-dimensional: a vessel across the slice is a dot,
and a vessel that leaves the patch ends there. Lengths are in pixels, as a synthetic stack has no spacing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats
from tqdm import tqdm

from tofgan_monai.metrics.segmentation.thinning import thin
from tofgan_monai.metrics.segmentation.topology import betti_numbers

TOUCHING = np.ones((3, 3))
RING_PIXELS = (2, 6)  # distance of the tissue round a vessel; the pixel at the wall is half vessel and does not count
OUTSIDE = -0.98  # outside the brain mask, images have their minimum, -1
N_RING = 30  # fewer pixels of tissue do not suffice to measure its noise


@dataclass(frozen=True)
class Statistic:
    """A statistic of vessels: its name, its unit, the width of its histogram's bins, and whether it is a count."""

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
    """The values of each of `STATISTICS` in a stack, one for each patch; the radius has one for each centreline pixel.

    A patch without vessels has no radius and no contrast, and its other values are 0.

    Args:
        pairs: (n, 2, 96, 96), an array or a memory map.
        name: the stack's name in the progress bar.
    """
    found = [_of_patch(*pair) for pair in tqdm(pairs, desc=f"vessels of {name}", unit="pair", disable=None)]
    return {
        statistic.name: np.concatenate(values)
        for statistic, values in zip(STATISTICS, zip(*found, strict=True), strict=True)
    }


def _of_patch(image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, ...]:
    vessels = label > 0
    line = thin(vessels)
    components, loops, _ = betti_numbers(vessels[..., None])
    density = 100 * length_pixels(line) / vessels.size
    contrast = contrast_to_noise(image, vessels)
    counts = (np.array([value], float) for value in (density, branch_points(line), components, loops))
    return radii_pixels(vessels, line), *counts, np.array([] if contrast is None else [contrast])


def radii_pixels(vessels: np.ndarray, line: np.ndarray) -> np.ndarray:
    """The distance from each pixel of the centreline to the middle of the nearest background pixel, (n,).

    It is 1 for a vessel one pixel wide, 2 for a vessel three pixels wide, and less next to a vessel's end. Without
    background there is no radius.

    Args:
        vessels: (H, W), bool.
        line: their centreline, (H, W), bool.
    """
    return ndimage.distance_transform_edt(vessels)[line] if not vessels.all() else np.empty(0)


def length_pixels(line: np.ndarray) -> float:
    """Length of a centreline (H, W) in pixels; a step along a row or column counts 1, a diagonal one the root of 2."""
    straight = (line[1:] & line[:-1]).sum() + (line[:, 1:] & line[:, :-1]).sum()
    falling = line[1:, 1:] & line[:-1, :-1] & ~line[1:, :-1] & ~line[:-1, 1:]  # not if other pixels connect them
    rising = line[1:, :-1] & line[:-1, 1:] & ~line[1:, 1:] & ~line[:-1, :-1]
    return float(straight + np.sqrt(2) * (falling.sum() + rising.sum()))


def branch_points(line: np.ndarray) -> int:
    """Number of branch points of a centreline (H, W): pixels with 3 neighbours or more; touching ones count once."""
    neighbours = ndimage.convolve(line.astype(np.int8), np.ones((3, 3), np.int8), mode="constant") - 1
    return ndimage.label(line & (neighbours >= 3), TOUCHING)[1]


def contrast_to_noise(image: np.ndarray, vessels: np.ndarray) -> float | None:
    """Difference between the means of the vessels and of the tissue round them, in standard deviations of the tissue.

    The tissue lies 2 to 6 pixels from the nearest vessel, inside the brain. Its standard deviation includes anatomy as
    well as the scanner's noise. The scale and the offset of an image do not change the result.

    Args:
        image: (H, W) in [-1, 1].
        vessels: (H, W), bool.

    Returns:
        None without a vessel, with less than 30 pixels of tissue, or if the tissue does not vary.
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
    """Distance between synthetic and real values and histograms for each of `STATISTICS`, as data for JSON.

    The distance is the first Wasserstein distance in the statistic's unit: how far the values must be moved on average.
    `floor` is the same distance for held-out patients. Both are None if a set has no value.

    Args:
        synthetic: from `vessel_statistics`.
        real: the same for as many pairs of the training patients.
        others: the same for as many pairs of held-out patients.

    Returns:
        For each statistic: name, unit, distance, floor; `edges` of the bins, the first and last of which include all
        values beyond them; and for each set the share of values in each bin, their mean and their number.
    """
    sets = {"synthetic": synthetic, "real": real, "others": others}
    return [_compared(one, {name: of[one.name] for name, of in sets.items()}) for one in STATISTICS]


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
    """Edges of bins that hold 99 of 100 values; a count is the middle of its bin."""
    low, high = np.quantile(values, (0.005, 0.995)) if len(values) else (0.0, 0.0)
    first, last = np.floor(low / statistic.bin_width), np.floor(high / statistic.bin_width) + 1
    return (np.arange(first, last + 1) - statistic.is_count / 2) * statistic.bin_width


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    within = np.clip(values, (edges[0] + edges[1]) / 2, (edges[-2] + edges[-1]) / 2)
    return np.histogram(within, edges)[0] / max(len(values), 1)
