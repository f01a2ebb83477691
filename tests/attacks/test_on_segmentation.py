"""Attacks on a segmentation network: they catch what was learnt by heart; shadows even out how hard patches are."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from torch import nn

from tests.helpers.scores import auc
from tofgan_monai import HalfUNet, InputError, VesselLoss, VesselUNet3D
from tofgan_monai.attacks.on_segmentation import confidence_score, figures, lira_score, loss_score

N = 6
LOSS = DiceCELoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)  # as in the bundle's train.yaml


def loss(network, queries):
    return loss_score(figures(network, queries))


def confidence(network, queries):
    return confidence_score(figures(network, queries))


def lira(network, shadows, queries):
    return lira_score(figures(network, queries), [figures(shadow, queries) for shadow in shadows])


ATTACKS = [loss, confidence]


@pytest.fixture(scope="module")
def pairs():
    """(12, 2, 32, 32), small to be fast: noise with four bars, of which one is the vessel; nothing tells which."""
    rng = np.random.default_rng(0)
    image, label = rng.normal(0, 0.1, (2 * N, 32, 32)) - 0.6, np.full((2 * N, 32, 32), -1.0)
    for i in range(2 * N):
        start = rng.integers(0, 10)
        bars = [(turn, first) for turn in (0, 1) for first in (start, start + 16)]
        for turn, first in bars:
            np.rot90(image[i], turn)[first : first + 4] = 0.6
        turn, first = bars[i % 4]
        np.rot90(label[i], turn)[first : first + 4] = 1
    return np.stack([image.clip(-1, 1), label], axis=1).astype(np.float16)


@pytest.fixture(scope="module")
def by_heart(pairs):
    """A U-Net that has learnt the members, the first half of the pairs, by heart.

    It learns in double precision: what it guesses of the others then depends on no processor's rounding.
    """
    torch.manual_seed(0)
    network, batch = HalfUNet(4).double(), torch.from_numpy(pairs[:N].astype(np.float64))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        LOSS(network(batch[:, :1]), (batch[:, 1:] > 0).double()).backward()
        optimizer.step()
    return network.float()


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(1)
    return [HalfUNet(4) for _ in range(3)]


@pytest.mark.parametrize("attack", ATTACKS)
def test_network_that_knows_its_members_by_heart_is_caught_and_an_untrained_one_is_not(
    by_heart, untrained, pairs, attack
):
    assert auc(attack(by_heart, pairs)) > 0.85
    assert 0.15 < auc(attack(untrained[0], pairs)) < 0.85
    assert by_heart.training  # left as it was


def test_lira_catches_it_too_and_not_an_untrained_one(by_heart, untrained, pairs):
    assert auc(lira(by_heart, untrained[:2], pairs)) > 0.85
    assert 0.15 < auc(lira(untrained[2], untrained[:2], pairs)) < 0.85


class Logits(nn.Module):
    """Logits by what each image's mean says: a number of the patch, from a table."""

    def __init__(self, sureness):
        super().__init__()
        self.sureness = nn.Parameter(torch.as_tensor(sureness, dtype=torch.float32))

    def forward(self, image):
        index = (image.mean((1, 2, 3)) * 256).round().long()
        return -self.sureness[index][:, None, None, None].expand_as(image)


@pytest.fixture(scope="module")
def of_many_difficulties():
    """Pairs without a vessel; networks are more or less sure of that, by the patch, and a bit surer of members."""
    n = 40
    rng = np.random.default_rng(0)
    pairs = np.full((2 * n, 2, 96, 96), -1, np.float32)
    pairs[:, 0] = (np.arange(2 * n) / 256)[:, None, None]
    easy = rng.uniform(-1, 5, 2 * n)
    seen = np.arange(2 * n) < n

    def network(gain):
        return Logits(easy + gain * seen + rng.normal(0, 0.1, 2 * n))

    return pairs, network(0.5), [network(0) for _ in range(4)], network(0)


def test_lira_sees_what_differing_difficulty_hides_from_the_loss(of_many_difficulties):
    pairs, attacked, shadows, innocent = of_many_difficulties
    of_lira, plain = (auc(scores) for scores in (lira(attacked, shadows, pairs), loss(attacked, pairs)))
    assert of_lira > 0.95 and 0.5 < plain < 0.75
    assert 0.35 < auc(lira(innocent, shadows, pairs)) < 0.65


def test_lira_counts_deviations_of_unseen_patches(of_many_difficulties):
    pairs, _, shadows, innocent = of_many_difficulties
    scores = lira(innocent, shadows, pairs)
    expected = np.sqrt(1 + 1 / len(shadows))  # of a new network against the mean of four
    assert abs(scores.mean()) < 0.5 and scores.std() == pytest.approx(expected, rel=0.3)


def test_shadows_that_are_all_the_same_divide_by_nothing(pairs):
    network = HalfUNet(2)
    assert (lira(network, [network, copy.deepcopy(network)], pairs) == 0).all()


@pytest.mark.parametrize("n_shadows", [0, 1])
def test_fewer_than_two_shadows_are_told(pairs, n_shadows):
    with pytest.raises(InputError, match=f"{n_shadows} shadow models; train two or more"):
        lira(HalfUNet(2), [HalfUNet(2)] * n_shadows, pairs)


def test_scores_in_closed_form():
    """A quarter is vessel; the network says p = 0.8 everywhere."""
    pairs = np.full((1, 2, 96, 96), -1, np.float32)
    pairs[:, 0] = 0
    pairs[:, 1, :48, :48] = 1
    network = Logits([-np.log(4)])
    entropy = -(np.log(0.8) + 3 * np.log(0.2)) / 4
    dice = 1 - (2 * 0.8 * 2304 + 1) / (0.8 * 9216 + 2304 + 1)
    modified = -2 * (0.2 * np.log(0.8) + 3 * 0.8 * np.log(0.2)) / 4
    assert loss(network, pairs) == pytest.approx([-entropy - dice], rel=1e-5)
    assert confidence(network, pairs) == pytest.approx([-modified], rel=1e-5)


def test_loss_is_the_trainings_own(untrained, pairs):
    batch = torch.from_numpy(pairs.astype(np.float32))
    with torch.no_grad():
        logits = untrained[0](batch[:, :1])
    expected = [-float(LOSS(logits[i : i + 1], (batch[i : i + 1, 1:] > 0).float())) for i in range(len(batch))]
    np.testing.assert_allclose(loss(untrained[0], pairs), expected, rtol=1e-5)


@pytest.mark.parametrize("attack", [*ATTACKS, lambda network, none: lira(network, [network] * 2, none)])
def test_no_queries_have_no_scores(pairs, attack):
    assert attack(HalfUNet(2), pairs[:0]).shape == (0,)


def test_a_patch_that_is_all_right_stays_finite():
    pairs = np.full((1, 2, 96, 96), -1, np.float32)
    pairs[:, 0] = 0
    sure, unsure = Logits([1000.0]), Logits([0.0])
    for attack in ATTACKS:
        assert attack(sure, pairs) == pytest.approx([0], abs=1e-12) and attack(unsure, pairs)[0] < 0
    assert np.isfinite(lira(sure, [unsure, Logits([1.0])], pairs)).all()


# ---- windows of heads


@pytest.fixture(scope="module")
def windows():
    """(8, 2, 16, 16, 8): noise with one of two bars as the vessel; nothing tells which."""
    rng = np.random.default_rng(0)
    windows = rng.normal(0, 0.1, (8, 2, 16, 16, 8)) - 0.6
    windows[:, 0, 2:4] = windows[:, 0, 10:12] = 0.6
    windows[:, 1] = -1
    for i, window in enumerate(windows):
        window[1, (2, 10)[i % 2] :][:2] = 1
    return windows.clip(-1, 1).astype(np.float16)


def test_3d_network_that_knows_its_windows_by_heart_is_caught(windows):
    torch.manual_seed(1)
    network, stranger = VesselUNet3D(4, 3).double(), VesselUNet3D(4, 3)
    batch, optimizer = torch.from_numpy(windows[:4].astype(np.float64)), torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        error = VesselLoss()(network(batch[:, :1]), (batch[:, 1:] > 0).double())
        error.backward()
        optimizer.step()
    assert error < 0.1  # else it has not learnt them, and there is nothing to catch
    network.float()
    for attack in ATTACKS:
        assert auc(attack(network, windows)) == 1 and 0.1 < auc(attack(stranger, windows)) < 0.9
    assert auc(lira(network, [stranger, VesselUNet3D(4, 3)], windows)) == 1


def test_loss_of_windows_is_the_trainings_own(windows):
    network, batch = VesselUNet3D(2, 2), torch.from_numpy(windows.astype(np.float32))
    with torch.no_grad():
        logits = network(batch[:, :1])
    expected = [-float(VesselLoss()(logits[i : i + 1], (batch[i : i + 1, 1:] > 0).float())) for i in range(len(batch))]
    np.testing.assert_allclose(loss(network, windows), expected, rtol=1e-5)
