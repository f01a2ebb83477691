"""Pairs of fixed latents: the grid, the figure, and nothing of the training disturbed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tofgan_monai import GaussianLatents, Generator, PairDataset, PairMonitor
from tofgan_monai.gan.monitor import pair_grid


class Replay(nn.Module):
    """Not a generator: gives the pairs it was made with, one after the other, with half-hearted labels."""

    def __init__(self, pairs):
        super().__init__()
        self.pairs, self.next = nn.Parameter(pairs * torch.tensor([1, 0.3])[:, None, None]), 0

    def forward(self, latents):
        self.next += len(latents)
        return self.pairs[self.next - len(latents) : self.next]


@pytest.fixture(scope="module")
def reals(tmp_path_factory, write_pairs):
    return PairDataset(write_pairs(tmp_path_factory.mktemp("pairs") / "a.npy", 24))


def test_grid_has_each_image_above_its_label():
    pairs = np.stack([np.stack([np.full((4, 4), i / 10), np.full((4, 4), -1)]) for i in range(3)])
    grid = pair_grid(pairs, columns=2)
    assert grid.dtype == np.uint8 and grid.shape == (2 * (4 + 1 + 4 + 1) + 1, 2 * (4 + 1) + 1)
    assert grid[2::5, 2::5].tolist() == [[127, 140], [0, 0], [153, 64], [0, 64]]  # a pixel of each image and label


def test_distance_is_zero_for_the_reals_themselves_with_labels_as_a_stack_holds_them(reals, tmp_path):
    monitor = PairMonitor(nn.Identity(), GaussianLatents(3), reals=reals, output_dir=str(tmp_path))
    monitor.generator = Replay(monitor.reals)
    assert monitor.distance() == 0


def test_monitor_leaves_training_as_it_was_and_draws(reals, tmp_path):
    torch.manual_seed(0)
    generator = Generator(3, 2).train()
    monitor = PairMonitor(generator, GaussianLatents(3), reals=reals, output_dir=str(tmp_path), n=20)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    state = torch.get_rng_state()
    assert monitor.pairs().shape == (20, 2, 96, 96) and monitor.pairs().equal(monitor.pairs())
    assert monitor.distance() > 0
    monitor(SimpleNamespace(state=SimpleNamespace(epoch=7)))
    assert Image.open(tmp_path / "previews" / "epoch_0007.png").size == (8 * 97 + 1, 4 * 97 + 1)
    assert any((tmp_path / "tensorboard").iterdir())
    assert generator.training and torch.get_rng_state().equal(state)
    assert all(value.equal(before[name]) for name, value in generator.state_dict().items())


@pytest.mark.parametrize(("has_reals", "n", "n_made"), [(True, 256, 24), (False, 20, 20)])
def test_few_reals_or_none_are_enough(reals, tmp_path, has_reals, n, n_made):
    given = {"reals": reals if has_reals else None, "output_dir": str(tmp_path), "n": n}
    assert len(PairMonitor(Generator(3, 2), GaussianLatents(3), **given).pairs()) == n_made


def test_objective_measures_in_place_of_the_wasserstein_distance(tmp_path):
    class Shares:
        def distance(self, pairs):
            return float((pairs[:, 1] > 0).float().mean())

    monitor = PairMonitor(
        Generator(3, 2), GaussianLatents(3), reals=None, output_dir=str(tmp_path), n=4, objective=Shares()
    )
    assert monitor.distance() == Shares().distance(monitor.pairs())
