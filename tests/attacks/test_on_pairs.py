"""Attacks on released pairs: each by a hand-made case, and stacks that are collapsed or too small."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from tofgan_monai import InputError
from tofgan_monai.attacks import on_pairs as attacks
from tofgan_monai.attacks.on_pairs import ATTACKS, MatchTable, components, density_ratio, match_table, monte_carlo
from tofgan_monai.attacks.similarity import CHANNELS, Matches


def pairs(n: int, seed: int) -> np.ndarray:
    """Blocks of noise of 8 x 8 pixels, with a label map where they are bright."""
    blocks = np.random.default_rng(seed).uniform(-1, 1, (n, 12, 12)).repeat(8, axis=1).repeat(8, axis=2)
    return np.stack([blocks, np.where(blocks > 0.7, 1, -1)], axis=1).astype(np.float16)


def matches(*similarity: float) -> dict[str, Matches]:
    zeros = np.zeros((len(similarity), 1), int)
    found = Matches(np.array(similarity)[:, None], zeros, zeros, np.stack([zeros, zeros], axis=-1))
    return dict.fromkeys(CHANNELS, found)


def of_components(queries, stack, references=None) -> MatchTable:
    return MatchTable({}, {}, queries, stack, references)


def test_the_names_are_those_of_the_audit() -> None:
    assert list(ATTACKS) == [
        "nearest image", "nearest label", "GAN-Leaks image", "GAN-Leaks label", "Monte Carlo", "density ratio",
    ]  # fmt: skip


def test_gan_leaks_is_what_the_stack_has_more_than_the_references() -> None:
    nothing = np.empty((3, 0))
    table = MatchTable(matches(0.9, 0.5, 0.8), matches(0.4, 0.5, 0.9), nothing, nothing, nothing)
    assert ATTACKS["nearest label"](table).tolist() == [0.9, 0.5, 0.8]
    assert ATTACKS["GAN-Leaks image"](table) == pytest.approx([0.5, 0, -0.1])
    assert ATTACKS["GAN-Leaks image"](table.of(np.array([2, 0]))) == pytest.approx([-0.1, 0.5])


def test_the_table_is_of_one_search_a_channel_and_place() -> None:
    queries, stack, references = pairs(3, 0), np.concatenate([pairs(27, 1), pairs(3, 0)]), pairs(30, 2)
    table = match_table(queries, stack, references)
    for channel in CHANNELS:
        assert table.in_stack[channel].item[:, 0].tolist() == [27, 28, 29]
        assert (table.in_stack[channel].similarity[:, 0] > table.in_references[channel].similarity[:, 0]).all()
    assert table.queries == pytest.approx(components(queries, stack, references)[0])


def test_monte_carlo_counts_what_is_within_the_median_radius() -> None:
    # Distances 1 and 3, 1.5 and 0.5, 2 and 0: the nearest are 1, 0.5 and 0, the radius is 0.5, and only the copy is
    # closer; it counts as if a millionth of the largest distance away.
    table = of_components(np.array([[0.0], [2.5], [3.0]]), np.array([[1.0], [3.0]]))
    assert monte_carlo(table) == pytest.approx([0, 0, np.log(0.5 / 3e-6) / 2])


def test_a_stack_that_is_one_point_is_no_division_by_zero() -> None:
    assert (monte_carlo(of_components(np.zeros((3, 2)), np.zeros((4, 2)))) == 0).all()


def test_the_density_ratio_is_of_gaussians() -> None:
    rng, at = np.random.default_rng(0), np.linspace(-1, 2, 7)[:, None]
    table = of_components(at, rng.normal(1, 1, (5000, 1)), rng.normal(0, 1, (5000, 1)))
    assert density_ratio(table) == pytest.approx(at[:, 0] - 0.5, abs=0.15)  # log N(x; 1) - log N(x; 0)


def test_the_density_is_scipys_and_there_is_one_of_a_collapsed_stack() -> None:
    rng = np.random.default_rng(0)
    at, rows = rng.normal(size=(30, 12)), rng.normal(size=(90, 12)) @ rng.normal(size=(12, 12))
    assert attacks._log_density(at, rows) == pytest.approx(gaussian_kde(rows.T).logpdf(at.T), abs=0.01)
    collapsed = attacks._log_density(np.concatenate([at, rows[:1]]), rows[:1].repeat(90, axis=0))
    assert np.isfinite(collapsed).all() and collapsed.argmax() == len(at)  # the densest where the one point lies


@pytest.mark.parametrize("n_modes", [1, 5, 60])
@pytest.mark.parametrize("attack", [monte_carlo, density_ratio])
def test_copies_score_higher_than_others_in_a_collapsed_stack_too(n_modes: int, attack) -> None:
    members, n = pairs(60, 1), min(n_modes, 20)
    stack, queries = members[np.arange(60) % n_modes], np.concatenate([members[:20], pairs(20, 3)])
    scores = attack(of_components(*components(queries, stack, pairs(40, 2))))
    assert np.isfinite(scores).all() and np.median(scores[:n]) > scores[20:].max()
    assert n_modes == 60 or scores[:n].min() > scores[n:].max()


def test_components_are_white_over_stack_and_references() -> None:
    found = components(pairs(5, 0), pairs(60, 1), pairs(40, 2))
    assert [rows.shape for rows in found] == [(5, 12), (60, 12), (40, 12)]
    fitted = np.concatenate(found[1:])
    assert fitted.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert fitted.T @ fitted / 100 == pytest.approx(np.eye(12), abs=1e-9)


def test_components_do_not_see_contrast() -> None:
    stack, references, queries = pairs(60, 1), pairs(40, 2), pairs(5, 0).astype(np.float32)
    changed = queries * np.array([0.5, 1])[:, None, None] + np.array([0.2, 0])[:, None, None]
    plain, other = (components(of, stack, references)[0] for of in (queries, changed))
    assert other == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize(("n_stack", "n_references", "named"), [(25, 40, "the stack"), (40, 25, "the references")])
def test_too_few_pairs_are_refused(n_stack: int, n_references: int, named: str) -> None:
    with pytest.raises(InputError, match=f"26 pairs are in {named};"):
        match_table(pairs(2, 0), pairs(n_stack, 1), pairs(n_references, 2))
