"""The loss of the 3D network."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss

from tofgan_monai import VesselLoss


def tube(width):
    """A straight vessel of a square section, through a window."""
    label = torch.zeros(1, 1, 24, 24, 12)
    low = 12 - width // 2
    label[..., low : low + width, low : low + width, :] = 1
    return label


def logits_of(label):
    return (label - 0.5) * 40


def test_without_the_centreline_it_is_dice_and_cross_entropy():
    torch.manual_seed(0)
    logits, label = torch.randn(2, 1, 8, 8, 4), (torch.rand(2, 1, 8, 8, 4) < 0.3).float()
    plain = DiceCELoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    assert torch.equal(VesselLoss()(logits, label), plain(logits, label))


def test_perfect_logits_cost_nothing_and_gradients_flow():
    label = tube(4)
    assert VesselLoss(cldice_weight=1.0)(logits_of(label), label) == pytest.approx(0, abs=2e-3)
    logits = torch.zeros_like(label, requires_grad=True)
    VesselLoss(cldice_weight=1.0)(logits, label).backward()
    assert (logits.grad[label > 0] < 0).all() and (logits.grad[label == 0] >= 0).all()


def test_weight_scales_the_centrelines_share():
    label, found = tube(4), logits_of(tube(2))
    none, half, whole = (float(VesselLoss(cldice_weight=weight)(found, label)) for weight in (0.0, 0.5, 1.0))
    assert whole - none == pytest.approx(2 * (half - none), abs=1e-5)


@pytest.mark.parametrize(("iterations", "sees"), [(3, False), (10, True)])
def test_wide_vessel_that_is_missed_costs_as_much_as_its_skeleton_is_deep(iterations, sees):
    """MONAI's three erosions never reach the centre of a vessel of nine voxels."""
    label, loss = tube(9), VesselLoss(cldice_weight=1.0, cldice_iterations=iterations)
    share = loss(logits_of(0 * label), label) - loss.region(logits_of(0 * label), label)
    assert (float(share) > 0.5) == sees
