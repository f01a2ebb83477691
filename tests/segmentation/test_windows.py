"""Windows of heads: where they lie, what is black in them, which are the same again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tofgan_monai import FixedWindows, RandHeadWindow
from tofgan_monai.segmentation.heads import StoredHead
from tofgan_monai.volumes.transforms.air import BLOCK

SHAPE, SIZE = (48, 56, 20), (16, 12, 6)


def head_of(seed=0):
    """A head whose intensities are the indices of its voxels, above 7 for black; the vessels are single voxels."""
    rng = np.random.default_rng(seed)
    image = np.arange(np.prod(SHAPE)).reshape(SHAPE) + 8
    brain = np.zeros(SHAPE, bool)
    brain[12:36, 14:42, 2:-2] = True
    label = rng.random(SHAPE) < 0.01
    blocks = np.ones([-(-n // edge) for n, edge in zip(SHAPE, BLOCK, strict=True)], bool)
    blocks[0] = False  # air
    return StoredHead(image, label + 2 * brain.astype(np.uint8), np.flatnonzero(label), blocks, 7.0, True)


HEAD = head_of()
BRAIN, LABEL = HEAD.marks >= 2, HEAD.marks % 2


def windows(head=HEAD, n=50, size=SIZE, **options):
    cut = RandHeadWindow(size, **options)
    cut.set_random_state(seed=0)
    return [cut(head) for _ in range(n)]


def box_of(cut):
    """Where a window lies, told by its intensities."""
    image = cut["image"][0].numpy()
    seen = np.argwhere(image > HEAD.black)[0]
    start = np.array(np.unravel_index(int(image[tuple(seen)]) - 8, SHAPE)) - seen
    return tuple(slice(int(at), int(at) + edge) for at, edge in zip(start, SIZE, strict=True))


@pytest.mark.parametrize("vessel_share", [0.0, 1.0])
def test_whole_windows_are_parts_of_the_head(vessel_share):
    for cut in windows(vessel_share=vessel_share, strip_share=0.0):
        np.testing.assert_array_equal(cut["image"][0], HEAD.image[box_of(cut)])
        np.testing.assert_array_equal(cut["label"][0], LABEL[box_of(cut)])
        assert cut["image"].dtype == cut["label"].dtype == torch.float32


@pytest.mark.parametrize("vessel_share", [0.0, 1.0])
def test_stripped_windows_are_black_outside_the_brain_and_unchanged_inside(vessel_share):
    for cut in windows(vessel_share=vessel_share, strip_share=1.0):
        box = box_of(cut)
        np.testing.assert_array_equal(cut["image"][0], np.where(BRAIN, HEAD.image, HEAD.black)[box])
        np.testing.assert_array_equal(cut["label"][0], (LABEL * BRAIN)[box])


def is_at_a_border(box):
    return any(side.start == 0 or side.stop == n for side, n in zip(box, SHAPE, strict=True))


@pytest.mark.parametrize("strip_share", [0.0, 1.0])
def test_vessel_windows_have_a_vessel_at_their_centre_unless_the_border_shifts_them(strip_share):
    cuts = [cut for cut in windows(vessel_share=1.0, strip_share=strip_share) if not is_at_a_border(box_of(cut))]
    centre = tuple(edge // 2 for edge in SIZE)
    assert len(cuts) > 10 and all(cut["label"][0][centre] for cut in cuts)


def test_other_windows_lie_anywhere_in_the_head_or_in_the_brain():
    whole, stripped = (windows(n=300, vessel_share=0.0, strip_share=share) for share in (0.0, 1.0))
    centre = tuple(edge // 2 for edge in SIZE)
    assert all((cut["image"][0][centre] > 7) for cut in stripped if not is_at_a_border(box_of(cut)))
    starts = [box_of(cut)[0].start for cut in whole]
    assert min(starts) == 0 and max(starts) == SHAPE[0] - SIZE[0], "BLOCK[0] voxels of air are less than half a window"
    assert np.mean([bool(cut["label"][0][centre]) for cut in whole]) < 0.1


@pytest.mark.parametrize("name", ["vessel_share", "strip_share"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_shares(name, share):
    cuts = windows(n=400, **{"vessel_share": 0.0, "strip_share": 0.0, name: share})
    if name == "strip_share":
        black = [bool((cut["image"] == 7).any()) for cut in cuts]
        assert 0.9 * share - 0.08 < np.mean(black) <= share + 0.08  # a window inside the brain shows no black
    else:
        inner = [cut for cut in cuts if not is_at_a_border(box_of(cut))]
        middle = tuple(edge // 2 for edge in SIZE)
        assert np.mean([bool(cut["label"][0][middle]) for cut in inner]) == pytest.approx(share, abs=0.1)


def test_heads_without_a_mask_are_never_stripped():
    bare = replace(HEAD, marks=LABEL.astype(np.uint8), has_mask=False)
    assert all((cut["image"] > 7).all() for cut in windows(bare, strip_share=1.0))


def test_head_smaller_than_the_window_is_padded_with_its_minimum():
    (cut,) = windows(n=1, size=(64, 56, 24), strip_share=0.0)
    x, y, z = SHAPE
    np.testing.assert_array_equal(cut["image"][0, :x, :y, :z], HEAD.image)
    np.testing.assert_array_equal(cut["label"][0, :x, :y, :z], LABEL)
    assert (cut["image"][0, x:] == 7).all() and (cut["image"][0, ..., z:] == 7).all()
    assert cut["label"].sum() == LABEL.sum()


def test_head_without_vessels_gives_windows_all_the_same():
    assert len(windows(replace(HEAD, vessels=HEAD.vessels[:0]), vessel_share=1.0)) == 50


def test_fixed_windows_are_the_same_in_any_order_and_heads_take_turns():
    heads, cut = [HEAD, head_of(1)], RandHeadWindow(SIZE, vessel_share=1.0, strip_share=0.0)
    fixed = FixedWindows(heads, cut, 6)
    first = list(fixed)
    assert len(first) == len(fixed) == 6
    for index in (5, 2, 0, 3):
        assert torch.equal(fixed[index]["image"], first[index]["image"])
    for index, window in enumerate(first):
        np.testing.assert_array_equal(window["label"][0], heads[index % 2].marks[box_of(window)] % 2)
    assert len({box_of(window)[0].start for window in first}) > 2
    other = FixedWindows(heads, cut, 6, seed=1)
    assert not all(torch.equal(other[index]["image"], first[index]["image"]) for index in range(6))
