"""Toy truths: of stacks whose honesty is known, the attacks on the data find the copies and nothing else."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tofgan_monai.metrics.frechet import feature_stats, frechet_distance
from tofgan_monai.pairs import normalise_patch
from tofgan_monai.privacy.copies import copies
from tofgan_monai.privacy.data_attacks import Searches, data_attacks, search
from tofgan_monai.privacy.risk import assess, member_only

DATA_ATTACKS = list(data_attacks())
N_PATIENTS, N_PATCHES = 40, 3
CONFIDENCE = 1 - 0.05 / len(DATA_ATTACKS)
SIMILARITY = [name for name in DATA_ATTACKS if "image" in name or "label" in name]


def patient(seed: int) -> np.ndarray:
    """Pairs (3, 2, 96, 96) cut out of one plane of tissue with winding vessels, of the patient's own contrast."""
    rng = np.random.default_rng(seed)
    tissue, winding = (gaussian_filter(rng.normal(size=(144, 144)), sigma) for sigma in (9, 7))
    vessels = np.abs(winding / winding.std()) < 0.12
    plane = tissue / tissue.std() + rng.uniform(1, 3) * gaussian_filter(vessels.astype(float), 1)
    pairs = []
    for y, x in rng.integers(0, 49, (N_PATCHES, 2)):
        image = plane[y : y + 96, x : x + 96] + rng.uniform(0.1, 0.3) * rng.normal(size=(96, 96))
        pairs.append([normalise_patch(image), np.where(vessels[y : y + 96, x : x + 96], 1, -1)])
    return np.array(pairs, np.float32)


@cache
def cohort(first: int, n: int = N_PATIENTS) -> np.ndarray:
    return np.concatenate([patient(seed) for seed in range(first, first + n)])


def noisy(pairs: np.ndarray) -> np.ndarray:
    image = pairs[:, 0] + np.random.default_rng(1).normal(0, 0.1, pairs[:, 0].shape)
    return np.stack([image.clip(-1, 1), pairs[:, 1]], axis=1).astype(np.float32)


def moved(pairs: np.ndarray) -> np.ndarray:
    """Each pair flipped and shifted in a way of its own."""
    rng = np.random.default_rng(2)
    flips = [(), (-1,), (-2,), (-2, -1)]
    return np.stack(
        [np.roll(np.flip(pair, flips[rng.integers(4)]), tuple(rng.integers(-12, 13, 2)), (1, 2)) for pair in pairs]
    )


STACKS = {
    "exact": lambda: cohort(0).copy(),
    "noisy": lambda: noisy(cohort(0)),
    "moved": lambda: moved(cohort(0)),
    "honest": lambda: cohort(1000),
}


@cache
def stack(kind: str) -> np.ndarray:
    return STACKS[kind]()


@cache
def queries() -> np.ndarray:
    return np.concatenate([cohort(0), cohort(100)])  # members, non-members


PATIENTS = np.repeat(np.arange(2 * N_PATIENTS), N_PATCHES)
IS_MEMBER = PATIENTS < N_PATIENTS
SEARCHES = Searches()


@cache
def scores(attack: str, kind: str) -> np.ndarray:
    return data_attacks(SEARCHES)[attack](queries(), stack(kind), cohort(200, 20))


@pytest.mark.parametrize(
    ("kind", "attack"),
    [(kind, attack) for kind in ("exact", "noisy") for attack in DATA_ATTACKS]
    + [("moved", name) for name in SIMILARITY],
)
def test_copies_are_caught(kind: str, attack: str) -> None:
    found = assess(scores(attack, kind), PATIENTS, IS_MEMBER, confidence=CONFIDENCE, n_resamples=1000)
    assert found["patient"].auc.low > 0.5 and found["patch"].auc.low > 0.5
    assert attack not in SIMILARITY or found["patient"].epsilon > 1


@pytest.mark.parametrize("attack", DATA_ATTACKS)
def test_honest_draws_pass(attack: str) -> None:
    found = assess(scores(attack, "honest"), PATIENTS, IS_MEMBER, confidence=CONFIDENCE, n_resamples=1000)
    for risk in found.values():
        assert risk.auc.low < 0.5 < risk.auc.high
        assert risk.epsilon == 0


@pytest.mark.parametrize("kind", ["noisy", "honest"])
@pytest.mark.parametrize("attack", DATA_ATTACKS)
def test_among_members_there_is_nothing_to_find(attack: str, kind: str) -> None:
    auc = member_only(scores(attack, kind), PATIENTS, IS_MEMBER)["patch"].auc
    assert auc.low < 0.5 < auc.high
    assert auc.high - auc.low < 0.3


def test_the_frechet_distance_ranks_copies_best() -> None:
    # Which is why it cannot stand alone: by it the stack to release would be the one that is a copy.
    def features(pairs: np.ndarray) -> np.ndarray:
        return pairs[:, 0].reshape(-1, 6, 16, 6, 16).mean(axis=(2, 4)).reshape(len(pairs), 36)

    members = feature_stats(features(cohort(0)))
    distances = {kind: frechet_distance(feature_stats(features(stack(kind))), members) for kind in STACKS}
    assert distances["exact"] < distances["noisy"] < distances["honest"]
    assert distances["exact"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["moved", "honest"])
def test_near_copies_are_counted(kind: str) -> None:
    n = len(cohort(0))
    to_members, to_others = (
        {channel: search(stack(kind), reals, channel) for channel in ("image", "label")}
        for reals in (cohort(0), cohort(100))
    )
    found = copies(to_members, to_others, (n, n))
    if kind == "honest":
        assert found["n_near_copies"] <= 6 and found["p"] > 0.05
    else:
        assert found["n_near_copies"] > 0.95 * n and found["p"] < 1e-9
        ratio = found["nndr"]["image"]
        assert ratio["members"]["median"] < ratio["non_members"]["median"] - 0.3
