"""The distance that chooses the best checkpoint: 0 for equals, grows with the damage, sees labels that do not fit."""

from __future__ import annotations

import pytest
import torch

from tofgan_monai import PairDataset
from tofgan_monai.metrics.stacks.sliced_wasserstein import sliced_wasserstein


@pytest.fixture(scope="module")
def reals(tmp_path_factory, write_pairs):
    dataset = PairDataset(write_pairs(tmp_path_factory.mktemp("pairs") / "a.npy", 64))
    return torch.stack([item["reals"] for item in dataset])


def test_equal_sets_are_at_zero_and_sets_of_one_kind_near_it(reals):
    assert sliced_wasserstein(reals, reals) == 0
    assert 0 < sliced_wasserstein(reals[:32], reals[32:]) < 0.2


def test_distance_grows_with_the_noise(reals):
    noise = torch.randn(reals.shape, generator=torch.Generator().manual_seed(0))
    distances = [sliced_wasserstein(reals, reals + level * noise) for level in (0, 0.1, 0.3, 1)]
    assert distances == sorted(distances) and distances[-1] > 5 * distances[1]


def test_shift_twice_as_large_is_twice_as_far(reals):
    """A shift of all voxels is one of each projection, by the shift's own projection."""
    assert sliced_wasserstein(reals, reals + 0.5) == pytest.approx(2 * sliced_wasserstein(reals, reals + 0.25))


def test_labels_that_do_not_fit_their_images_are_seen(reals):
    swapped = torch.stack([reals[:, 0], reals[:, 1].roll(1, 0)], dim=1)
    assert sliced_wasserstein(reals, swapped) > 1.5 * sliced_wasserstein(reals, reals.roll(1, 0))


def test_same_seed_gives_the_same_figure_and_leaves_the_global_generator_alone(reals):
    state = torch.get_rng_state()
    figures = [sliced_wasserstein(reals[:32], reals[32:], seed=seed) for seed in (0, 0, 1)]
    assert figures[0] == figures[1] != figures[2]
    assert torch.get_rng_state().equal(state)


def test_constant_reals_give_a_number():
    constant = -torch.ones(4, 2, 96, 96)
    assert sliced_wasserstein(constant, constant) == 0
    assert 0 < sliced_wasserstein(constant, constant + 1e-3) < float("inf")


def test_unequal_sets_are_refused(reals):
    with pytest.raises(ValueError, match="equal numbers"):
        sliced_wasserstein(reals, reals[1:])
