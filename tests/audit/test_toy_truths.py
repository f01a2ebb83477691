"""Toy truths: in stacks that are known to be honest or copied, the attacks find the copies and nothing else."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tofgan_monai import frechet_distance
from tofgan_monai.attacks.copies import copies
from tofgan_monai.attacks.on_pairs import ATTACKS, match_table, pair_scores
from tofgan_monai.attacks.risk import assess, member_only
from tofgan_monai.attacks.similarity import search
from tofgan_monai.audit.assessment import attack_entry
from tofgan_monai.audit.cohorts import Cohort, Cohorts
from tofgan_monai.audit.verdict import MIN_PAIRS, verdicts
from tofgan_monai.metrics.stacks.frechet import feature_stats
from tofgan_monai.pairs.stack import normalise_patch

pytestmark = pytest.mark.slow

N_PATIENTS, N_PATCHES = 40, 3
MANY = 160  # patients of the control whose interval must be narrow
CONFIDENCE = 1 - 0.05 / len(ATTACKS)
SIMILARITY = [name for name in ATTACKS if "image" in name or "label" in name]


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
    "three copies": lambda: np.concatenate([cohort(0)[:N_PATCHES], cohort(1000)[N_PATCHES:]]),
}


@cache
def stack(kind: str) -> np.ndarray:
    return STACKS[kind]()


def of_patients(first: int, n: int) -> Cohort:
    return Cohort(cohort(first, n), np.repeat(np.arange(n), N_PATCHES), "simulated", "")


COHORTS = Cohorts(of_patients(0, N_PATIENTS), of_patients(100, N_PATIENTS), of_patients(200, 20))
PATIENTS, IS_MEMBER = COHORTS.patients, COHORTS.is_member


@cache
def scores(kind: str) -> dict[str, np.ndarray]:
    return pair_scores(match_table(COHORTS.queries, stack(kind), COHORTS.references.pairs))


@pytest.mark.parametrize(
    ("kind", "attack"),
    [(kind, attack) for kind in ("exact", "noisy") for attack in ATTACKS] + [("moved", name) for name in SIMILARITY],
)
def test_copies_are_caught(kind: str, attack: str) -> None:
    found = assess(scores(kind)[attack], PATIENTS, IS_MEMBER, confidence=CONFIDENCE, n_resamples=1000)
    assert found["patient"].auc.low > 0.5 and found["patch"].auc.low > 0.5
    assert attack not in SIMILARITY or found["patient"].epsilon > 1


@pytest.mark.parametrize("attack", ATTACKS)
def test_honest_draws_pass(attack: str) -> None:
    found = assess(scores("honest")[attack], PATIENTS, IS_MEMBER, confidence=CONFIDENCE, n_resamples=1000)
    for risk in found.values():
        assert risk.auc.low < 0.5 < risk.auc.high
        assert risk.epsilon == 0


@pytest.mark.parametrize("kind", ["noisy", "honest"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_among_members_there_is_nothing_to_find(attack: str, kind: str) -> None:
    auc = member_only(scores(kind)[attack], PATIENTS, IS_MEMBER)["patch"].auc
    assert auc.low < 0.5 < auc.high


@cache
def scores_of_many() -> dict[str, np.ndarray]:
    return pair_scores(match_table(cohort(2000, MANY + 1), stack("honest"), COHORTS.references.pairs))


@pytest.mark.parametrize("attack", ATTACKS)
def test_of_many_members_the_control_says_so_within_fifteen_hundredths(attack: str) -> None:
    patients = np.repeat(np.arange(MANY + 1), N_PATCHES)
    auc = member_only(scores_of_many()[attack], patients, patients < MANY)["patch"].auc
    assert auc.low < 0.5 < auc.high  # by patch, over patients
    assert max(0.5 - auc.low, auc.high - 0.5) <= 0.15


def test_the_frechet_distance_ranks_copies_best() -> None:
    # So it cannot stand alone: by it the best stack to release would be a copy.
    def features(pairs: np.ndarray) -> np.ndarray:
        return pairs[:, 0].reshape(-1, 6, 16, 6, 16).mean(axis=(2, 4)).reshape(len(pairs), 36)

    members = feature_stats(features(cohort(0)))
    distances = {kind: frechet_distance(feature_stats(features(stack(kind))), members) for kind in STACKS}
    assert distances["exact"] < distances["noisy"] < distances["moved"] < distances["honest"]
    assert distances["exact"] == pytest.approx(0, abs=1e-6)


@cache
def copies_in(kind: str) -> dict[str, Any]:
    return copies(*(search(stack(kind), reals) for reals in (cohort(0), cohort(100))), (PATIENTS[IS_MEMBER],) * 2)


@pytest.mark.parametrize("kind", ["exact", "noisy", "moved"])
def test_near_copies_are_counted_and_the_verdict_on_copies_is_failed(kind: str) -> None:
    found = copies_in(kind)
    assert found["n_near_copies"] > 0.95 * len(stack(kind)) and found["p"] < 1e-9
    assert found["n_copies"] > 0.75 * len(stack(kind))
    ratio = found["nndr"]["image"]
    assert ratio["members"]["median"] < ratio["non_members"]["median"] - 0.3
    assert verdict(kind, found)["outcome"] == "failed"


def test_honest_draws_are_no_copies_and_have_no_finding_and_no_failed_control() -> None:
    found = copies_in("honest")
    assert found["n_near_copies"] <= 6 and found["p"] > 0.05 and found["n_copies"] == 0
    judged = verdict("honest", found)  # of 40 patients an AUC of 0.75 may be beyond what can be excluded
    assert judged["outcome"] == "passed" or all("cannot be excluded" in reason for reason in judged["reasons"])


def test_three_copies_in_a_stack_are_found_though_they_raise_no_count() -> None:
    found = copies_in("three copies")
    assert found["n_copies"] == 3 and {0, 1, 2} <= set(found["near_copies"]) and found["p"] > 0.05
    assert verdict("honest", found)["outcome"] == "failed"


@cache
def strangers() -> dict[str, np.ndarray]:
    return pair_scores(match_table(COHORTS.queries, *(half.pairs for half in COHORTS.references.halves())))


def verdict(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    """The verdict on releasing the stack, in which these copies were found; the controls have found their patients."""
    audit = {
        "target": {"stack": {"n": MIN_PAIRS}},  # said to be as many as the rule asks for
        "training_checked": True,
        "cohorts": COHORTS.described,
        "attacks": [attack_entry(name, "data", scores(kind)[name], COHORTS, strangers()[name]) for name in ATTACKS],
        "planted": {"attacks": {name: {"caught": True} for name in ATTACKS}},
        "canary": {"times": 50, "repeats": [{"above_all": True, "of": N_PATIENTS + 1}] * 2},
        "copies": found,
    }
    return verdicts(audit)["data"]
