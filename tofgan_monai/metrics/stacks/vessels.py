"""Computes statistics of the vessels in a stack (a file of image-label pairs), such as a neurologist would look at.

Each pair is a patch: an axial slice of 96 x 96 pixels with its label map. So all statistics are two-dimensional: a
vessel across the slice is a dot, and a vessel that leaves the patch ends at the border. Lengths are in pixels, because
a synthetic stack has no spacing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats
from tqdm import tqdm

from tofgan_monai.metrics.segmentation.thinning import thin
from tofgan_monai.metrics.segmentation.topology import betti_numbers

TOUCHING = np.ones((3, 3))
RING_PIXELS = (2, 6)  # tissue lies this far from a vessel; the pixel at the wall is partly vessel and does not count
OUTSIDE = -0.98  # outside the brain mask, images have their minimum, -1
N_RING = 30  # fewer pixels of tissue do not suffice to measure its noise


@dataclass(frozen=True)
class Statistic:
    """Description of a statistic of vessels: name, unit, width of the histogram's bins, and whether it is a count."""

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
    """Dict from the name of each statistic in `STATISTICS` to an array of its values in a stack.

    Each statistic has one value per patch, but the vessel radius has one value per pixel of the centreline. A patch
    without vessels has no radius and no contrast to noise, and its other values are 0. Patches whose contrast cannot be
    measured have none.

    Args:
        pairs: all pairs of the stack, (n, 2, 96, 96), an array or a memory map.
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
    """Array (n,) of the vessel radius in pixels at each pixel of the centreline.

    The radius is the distance from the centreline pixel to the middle of the nearest background pixel: 1 for a vessel
    one pixel wide, 2 for a vessel three pixels wide, and less next to the end of a vessel. If the patch has no
    background, the array is empty.

    Args:
        vessels: mask of the vessels, (H, W), bool.
        line: centreline of these vessels, (H, W), bool.
    """
    return ndimage.distance_transform_edt(vessels)[line] if not vessels.all() else np.empty(0)


def length_pixels(line: np.ndarray) -> float:
    """Length of a centreline (H, W) in pixels; a step along a row or column counts 1, a diagonal step sqrt(2)."""
    straight = (line[1:] & line[:-1]).sum() + (line[:, 1:] & line[:, :-1]).sum()
    falling = (
        line[1:, 1:] & line[:-1, :-1] & ~line[1:, :-1] & ~line[:-1, 1:]
    )  # no diagonal step if other pixels connect both
    rising = line[1:, :-1] & line[:-1, 1:] & ~line[1:, 1:] & ~line[:-1, :-1]
    return float(straight + np.sqrt(2) * (falling.sum() + rising.sum()))


def branch_points(line: np.ndarray) -> int:
    """Number of branch points of a centreline (H, W): pixels with 3 or more neighbours; touching pixels count once."""
    neighbours = ndimage.convolve(line.astype(np.int8), np.ones((3, 3), np.int8), mode="constant") - 1
    return ndimage.label(line & (neighbours >= 3), TOUCHING)[1]


def contrast_to_noise(image: np.ndarray, vessels: np.ndarray) -> float | None:
    """Mean intensity of the vessels minus mean intensity of the tissue, in standard deviations of the tissue.

    Tissue pixels lie 2 to 6 pixels from the nearest vessel, inside the brain. The standard deviation of the tissue
    includes anatomy as well as the scanner's noise. The scale and the offset of the image's intensities do not change
    the result.

    Args:
        image: image of the patch, (H, W), in [-1, 1].
        vessels: mask of the vessels, (H, W), bool.

    Returns:
        The contrast to noise. None if there is no vessel, if there are fewer than 30 pixels of tissue, or if the
        intensity of the tissue does not vary.
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
    """Compares the vessels of synthetic pairs with those of real pairs; returns one dict for each of `STATISTICS`.

    The distance between two sets is the first Wasserstein distance in the statistic's unit: the mean distance by which
    the values of one set must be moved to match the other set. A distance is None if one of its two sets has no value.

    Args:
        synthetic: result of `vessel_statistics` for synthetic pairs.
        real: result of `vessel_statistics` for as many pairs of training patients.
        others: result of `vessel_statistics` for as many pairs of held-out patients.

    Returns:
        For each statistic, a dict for JSON. "distance" is the distance between synthetic and real values, "floor" the
        distance between the held-out and the training patients' values. "edges" are the edges of the histogram's bins;
        the first and the last bin include all values beyond the edges. "synthetic", "real" and "others" hold the
        fraction of the set's values in each bin. "means" and "n" hold the mean and the number of each set's values.
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
    """Array of the edges of bins that hold the middle 99% of the values; each count is the middle of its bin."""
    low, high = np.quantile(values, (0.005, 0.995)) if len(values) else (0.0, 0.0)
    first, last = np.floor(low / statistic.bin_width), np.floor(high / statistic.bin_width) + 1
    return (np.arange(first, last + 1) - statistic.is_count / 2) * statistic.bin_width


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    within = np.clip(values, (edges[0] + edges[1]) / 2, (edges[-2] + edges[-1]) / 2)
    return np.histogram(within, edges)[0] / max(len(values), 1)
