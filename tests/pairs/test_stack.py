"""Stacks: what goes in comes out, nothing half or wrong gets in, broken ones are told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tofgan_monai import InputError, PairDataset, StackWriter, open_stack
from tofgan_monai.pairs.stack import binarise_labels, manifest_path, normalise_patch, patients_of_pairs


def pairs_of(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-1, 1, (n, 96, 96)), rng.choice([-1, 1], (n, 96, 96))], axis=1).astype(np.float16)


@pytest.mark.parametrize("scale", [1e-6, 1, 4095])
def test_patches_are_scaled_each_by_itself(scale):
    patches = np.random.default_rng(0).normal(7, 3, (4, 96, 96)) * scale
    scaled = normalise_patch(patches)
    assert (scaled.min((1, 2)) == -1).all() and np.allclose(scaled.max((1, 2)), 1) and scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled[2], normalise_patch(patches[2]))


def test_constant_patch_is_minus_one_not_nan():
    patches = np.stack([np.full((96, 96), 5.0), np.eye(96)])
    assert (normalise_patch(patches)[0] == -1).all() and normalise_patch(patches)[1].max() == 1


def test_labels_above_the_threshold_become_one():
    raw = np.array([[[[0.5]], [[0.2]]], [[[-0.5]], [[0.1]]]])
    assert binarise_labels(raw, 0.1).ravel().tolist() == [0.5, 1, -0.5, -1]


def test_stack_comes_back_as_it_went_in(tmp_path):
    pairs = pairs_of(5)
    with StackWriter(tmp_path / "a.npy", 5, {"kind": "trial"}) as stack:
        stack.append(pairs[:3])
        stack.append(pairs[3:])
    back, manifest = open_stack(tmp_path / "a.npy")
    np.testing.assert_array_equal(back, pairs)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), pairs)
    assert manifest == {"kind": "trial", "n": 5, "shape": [5, 2, 96, 96], "dtype": "float16"}
    assert not back.flags.writeable and sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.npy"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda pairs: pairs[:, :, :95], r"shape \(2, 2, 95, 96\)"),
        (lambda pairs: pairs[0], r"shape \(2, 96, 96\)"),
        (lambda pairs: pairs * np.array([2, 1])[:, None, None], r"image values .* must lie in \[-1, 1\]"),
        (lambda pairs: pairs * np.array([np.nan, 1])[:, None, None], "image values"),
        (lambda pairs: pairs * np.array([1, 0])[:, None, None], "label values"),
        (lambda pairs: pairs[:1], "1 pairs were appended, but n = 2"),
    ],
)
def test_wrong_pairs_are_refused_and_the_stack_of_before_stays(tmp_path, write_pairs, spoil, told):
    path = write_pairs(tmp_path / "a.npy", 2)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(InputError, match=told), StackWriter(path, 2, {}) as stack:
        stack.append(spoil(pairs_of(2, seed=1)))
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_stack_is_named_npy(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.npy"):
        StackWriter(tmp_path / "pairs", 1, {})


def test_disk_that_fills_up_is_told_and_the_stack_of_before_stays(tmp_path, write_pairs, full_disk):
    path = write_pairs(tmp_path / "a.npy", 2)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    told = r"a\.npy cannot be written \(File too large\); free some space"
    with pytest.raises(InputError, match=told), full_disk(100_000), StackWriter(path, 8, {}) as stack:
        for _ in range(8):
            stack.append(pairs_of(1))
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_broken_stacks_are_one_clear_line(tmp_path, write_pairs):
    path = write_pairs(tmp_path / "whole.npy", 2)
    cut, alone, other, wide, single, empty = (tmp_path / f"{name}.npy" for name in "abcdef")
    cut.write_bytes(path.read_bytes()[:-1000])
    np.save(alone, pairs_of(2))
    np.save(other, pairs_of(3))
    np.save(wide, np.zeros((2, 2, 128, 128), np.float16))
    np.save(single, pairs_of(2).astype(np.float32))
    np.save(empty, pairs_of(0))
    for stack in (cut, other, wide, single, empty):
        manifest_path(stack).write_bytes(manifest_path(path).read_bytes())
    expected = {
        tmp_path / "none.npy": "No such file",
        cut: "cannot be read as a stack",
        alone: r"No such file.*b\.json.*copy its manifest b\.json beside it, or make the stack again",
        other: r"c\.json in this folder is not the stack",
        wide: r"\(2, 2, 128, 128\)",
        single: "float32",
        empty: r"\(0, 2, 96, 96\)",
    }
    for stack, told in expected.items():
        with pytest.raises(InputError, match=told) as caught:
            open_stack(stack)
        assert str(stack) in str(caught.value) and "\n" not in str(caught.value)


def test_items_are_float_tensors_for_gan_and_network(tmp_path, write_pairs):
    item = PairDataset(write_pairs(tmp_path / "a.npy", 3))[1]
    assert {key: (tuple(value.shape), value.dtype) for key, value in item.items()} == {
        "reals": ((2, 96, 96), torch.float32),
        "image": ((1, 96, 96), torch.float32),
        "label": ((1, 96, 96), torch.float32),
    }
    assert set(item["label"].unique().tolist()) == {0, 1} and set(item["reals"][1].unique().tolist()) == {-1, 1}
    assert item["image"].min() == -1 and item["label"].equal((item["reals"][1:] + 1) / 2)


def test_pooled_stacks_follow_one_another(tmp_path, write_pairs):
    stacks = [write_pairs(tmp_path / f"{n}.npy", n, seed=n) for n in (3, 1, 2)]
    pooled = PairDataset(stacks)
    alone = [item["reals"] for stack in stacks for item in PairDataset(stack)]
    assert len(pooled) == len(alone) == 6
    assert all(pooled[i]["reals"].equal(reals) for i, reals in enumerate(alone))
    with pytest.raises(IndexError):
        pooled[6]


def test_digest_tells_stacks_apart_by_what_is_in_them(tmp_path, write_pairs):
    one, same, other = (write_pairs(tmp_path / f"{n}.npy", 70, seed=n // 2) for n in range(3))
    assert PairDataset(one).digest == PairDataset(same).digest
    assert len({PairDataset(paths).digest for paths in (one, other, [one, other], [other, one])}) == 4


@pytest.mark.parametrize(
    ("told", "kind"),
    [({"kind": "real", "simulated": True}, "simulated"), ({"kind": "real"}, "real"), ({"kind": "mixed"}, "real")],
)
def test_a_stack_of_an_earlier_version_is_read_and_told(tmp_path, told, kind):
    """Its manifest says `simulated` beside `kind`, and the patient of every single pair."""
    np.save(tmp_path / "old.npy", pairs_of(4))
    volumes = [{"patient": i, "n_vessel": 1, "n_random": 1, "spacing_mm": [0.5] * 3, "padded": False} for i in (0, 1)]
    manifest = {**told, "split": "training", "volumes": volumes, "patient_of_pair": [0, 0, 1, 1], "n": 4}
    (tmp_path / "old.json").write_text(json.dumps(manifest))
    assert PairDataset(tmp_path / "old.npy").provenance == [{"kind": kind, "patients": 2}]
    assert patients_of_pairs("old.npy", open_stack(tmp_path / "old.npy")[1]).tolist() == [0, 0, 1, 1]
