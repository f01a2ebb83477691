"""The tissue of simulated heads: what is left out in a part of the head changes nothing there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tofgan_monai.phantom import contrast
from tofgan_monai.phantom.anatomy import tissue
from tofgan_monai.phantom.fields import FieldOnGrid, SmoothField, WhenUsed
from tofgan_monai.phantom.grid import Grid
from tofgan_monai.phantom.head import SCALES_MM
from tofgan_monai.phantom.raster import rasterise
from tofgan_monai.phantom.shapes import Region, Shape, least
from tofgan_monai.phantom.sources import draw_parameters


@pytest.mark.parametrize(("source", "seed"), [("A", 0), ("C", 2)])
def test_tissue_is_the_same_in_blocks_and_as_a_whole(source: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = draw_parameters(source, rng)
    spacing = np.array([2.9, 2.7, 2.5])
    x, y, z = ((np.arange(n) - n / 2) * step for n, step in zip((66, 78, 60), spacing, strict=True))
    grid = Grid((x, y, z), np.eye(3), np.array([0.4, -13, -10]), spacing)
    fields = {name: FieldOnGrid(SmoothField.random(rng, scale), grid.axes_mm) for name, scale in SCALES_MM.items()}
    fields["sleeve"] = FieldOnGrid(SmoothField.density(rng.normal(0, 40, (9000, 3)), rng.random(9000), 2), grid.axes_mm)
    levels = contrast.tissue_levels(drawn, contrast.Slabs(drawn, phase=0.3, rng=rng).flip(z))

    def part(*block: slice) -> tuple[np.ndarray, np.ndarray]:
        values = WhenUsed({name: lambda f=f: f.block(block) for name, f in fields.items()})
        at = grid.template(block, np.ones(3))
        return tissue(at, drawn, values, {name: level[block[2]] for name, level in levels.items()})

    signal, inner = part(*[slice(None)] * 3)  # all shapes cut the whole, so that nothing is left out
    assert (signal == 0).mean() > 0.1 and (inner < -31).any()
    for block in np.ndindex(11, 13, 10):
        small = tuple(slice(6 * i, 6 * i + 6) for i in block)
        signal_part, inner_part = part(*small)
        np.testing.assert_array_equal(signal_part, signal[small])
        np.testing.assert_array_equal(np.clip(inner_part, -31, 9), np.clip(inner[small], -31, 9))


def test_bounds_hold_all_distances_of_a_region() -> None:
    rng = np.random.default_rng(0)
    tight = []
    for power in (2.0, 2.5) * 100:
        shape = Shape(tuple(rng.normal(0, 9, 3)), tuple(rng.uniform(3, 70, 3)), power, rng.choice([0.0, 0.12]))
        corner, edge = rng.normal(0, 40, (3, 1)), rng.uniform(0, 25, (3, 1))
        points = (corner + edge * rng.random((3, 500))).astype(np.float32)
        low, high = shape.bounds(Region.around(points))
        distance = shape.distance(points)
        assert low <= distance.min() and distance.max() <= high
        tight.append(high - low)
    assert np.median(tight) < 60


def test_the_least_distance_is_exact_between_its_limits() -> None:
    shapes = Shape((0, 0, 0), (20, 20, 20)), Shape((60, 0, 0), (10, 10, 10))
    for centre in (0, 14, 26, 45, 58, 90):
        points = (np.array([[centre], [0], [0]]) + np.linspace(-4, 4, 30)).astype(np.float32)
        exact = np.minimum(*(np.linalg.norm(points.T - s.centre, axis=1) - s.radii[0] for s in shapes))
        found = np.broadcast_to(least(shapes, Region.around(points), floor=-5, ceil=9), exact.shape)
        np.testing.assert_allclose(np.clip(found, -5, 9), np.clip(exact, -5, 9), atol=1e-4)


@pytest.mark.parametrize("radii", [(2.0, 1.0), (1.0, 2.0)])
def test_the_first_of_two_balls_gives_the_signal(radii: tuple[float, float]) -> None:
    balls = np.array([[5.0, 5, 5], [6.5, 5, 5]])
    size = {"shape": (12, 12, 12), "spacing_mm": np.ones(3)}
    fraction, total = rasterise(balls, np.array(radii), np.array([3.0, 7.0]), **size)
    first, _ = rasterise(balls[:1], np.array(radii[:1]), np.array([3.0]), **size)
    np.testing.assert_allclose(total, 3 * first + 7 * (fraction - first), rtol=1e-5)
    assert (first < fraction).any() and (first > 0).any()


def test_the_blur_is_a_weighted_mean_with_repeated_edges() -> None:
    volume = np.random.default_rng(0).random((5, 7, 4), dtype=np.float32)
    expected = volume
    for axis in (0, 1):
        expected = ndimage.convolve1d(expected, [0.2, 0.6, 0.2], axis=axis, mode="nearest")
    np.testing.assert_allclose(contrast.neighbours(volume, 0.2), expected, rtol=1e-5)
    assert contrast.neighbours(volume, 0) is volume
