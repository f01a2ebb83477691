"""Windows inside the brain or the head, and the Dice of pairs."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SliceInferer, SlidingWindowInferer
from torch import nn

from tofgan_monai import BrainWindowInferer, HeadWindowInferer, PooledDice
from tofgan_monai.segmentation.inference import BACKGROUND_LOGIT


class Counter(nn.Module):
    """Logit = intensity; counts the windows it sees."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.n_windows, self.sizes = 0, set()

    def forward(self, windows):
        self.n_windows += len(windows)
        self.sizes.add(tuple(windows.shape[2:]))
        return windows * self.weight


def volume(x, y, z, seed=0):
    return torch.rand(1, 1, x, y, z, generator=torch.Generator().manual_seed(seed)) + 0.01


@torch.no_grad()
def test_whole_box_is_what_monais_inferer_gives():
    """A network that looks at its window: what is brain everywhere is cut as MONAI cuts it."""
    torch.manual_seed(0)
    network = nn.Conv2d(1, 1, 5, padding=2)
    image = volume(130, 110, 3)
    image[0, 0, 0, 0, 0], image[0, 0, 1, 0, 0] = 0, 0  # the minimum, not at the end of any axis alone
    plain = SliceInferer(roi_size=(96, 96), sw_batch_size=4, overlap=0.25, mode="gaussian", spatial_dim=2)
    torch.testing.assert_close(BrainWindowInferer()(image, network), plain(image, network), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_only_windows_inside_the_box_are_computed():
    image = torch.zeros(1, 1, 300, 290, 12)
    image[..., 100:190, 120:200, 3:8] = volume(90, 80, 5)
    network = Counter()
    logits = BrainWindowInferer()(image, network)
    assert network.n_windows == 5 and network.sizes == {(96, 96)}  # one window a slice
    inside = image > 0
    torch.testing.assert_close(logits[inside], image[inside])
    assert (logits[~inside] == BACKGROUND_LOGIT).all()


@torch.no_grad()
def test_each_slice_has_a_box_of_its_own():
    image = torch.zeros(1, 1, 200, 200, 3)
    image[..., 4:194, 4:194, 0], image[..., 150:180, 20:60, 2] = volume(190, 190, 1)[..., 0], volume(30, 40, 1)[..., 0]
    network = Counter()
    logits = BrainWindowInferer()(image, network)
    assert network.n_windows == 3 * 3 + 1
    torch.testing.assert_close(logits[image > 0], image[image > 0])


@torch.no_grad()
def test_constant_windows_and_slices_of_the_box_are_skipped():
    image = torch.zeros(1, 1, 288, 96, 6)
    image[..., :90, :, 0], image[..., 198:, :, 5] = volume(90, 96, 1)[..., 0], volume(90, 96, 1)[..., 0]
    network = Counter()
    logits = BrainWindowInferer(overlap=0.0)(image, network)
    assert network.n_windows == 2  # of six slices with three windows each
    assert logits[..., 1:5].max().item() == pytest.approx(BACKGROUND_LOGIT) and logits[..., 0].max() > 0


@torch.no_grad()
@pytest.mark.parametrize("shape", [(40, 50, 3), (200, 30, 2), (96, 96, 1), (1, 1, 2)])
def test_volumes_narrower_than_a_window_work(shape):
    image, network = volume(*shape), Counter()
    image.view(-1)[0] = 0
    logits = BrainWindowInferer()(image, network)
    assert logits.shape == image.shape and network.sizes == {(96, 96)}
    torch.testing.assert_close(logits[image > 0], image[image > 0])


@torch.no_grad()
def test_batches_hold_windows_of_several_slices():
    image, sizes = torch.zeros(1, 1, 120, 110, 7), []
    image[..., 10:80, 20:90, :] = volume(70, 70, 7)
    image[..., 3] = 0  # a slice without brain takes no place in a batch
    torch.manual_seed(0)
    network = nn.Conv2d(1, 1, 5, padding=2)

    def predict(windows):
        sizes.append(len(windows))
        return network(windows)

    logits = BrainWindowInferer(batch_size=4)(image, predict)
    assert sizes == [4, 2]  # one window for each of six slices, none twice
    for z in (0, 1, 2, 4, 5, 6):
        one = BrainWindowInferer(batch_size=1)(image[..., z : z + 1], network)
        torch.testing.assert_close(logits[..., z : z + 1], one, atol=1e-6, rtol=0)


def test_constant_volume_is_background_and_costs_nothing():
    network = Counter()
    assert (BrainWindowInferer()(torch.full((1, 1, 9, 9, 9), 7.0), network) == BACKGROUND_LOGIT).all()
    assert not network.n_windows


@torch.no_grad()
def test_one_inferer_serves_volumes_of_several_sizes():
    inferer, network = BrainWindowInferer(), Counter()
    for shape in ((100, 120, 2), (40, 40, 3), (130, 97, 1)):
        assert inferer(volume(*shape), network).shape == (1, 1, *shape)


# ---- windows of volumes

ROI = (32, 24, 8)


def head_in_air(shape, box, seed=0):
    """Tissue of 100 to 101 in a box; air is 0."""
    image = torch.zeros(1, 1, *shape)
    image[(..., *box)] = 100 + torch.rand(image[(..., *box)].shape, generator=torch.Generator().manual_seed(seed))
    return image


@torch.no_grad()
@pytest.mark.parametrize("overlap", [0.25, (0.25, 0.5, 0.0)])
def test_volume_full_of_tissue_is_what_monais_inferer_gives(overlap):
    torch.manual_seed(0)
    network, image = nn.Conv3d(1, 1, 3, padding=1), volume(70, 50, 19) + 100
    plain = SlidingWindowInferer(roi_size=ROI, sw_batch_size=3, overlap=overlap, mode="gaussian")
    given = HeadWindowInferer(ROI, overlap, batch_size=3)(image, network)
    torch.testing.assert_close(given, plain(image, network), atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_only_the_box_around_the_head_is_computed():
    box = (slice(40, 72), slice(32, 56), slice(8, 16))
    image, network = head_in_air((160, 144, 40), box), Counter()
    logits = HeadWindowInferer(ROI)(image, network)
    assert network.n_windows == 1 and network.sizes == {ROI}
    torch.testing.assert_close(logits[(..., *box)], image[(..., *box)])
    assert (logits[image == 0] == BACKGROUND_LOGIT).all()


@torch.no_grad()
def test_windows_of_air_in_the_box_are_skipped():
    shape, first, last = (
        (96, 24, 8),
        (slice(0, 32), slice(None), slice(None)),
        (slice(64, 96), slice(None), slice(None)),
    )
    image, network = head_in_air(shape, first) + head_in_air(shape, last), Counter()
    logits = HeadWindowInferer(ROI, overlap=0.0)(image, network)
    assert network.n_windows == 2 and network.sizes == {ROI}
    torch.testing.assert_close(logits[:, :, 32:64], torch.full((1, 1, 32, 24, 8), BACKGROUND_LOGIT))
    torch.testing.assert_close(logits[:, :, :32], image[:, :, :32])


@torch.no_grad()
@pytest.mark.parametrize("roi", [ROI, (0, 0, 8)])
@pytest.mark.parametrize("shape", [(20, 10, 3), (100, 7, 30), (1, 1, 1)])
def test_volumes_smaller_than_a_window_work(shape, roi):
    image, network = volume(*shape) + 100, Counter()
    image.view(-1)[0] = 50
    logits = HeadWindowInferer(roi)(image, network)
    assert logits.shape == image.shape
    if image.numel() > 1:
        torch.testing.assert_close(logits, image)


@torch.no_grad()
def test_edge_of_0_spans_the_box_in_a_multiple_of_16():
    network, box = Counter(), (slice(16, 56), slice(8, 72), slice(0, 16))
    HeadWindowInferer((0, 0, 8), overlap=0.0)(head_in_air((80, 90, 24), box), network)
    assert network.sizes == {(48, 64, 8)} and network.n_windows == 2


def test_constant_head_volume_is_background_and_costs_nothing():
    network = Counter()
    assert (HeadWindowInferer(ROI)(torch.full((1, 1, 9, 9, 9), 7.0), network) == BACKGROUND_LOGIT).all()
    assert not network.n_windows


# ---- the Dice of pairs


def pairs_of(*labels):
    return [{"image": label * 2 - 1, "label": label} for label in labels]


def bars(*widths):
    labels = torch.zeros(len(widths), 1, 96, 96)
    for label, width in zip(labels, widths, strict=True):
        label[:, :width] = 1
    return labels


class Answer(Counter):
    """Logits that are high in the first `width` rows."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, windows):
        assert not self.training
        return (bars(*[self.width] * len(windows)) - 0.5) * 20


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        (10, (10, 10), 1),
        (10, (5, 15), 2 * (5 + 10) / (20 + 20)),  # pooled: not the mean of 2*5/15 and 2*10/25
        (10, (0, 20), 2 * 10 / (20 + 20)),  # a pair without vessel counts with its false positives
        (0, (0, 0), 1),
    ],
)
def test_pooled_dice_has_its_closed_form(answer, truth, expected, caplog):
    network = Answer(answer).train()
    assert PooledDice(network, pairs_of(*bars(*truth)))() == pytest.approx(expected)
    assert network.training and not caplog.text


def test_network_that_finds_nothing_is_warned_of(caplog):
    assert PooledDice(Answer(0), pairs_of(*bars(3, 4)))() == 0
    assert "finds no vessel" in caplog.text


def test_threshold_is_of_the_probability():
    pairs = pairs_of(*bars(96))
    pairs[0]["image"] = torch.logit(torch.full((1, 96, 96), 0.3))  # the Counter's logits
    for threshold, dice in ((0.29, 1), (0.31, 0)):
        assert PooledDice(Counter(), pairs, threshold=threshold)() == dice


def test_windows_of_volumes_are_pairs_as_well():
    label = torch.zeros(1, 8, 8, 4)
    label[:, :3] = 1
    pairs = [{"image": label * 2 - 1, "label": label}, {"image": torch.ones(1, 8, 8, 4), "label": label}]
    n, whole = label.sum(), label.numel()
    for batch_size in (1, 2):
        network = Counter()
        assert PooledDice(network, pairs, batch_size=batch_size)() == pytest.approx(float(4 * n / (3 * n + whole)))
        assert network.n_windows == 2 and network.sizes == {(8, 8, 4)}


def test_at_most_n_pairs_are_looked_at_the_same_each_time():
    network = Counter()
    dice = PooledDice(network, pairs_of(*bars(*range(1, 41))), n=7)
    assert dice() == dice() and network.n_windows == 14
