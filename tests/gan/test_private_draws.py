"""The draws of a private training: each unit by itself, whole patients, and nothing that a seed would give away."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tofgan_monai import InputError, PairDataset, Secret, UnitDraws
from tofgan_monai.training.weights import load_weights, save_weights


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, write_pairs):
    """12 pairs of 4 patients: 5, 4, 2 and 1 of them."""
    path = tmp_path_factory.mktemp("units") / "pairs.npy"
    volumes = [{"patient": patient, "n_vessel": n, "n_random": 0} for patient, n in enumerate([5, 4, 2, 1])]
    return PairDataset(write_pairs(path, n=12, volumes=volumes))


def draws(pairs, unit="patch", expected_units=4, secret=None, patches_per_unit=3):
    secret = secret or Secret(1)
    return UnitDraws(pairs, unit=unit, expected_units=expected_units, patches_per_unit=patches_per_unit, secret=secret)


def patients_in(drawn, pairs):
    """The patient of each patch, (n, k)."""
    known = np.repeat(np.arange(4), [5, 4, 2, 1])
    rows = {pairs[i]["reals"].numpy().tobytes(): known[i] for i in range(len(pairs))}
    return [[rows[patch.numpy().tobytes()] for patch in unit] for unit in drawn]


def test_each_unit_is_drawn_by_itself_with_the_sampling_rate(pairs):
    torch.manual_seed(0)
    made = draws(pairs)
    assert (made.n_units, made.sampling_rate, len(made)) == (12, 1 / 3, 3)
    rows = {pairs[i]["reals"].numpy().tobytes(): i for i in range(12)}
    is_in = np.zeros((600, 12))
    for each in is_in:
        drawn = made[0]["reals"]
        assert drawn.shape[1:] == (1, 2, 96, 96)
        each[[rows[patch.numpy().tobytes()] for patch in drawn[:, 0]]] = 1
    assert abs(is_in.mean(0) - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 600)
    n = is_in.sum(1)  # binomial: a fixed number would have no variance
    assert n.var() == pytest.approx(12 * 2 / 9, rel=0.25) and (n == 0).any()
    correlations = np.corrcoef(is_in.T)[np.triu_indices(12, 1)]
    assert abs(correlations).max() < 4 / np.sqrt(600)


def test_patient_brings_his_own_patches_alone(pairs):
    torch.manual_seed(0)
    made = draws(pairs, "patient", 2)
    assert (made.n_units, made.sampling_rate) == (4, 0.5)
    seen = [patients for _ in range(40) for patients in patients_in(made[0]["reals"], pairs)]
    assert all(len(patients) == 3 and len(set(patients)) == 1 for patients in seen)
    assert {patients[0] for patients in seen} == {0, 1, 2, 3}  # who has fewer than 3 patches brings some twice


def test_shares_of_vessels_are_those_of_each_units_labels(pairs):
    one_by_one = [float(pairs[i]["label"].mean()) for i in range(12)]
    np.testing.assert_allclose(draws(pairs).vessel_shares, one_by_one)
    ends = np.cumsum([0, 5, 4, 2, 1])
    by_patient = [np.mean(one_by_one[a:b]) for a, b in itertools.pairwise(ends)]
    np.testing.assert_allclose(draws(pairs, "patient").vessel_shares, by_patient)


def test_nobody_drawn_is_a_draw(pairs):
    nobody = draws(pairs, "patient", 1)
    nobody.secret = type("Never", (), {"generator": lambda self: Never()})()
    assert nobody[0]["reals"].shape == (0, 3, 2, 96, 96)


class Never:
    def random(self, n):
        return np.ones(n)


def test_torchs_generator_goes_on_alike_whatever_is_drawn(pairs):
    """Else what is drawn from it later, in the open, would tell how many were in."""
    after = []
    for seed in range(5):
        torch.manual_seed(0)
        drawn = draws(pairs, secret=Secret(seed))[0]["reals"]
        after.append((len(drawn), torch.rand(3).tolist()))
    assert len({n for n, _ in after}) > 1
    assert all(later == after[0][1] for _, later in after)


def test_seed_of_the_training_does_not_tell_who_is_drawn(pairs):
    def drawn(secret):
        torch.manual_seed(0)
        made = draws(pairs, expected_units=6, secret=secret)
        return b"".join(made[i]["reals"].numpy().tobytes() for i in range(2))

    assert drawn(Secret()) != drawn(Secret())
    assert drawn(Secret(5)) == drawn(Secret(5))


def test_secret_survives_in_a_checkpoint(tmp_path):
    secret, other = Secret(), Secret(3)
    assert secret.key.bit_length() > 90 and secret.is_secret and not other.is_secret
    save_weights(secret.state_dict(), tmp_path / "checkpoint.pt")
    other.load_state_dict(load_weights(tmp_path / "checkpoint.pt"))
    assert (other.key, other.is_secret) == (secret.key, True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"expected_units": 0}, "choose a number from 1 to 12"),
        ({"expected_units": 13}, "choose a number from 1 to 12"),
        ({"unit": "volume"}, "choose 'patch' or 'patient'"),
    ],
)
def test_impossible_units_are_refused(pairs, given, told):
    with pytest.raises(InputError, match=told):
        draws(pairs, **given)


def test_patients_that_nobody_can_tell_apart_are_refused(pairs, tmp_path, write_pairs):
    anonymous = PairDataset(write_pairs(tmp_path / "anonymous.npy"))
    assert draws(anonymous).n_units == 24
    with pytest.raises(InputError, match="two or more patients"):
        draws(anonymous, "patient")
    both = PairDataset([*pairs.paths, tmp_path / "anonymous.npy"])
    assert draws(both).n_units == 36
    with pytest.raises(InputError, match="give one stack"):
        draws(both, "patient")
