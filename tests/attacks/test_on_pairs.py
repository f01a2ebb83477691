"""Attacks on the data: each by a hand-made case, searches that are shared, and too few pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from tofgan_monai.attacks import on_pairs as attacks
from tofgan_monai.attacks.on_pairs import (
    Searches,
    components,
    data_attacks,
    density_ratio,
    monte_carlo,
)
from tofgan_monai.attacks.similarity import Matches
from tofgan_monai.errors import InputError


def pairs(n: int, seed: int) -> np.ndarray:
    """Blocks of noise of 8 x 8 pixels, with a label map where they are bright."""
    blocks = np.random.default_rng(seed).uniform(-1, 1, (n, 12, 12)).repeat(8, axis=1).repeat(8, axis=2)
    return np.stack([blocks, np.where(blocks > 0.7, 1, -1)], axis=1).astype(np.float16)


def matches(similarity: list[float]) -> Matches:
    zeros = np.zeros((len(similarity), 1), int)
    return Matches(np.array(similarity)[:, None], zeros, zeros, np.stack([zeros, zeros], axis=-1))


def test_the_names_are_those_of_the_audit() -> None:
    assert list(data_attacks()) == [
        "nearest image", "nearest label", "GAN-Leaks image", "GAN-Leaks label", "Monte Carlo", "density ratio",
    ]  # fmt: skip


def test_gan_leaks_is_what_the_stack_has_more_than_the_references() -> None:
    found = {"stack": matches([0.9, 0.5, 0.8]), "references": matches([0.4, 0.5, 0.9])}
    attack = data_attacks(lambda queries, stack, channel: found[stack])
    assert attack["nearest label"]("queries", "stack", "references").tolist() == [0.9, 0.5, 0.8]
    assert attack["GAN-Leaks image"]("queries", "stack", "references") == pytest.approx([0.5, 0, -0.1])


def test_two_attacks_share_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(attacks, "search", lambda *asked: made.append(asked[1:]) or matches([0.5]))
    shared = data_attacks(Searches())
    queries, stack, references = (np.zeros(size) for size in (1, 2, 3))
    for name in ("nearest image", "GAN-Leaks image", "nearest label", "GAN-Leaks label", "nearest image"):
        shared[name](queries, stack, references)
    assert [(len(array), channel) for array, channel in made] == [
        (2, "image"), (3, "image"), (2, "label"), (3, "label"),
    ]  # fmt: skip
    shared["nearest image"](queries, stack.copy(), references)  # another array
    assert len(made) == 5


def test_monte_carlo_counts_what_is_within_the_median_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, stack = np.array([[0.0], [2.5], [3.0]]), np.array([[1.0], [3.0]])
    monkeypatch.setattr(attacks, "components", lambda *_: (queries, stack, None))
    # Distances 1 and 3, 1.5 and 0.5, 2 and 0: the nearest are 1, 0.5 and 0, the radius is 0.5, and only the copy is
    # closer; it counts as if a millionth of the largest distance away.
    assert monte_carlo(*[None] * 3) == pytest.approx([0, 0, np.log(0.5 / 3e-6) / 2])


def test_a_stack_that_is_one_point_is_no_division_by_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "components", lambda *_: (np.zeros((3, 2)), np.zeros((4, 2)), None))
    assert (monte_carlo(*[None] * 3) == 0).all()


def test_the_density_ratio_is_of_gaussians(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, at = np.random.default_rng(0), np.linspace(-1, 2, 7)[:, None]
    stack, references = rng.normal(1, 1, (5000, 1)), rng.normal(0, 1, (5000, 1))
    monkeypatch.setattr(attacks, "components", lambda *_: (at, stack, references))
    assert density_ratio(*[None] * 3) == pytest.approx(at[:, 0] - 0.5, abs=0.15)  # log N(x; 1) - log N(x; 0)


def test_the_density_is_scipys_and_there_is_one_of_a_collapsed_stack() -> None:
    rng = np.random.default_rng(0)
    at, rows = rng.normal(size=(30, 12)), rng.normal(size=(90, 12)) @ rng.normal(size=(12, 12))
    assert attacks._log_density(at, rows) == pytest.approx(gaussian_kde(rows.T).logpdf(at.T), abs=0.01)
    collapsed = attacks._log_density(np.concatenate([at, rows[:1]]), rows[:1].repeat(90, axis=0))
    assert np.isfinite(collapsed).all() and collapsed.argmax() == len(at)  # the densest where the one point lies


@pytest.mark.parametrize("n_modes", [1, 5])
@pytest.mark.parametrize("attack", ["Monte Carlo", "density ratio"])
def test_a_collapsed_stack_is_attacked(n_modes: int, attack: str) -> None:
    members = pairs(20, 1)
    stack = members[np.arange(60) % n_modes]
    scores = data_attacks()[attack](np.concatenate([members, pairs(20, 3)]), stack, pairs(40, 2))
    assert np.isfinite(scores).all() and scores[:n_modes].min() > scores[n_modes:].max()


def test_components_are_white_over_stack_and_references() -> None:
    found = components(pairs(5, 0), pairs(60, 1), pairs(40, 2))
    assert [rows.shape for rows in found] == [(5, 12), (60, 12), (40, 12)]
    fitted = np.concatenate(found[1:])
    assert fitted.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert fitted.T @ fitted / 100 == pytest.approx(np.eye(12), abs=1e-9)


def test_components_do_not_see_contrast() -> None:
    stack, references, queries = pairs(60, 1), pairs(40, 2), pairs(5, 0).astype(np.float32)
    changed = queries * np.array([0.5, 1])[:, None, None] + np.array([0.2, 0])[:, None, None]
    assert components(changed, stack, references)[0] == pytest.approx(
        components(queries, stack, references)[0], abs=1e-4
    )


@pytest.mark.parametrize("attack", ["Monte Carlo", "density ratio"])
def test_copies_score_higher_than_others(attack: str) -> None:
    stack = pairs(60, 1)
    scores = data_attacks()[attack](np.concatenate([stack[:20], pairs(20, 3)]), stack, pairs(40, 2))
    assert np.median(scores[:20]) > scores[20:].max()


@pytest.mark.parametrize(("n_stack", "n_references", "named"), [(25, 40, "the stack"), (40, 25, "the references")])
def test_too_few_pairs_are_refused(n_stack: int, n_references: int, named: str) -> None:
    with pytest.raises(InputError, match=f"fewer than 26 pairs in {named};"):
        density_ratio(pairs(2, 0), pairs(n_stack, 1), pairs(n_references, 2))
