"""Vessel statistics: drawn shapes, oracles, patches without vessels, background or contrast, distances."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import euler_number, perimeter

from tofgan_monai.metrics.segmentation.thinning import thin
from tofgan_monai.metrics.stacks.vessels import (
    STATISTICS,
    branch_points,
    compare_vessels,
    contrast_to_noise,
    length_pixels,
    radii_pixels,
    vessel_statistics,
)

NAMES = [statistic.name for statistic in STATISTICS]
MIDDLE = np.hypot(*(axis - 48 for axis in np.mgrid[:96, :96])) <= 25


def rays(angles: list[float], radius: float, centre: tuple[float, float] = (48.3, 47.6), length: float = 35):
    """Straight vessels from a centre on, (96, 96)."""
    rows, columns = (axis - at for axis, at in zip(np.mgrid[:96, :96], centre, strict=True))
    vessels = np.zeros((96, 96), bool)
    for angle in angles:
        down, right = np.sin(angle), np.cos(angle)
        along = np.clip(rows * down + columns * right, 0, length)
        vessels |= (rows - along * down) ** 2 + (columns - along * right) ** 2 <= radius**2
    return vessels


def pairs(labels: list[np.ndarray], seed: int = 0) -> np.ndarray:
    images = np.random.default_rng(seed).normal(-0.3, 0.1, (len(labels), 96, 96)) + 0.8 * np.array(labels)
    return np.stack([images.clip(-1, 1), np.where(labels, 1, -1)], axis=1).astype(np.float16)


@pytest.mark.parametrize("radius", [1.5, 2.5, 4.0, 6.0])
def test_radii_are_those_that_were_drawn(radius):
    rng = np.random.default_rng(0)
    found = []
    for angle in rng.uniform(0, np.pi, 20):
        vessels = rays([angle, angle + np.pi], radius, rng.uniform(47, 49, 2))
        found.append(radii_pixels(vessels, thin(vessels) & MIDDLE).mean())  # the ends are not as deep
    assert np.mean(found) == pytest.approx(radius, abs=0.35)


@pytest.mark.parametrize(("width", "radius"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_a_radius_is_the_distance_to_the_background(width, radius):
    vessels = np.zeros((96, 96), bool)
    vessels[40 : 40 + width, :] = True  # through the patch: beyond its edge is no background
    line = thin(vessels)
    assert line.sum() > 80 and np.median(radii := radii_pixels(vessels, line)) == radius == radii.max()


@pytest.mark.parametrize(
    ("line", "length"),
    [
        (np.eye(11, dtype=bool), 10 * np.sqrt(2)),
        (np.eye(11, dtype=bool)[::-1], 10 * np.sqrt(2)),
        (np.arange(121).reshape(11, 11) % 11 == 4, 10),
        (np.arange(121).reshape(11, 11) == 60, 0),
        (np.zeros((11, 11), bool), 0),
        (np.array([[1, 1, 0], [0, 1, 1]], bool), 3),  # a stair: its corners are no short cuts
    ],
)
def test_lengths_of_known_lines(line, length):
    assert length_pixels(line) == pytest.approx(length)


def test_the_length_of_a_curve_is_near_the_perimeter_that_skimage_gives():
    disc = np.hypot(*(axis - 48 for axis in np.mgrid[:96, :96])) <= 30
    line = thin(disc & ~ndimage.binary_erosion(disc))
    assert length_pixels(line) == pytest.approx(perimeter(disc), rel=0.06)


def test_bifurcations_are_one_branch_point_and_bends_none():
    rng = np.random.default_rng(0)
    counts = []  # of a straight vessel, of a bend, of a bend with a branch
    for base in rng.uniform(0, 2 * np.pi, 60):
        fork = [base, base + rng.uniform(2.6, 4.5), base + rng.uniform(0.9, 2.2)]
        radius, centre = rng.uniform(0.7, 4), rng.uniform(45, 51, 2)
        counts.append([branch_points(thin(rays(fork[:n], radius, centre))) for n in (1, 2, 3)])
    straight, bent, forked = np.transpose(counts)
    assert not straight.any() and (bent == 0).mean() > 0.9 and (forked == 1).mean() > 0.95


def test_a_crossing_and_two_forks():
    cross = np.zeros((20, 20), bool)
    cross[10, 3:17] = cross[3:17, 10] = True
    assert branch_points(cross) == 1
    ladder = np.zeros((20, 20), bool)
    ladder[3:17, 4] = ladder[3:17, 14] = ladder[10, 4:15] = True
    assert branch_points(ladder) == 2
    assert branch_points(np.zeros((20, 20), bool)) == 0


def test_components_and_loops_are_those_of_the_plane():
    ring = np.zeros((96, 96), bool)
    ring[20:40, 20:40] = True
    ring[25:35, 25:35] = False
    dots = np.zeros((96, 96), bool)
    dots[5, 5] = dots[6, 6] = dots[50, 50] = True  # two touch by a corner
    noise = np.random.default_rng(0).random((6, 96, 96)) < np.linspace(0.05, 0.6, 6)[:, None, None]
    labels = [ring, dots, ring | dots, np.zeros_like(ring), *noise]
    found = vessel_statistics(pairs(labels))
    assert found["components"][:4].tolist() == [1, 2, 3, 0] and found["loops"][:4].tolist() == [1, 0, 1, 0]
    for label, components, loops in zip(labels, found["components"], found["loops"], strict=True):
        assert components == ndimage.label(label, np.ones((3, 3)))[1]
        assert components - loops == euler_number(label, connectivity=2)


def test_contrast_to_noise_is_what_was_put_in():
    vessels = rays([0.3, 2.0], radius=3)
    image = np.random.default_rng(0).normal(-0.2, 0.05, (96, 96)) + 0.4 * vessels
    expected = 0.4 / 0.05
    assert contrast_to_noise(image, vessels) == pytest.approx(expected, rel=0.06)
    assert contrast_to_noise(image.clip(-0.9, 1) * 0.5 + 0.1, vessels) == pytest.approx(expected, rel=0.06)
    masked = np.where(np.arange(96) < 40, -1, image)  # beyond the brain; vessels begin at column 35
    inside = vessels & (np.arange(96) >= 40)
    assert contrast_to_noise(masked, inside) == pytest.approx(expected, rel=0.1)
    tissue = ndimage.binary_dilation(vessels, iterations=9) & ~vessels
    assert contrast_to_noise(np.where(vessels | tissue, image, 0.9), vessels) == pytest.approx(expected, rel=0.06)


def test_without_vessels_tissue_or_variation_there_is_no_contrast():
    empty, full = np.zeros((96, 96), bool), np.ones((96, 96), bool)
    image = np.random.default_rng(0).uniform(-0.5, 0.5, (96, 96))
    vessels = rays([0.3], radius=3)
    assert contrast_to_noise(image, empty) is None and contrast_to_noise(image, full) is None
    assert contrast_to_noise(np.full((96, 96), -1.0), vessels) is None
    assert contrast_to_noise(np.full((96, 96), 0.25), vessels) is None


def test_patches_without_vessels_count_where_they_can():
    empty, full = np.zeros((96, 96), bool), np.ones((96, 96), bool)
    found = vessel_statistics(pairs([empty, full, rays([0.0, np.pi], radius=2)]))
    assert list(found) == NAMES
    assert [len(found[name]) for name in NAMES[1:]] == [3, 3, 3, 3, 1]
    assert found["length density"][0] == found["components"][0] == 0 < found["length density"][2]
    assert found["length density"][2] == pytest.approx(100 * 70 / 96**2, rel=0.1)
    assert 60 < len(found["vessel radius"]) < 75 and np.isfinite(np.concatenate(list(found.values()))).all()


def test_distances_are_wassersteins_and_histograms_share_their_edges():
    thin, thick = ([rays([a, a + np.pi], radius) for a in np.linspace(0, 3, 12)] for radius in (2, 4))
    real, others, synthetic = (vessel_statistics(pairs(x, seed)) for seed, x in enumerate((thin, thin[::-1], thick)))
    lines = {line["name"]: line for line in compare_vessels(synthetic, real, others)}
    assert list(lines) == NAMES and json.loads(json.dumps(list(lines.values()), allow_nan=False))
    radius = lines["vessel radius"]
    ordered = [np.quantile(x["vessel radius"], np.linspace(0, 1, 100_001)) for x in (synthetic, real)]
    assert radius["distance"] == pytest.approx(np.abs(ordered[0] - ordered[1]).mean(), rel=1e-3)
    assert radius["distance"] == pytest.approx(2, abs=0.5) and radius["floor"] == pytest.approx(0, abs=1e-9)
    for line in lines.values():
        assert len(line["synthetic"]) == len(line["real"]) == len(line["others"]) == len(line["edges"]) - 1
        assert [sum(line[of]) for of in ("synthetic", "real", "others")] == pytest.approx([1, 1, 1])
    assert lines["components"]["edges"] == [0.5, 1.5] and lines["components"]["means"]["real"] == 1


def test_what_lies_beyond_the_bins_is_in_the_outermost():
    found = vessel_statistics(pairs([np.zeros((96, 96), bool)]))
    few = {**found, "loops": np.array([0.0] * 999)}
    many = {**found, "loops": np.array([0.0] * 998 + [50.0])}
    loops = {line["name"]: line for line in compare_vessels(many, few, few)}["loops"]
    assert loops["edges"] == [-0.5, 0.5] and loops["synthetic"] == loops["real"] == [1.0]
    assert loops["distance"] == pytest.approx(50 / 999) and loops["n"]["synthetic"] == 999


def test_sets_without_any_vessel_have_no_distance_where_nothing_was_measured():
    empty = vessel_statistics(pairs([np.zeros((96, 96), bool)] * 3))
    lines = {line["name"]: line for line in compare_vessels(empty, empty, empty)}
    for name, missing in zip(NAMES, (True, False, False, False, False, True), strict=True):
        assert (lines[name]["distance"], lines[name]["floor"]) == ((None, None) if missing else (0, 0))
    assert sum(lines["vessel radius"]["real"]) == 0 and lines["vessel radius"]["means"]["real"] is None
    assert json.dumps(lines, allow_nan=False)
