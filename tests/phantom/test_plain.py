"""Source P: anatomy within C's ranges, scanned cleanly; the sites keep their table."""

from __future__ import annotations

import numpy as np
import pytest

from tofgan_monai import simulate_head
from tofgan_monai.errors import InputError
from tofgan_monai.phantom import PARAMETERS, SOURCES
from tofgan_monai.phantom.sources import PLAIN, draw_parameters


@pytest.fixture(scope="module")
def head():
    return simulate_head("P", 0, small=True)


def test_plain_source_is_no_site():
    assert {*SOURCES} == {"A", "B", "C"}


def test_its_ranges_are_those_of_c_or_of_its_own_table():
    names = {parameter.name for parameter in PARAMETERS}
    assert {*PLAIN} < names
    for parameter in PARAMETERS:
        low, high = parameter.range_of("P")
        assert (low, high) == PLAIN.get(parameter.name, parameter.C) and low <= high
        for site in "ABC":
            assert parameter.range_of(site) == getattr(parameter, site)
    drawn = [draw_parameters("P", np.random.default_rng(seed)) for seed in range(20)]
    for name, (low, high) in PLAIN.items():
        assert all(low - 1e-9 <= each[name] <= high + 1e-9 for each in drawn), name


def test_its_anatomy_is_as_wide_as_that_of_both_hospitals():
    for name in ("m1_radius", "tortuosity", "sulcus_width", "ventricles", "head_size"):
        low, high = PLAIN[name]
        for site in "AB":
            assert low <= SOURCES[site][name][0] and SOURCES[site][name][1] <= high, name


def test_same_seed_gives_the_same_bytes_and_another_another_also_beyond_32_bits(head):
    again, far, near = (simulate_head("P", seed, small=True) for seed in (0, 2**32, 1))
    assert all(getattr(head, n).tobytes() == getattr(again, n).tobytes() for n in ("image", "label", "mask", "affine"))
    assert len({each.image.tobytes() for each in (head, far, near)}) == 3


def test_its_grid_is_that_of_site_a_and_its_label_the_half_filled_voxels(head):
    assert head.image.shape == (192, 192, 24)
    np.testing.assert_allclose(np.linalg.norm(head.affine[:3, :3], axis=0), (0.5, 0.5, 0.7))
    assert head.parameters["label_fraction"] == 0.5 and head.parameters["label_contrast"] == 0


def roughness(image):
    """The mean of the second difference along x, over the middle intensity: noise makes it large."""
    return np.abs(np.diff(image, 2, axis=0)).mean() / np.median(image)


def test_it_has_no_noise(head):
    noisy = simulate_head("A", 0, small=True)
    assert roughness(head.image) < 0.5 * roughness(noisy.image)
    assert head.image[head.label > 0].mean() > 1.5 * np.median(head.image)


def test_unknown_source_names_those_that_there_are():
    with pytest.raises(InputError, match="choose the source A, B, C or P"):
        simulate_head("D", 0)
