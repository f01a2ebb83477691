"""Similarity: copies are found whatever their contrast, flip and shift, and what is flat or empty matches nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tofgan_monai import InputError
from tofgan_monai.attacks.similarity import FLIPS, joined, nearest
from tofgan_monai.pairs.stack import normalise_patch


def images(n: int, seed: int = 0) -> np.ndarray:
    """Smooth fields with fine noise, (n, 96, 96)."""
    noise = np.random.default_rng(seed).normal(size=(n, 96, 96))
    smooth = gaussian_filter(noise, (0, 4, 4))
    return normalise_patch(smooth / smooth.std() + 0.2 * noise)


def maps(n: int, seed: int = 0) -> np.ndarray:
    """Winding lines, (n, 96, 96) in {-1, +1}."""
    noise = np.random.default_rng(seed).normal(size=(n, 96, 96))
    return np.where(np.abs(gaussian_filter(noise, (0, 6, 6))) < 4e-3, 1, -1)


@pytest.mark.parametrize("kind", [images, maps])
@pytest.mark.parametrize("flip", FLIPS)
def test_a_flipped_and_shifted_copy_is_found_with_its_place(kind, flip: str) -> None:
    queries, stack = kind(6), kind(20, seed=1).astype(np.float32)
    dy, dx = 7, -14
    for i, query in enumerate(queries):
        stack[3 * i] = np.roll(np.flip(query, FLIPS[flip]), (dy, dx), (0, 1))
    found = nearest(queries, stack, k=2)
    assert found.item[:, 0].tolist() == [0, 3, 6, 9, 12, 15]
    assert found.similarity[:, 0] == pytest.approx(1, abs=1e-5)
    assert found.similarity[:, 1].max() < 0.8
    assert {list(FLIPS)[i] for i in found.flip[:, 0]} == {flip}
    assert (found.shift[:, 0] == (dy, dx)).all()


def test_the_similarity_is_numpys_correlation_of_the_matched_windows() -> None:
    queries, stack = images(3), images(9, seed=1)
    found = nearest(queries, stack, k=9)
    for q in range(3):
        fields = (field[q] for field in vars(found).values())
        for similarity, item, flip, (dy, dx) in zip(*fields, strict=True):
            centre = np.flip(queries[q], list(FLIPS.values())[flip])[16:80, 16:80]
            window = stack[item, 16 + dy : 80 + dy, 16 + dx : 80 + dx]
            assert similarity == pytest.approx(np.corrcoef(centre.ravel(), window.ravel())[0, 1], abs=1e-4)
    assert (np.diff(found.similarity, axis=1) <= 0).all()
    assert (np.sort(found.item, axis=1) == np.arange(9)).all()


@pytest.mark.parametrize(
    ("change", "least"),
    [
        (lambda x: 0.3 * x - 0.2, 0.9999),
        (lambda x: ((x + 1) / 2) ** 0.6 * 2 - 1, 0.97),
        (lambda x: x + np.random.default_rng(5).normal(0, 0.1, x.shape), 0.85),
    ],
)
def test_contrast_gamma_and_noise_hide_no_copy(change, least: float) -> None:
    queries, strangers = images(10), images(40, seed=1)
    copies = np.roll(change(queries), (5, 9), (1, 2))[..., ::-1]
    found = nearest(queries, np.concatenate([copies, strangers]))
    assert (found.item[:, 0] == np.arange(10)).all()
    assert found.similarity[:, 0].min() > least > nearest(queries, strangers).similarity.max() + 0.1


def test_flat_and_empty_patches_match_nothing() -> None:
    empty = np.full((2, 96, 96), -1.0, np.float16)
    dot = empty[:1].copy()
    dot[0, 50:54, 50:55] = 1  # fewer than 24 voxels: any other dot would be its equal
    for queries, stack in ((empty, maps(3)), (maps(3), empty), (empty, empty), (dot, dot)):
        assert (nearest(queries, stack, channel="label").similarity == 0).all()
    assert nearest(dot, dot, channel="image").similarity == pytest.approx(1, abs=1e-5)


def test_patches_of_the_same_patient_are_not_compared() -> None:
    stack, patients = images(4), np.array([0, 0, 1, 2])
    alone = nearest(stack, stack, k=4)
    assert (alone.item[:, 0] == np.arange(4)).all()
    apart = nearest(stack, stack, k=4, patients=(patients, patients))
    assert (patients[apart.item[:, 0]] != patients).all()
    assert [(row == -1).sum() for row in apart.similarity] == [2, 2, 1, 1]


def test_matches_in_two_stacks_are_joined() -> None:
    queries, first, second = images(3), images(5, seed=1), np.concatenate([images(2, seed=2), images(3)])
    one, both = nearest(queries, first, k=2), nearest(queries, np.concatenate([first, second]), k=2)
    found = joined(one, nearest(queries, second, k=2), len(first))
    for name in ("similarity", "item", "flip", "shift"):
        assert getattr(found, name) == pytest.approx(getattr(both, name), abs=1e-6)
    assert found.item[:, 0].tolist() == [7, 8, 9]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, stack = images(5), images(7, seed=1).astype(np.float16)
    whole = nearest(queries, stack)
    for name in ("QUERIES", "ITEMS", "COMPARED"):
        monkeypatch.setattr(f"tofgan_monai.attacks.similarity.{name}", 2)
    pieces = nearest(queries, stack)
    assert (pieces.item == whole.item).all()
    assert pieces.similarity == pytest.approx(whole.similarity, abs=1e-6)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"queries has shape \(2, 2, 96, 96\)"):
        nearest(np.zeros((2, 2, 96, 96)), images(1))
    with pytest.raises(InputError, match=r"stack has shape \(0, 96, 96\)"):
        nearest(images(1), np.zeros((0, 96, 96)))
