"""Epsilon: Opacus's own for plain DP-SGD, the closed form where there is one; what a budget pays for."""

from __future__ import annotations

import json
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from opacus.accountants import create_accountant
from scipy.optimize import brentq
from scipy.stats import norm

from tofgan_monai import InputError, PrivacyBudget, Secret
from tofgan_monai.gan.privacy_budget import epsilon_of, noise_for, private_share, told_share

SETTINGS = {"sampling_rate": 0.01, "delta": 1e-5, "accountant": "rdp"}
PLAIN = [(0.01, 1.1, 200, 1e-5), (0.16, 2.0, 50, 1e-5), (0.5, 4.5, 100, 1e-3)]


def stand_in(n_units=1000, expected_units=10, unit="patch", secret=None):
    """What a budget asks of draws."""

    class Draws(SimpleNamespace):
        def __len__(self):
            return -(-n_units // expected_units)

    given = {"n_units": n_units, "sampling_rate": expected_units / n_units, "unit": unit}
    return Draws(**given, secret=secret or Secret(), vessel_shares=np.full(n_units, 0.03))


def budget(draws=None, **changes):
    given = {"delta": 1e-5, "target_epsilon": 2.0, "noise_multiplier": None, "max_epochs": 5, "accountant": "rdp"}
    return PrivacyBudget(draws or stand_in(), **{**given, **changes})


@pytest.mark.parametrize(("rate", "noise", "steps", "delta"), PLAIN)
@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_epsilon_is_that_of_opacuss_accountant_step_by_step(accountant, rate, noise, steps, delta):
    own = create_accountant(accountant)
    for _ in range(steps):
        own.step(noise_multiplier=noise, sample_rate=rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = own.get_epsilon(delta=delta)
    found = epsilon_of(steps, noise_multiplier=noise, sampling_rate=rate, delta=delta, accountant=accountant)
    assert found == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("noise", [0.8, 2.0])
def test_epsilon_of_one_whole_step_is_the_gaussian_mechanisms(noise):
    """Balle & Wang 2018, arXiv:1805.06530, theorem 8, with sensitivity 1."""

    def delta(epsilon):
        a, b = 1 / (2 * noise), epsilon * noise
        return norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b)

    exact = brentq(lambda epsilon: delta(epsilon) - 1e-5, 0, 50)
    found = epsilon_of(1, noise_multiplier=noise, sampling_rate=1.0, delta=1e-5)
    assert exact <= found < exact + 0.05
    assert found < epsilon_of(1, noise_multiplier=noise, sampling_rate=1.0, delta=1e-5, accountant="rdp")


def test_nothing_done_costs_nothing_and_no_noise_everything():
    assert epsilon_of(0, noise_multiplier=1.0, sampling_rate=0.1, delta=1e-5) == 0
    assert epsilon_of(1, noise_multiplier=0.0, sampling_rate=0.1, delta=1e-5) == math.inf


def test_noise_is_as_little_as_the_target_needs():
    noise = noise_for(2.0, 500, sampling_rate=0.01, delta=1e-5, accountant="rdp")
    assert 1.98 < epsilon_of(500, noise_multiplier=noise, **SETTINGS) <= 2.0


def test_budget_ends_a_training_before_its_target_is_exceeded():
    assert budget(noise_multiplier=1.0, target_epsilon=None, max_epochs=30).epochs == 30
    made = budget(noise_multiplier=1.0, target_epsilon=2.0, max_epochs=500)
    assert 1 < made.epochs < 500
    assert made.epsilon(made.epochs * 100) <= 2.0 < made.epsilon((made.epochs + 1) * 100)


def test_guarantee_says_what_holds_for_whom():
    made = budget(stand_in(200, 20, "patient"), delta=1e-4)
    guarantee = made.guarantee(30)
    assert guarantee.pop("vessel_share") == private_share(made.draws, 0.1)
    assert guarantee == {
        "epsilon": round(made.epsilon(30), 4),
        "delta": 1e-4,
        "unit": "patient",
        "n_units": 200,
        "accountant": "RDP",
        "noise_multiplier": made.noise_multiplier,
        "sampling_rate": 0.1,
        "steps": 30,
        "share_epsilon": 0.1,
    }


def test_what_the_share_of_vessels_costs_is_part_of_the_epsilon():
    cheap, dear = budget(share_epsilon=0.1), budget(share_epsilon=1.0)
    assert dear.noise_multiplier > cheap.noise_multiplier
    assert cheap.epochs == dear.epochs == 5
    for made, share in ((cheap, 0.1), (dear, 1.0)):
        training = epsilon_of(500, noise_multiplier=made.noise_multiplier, **SETTINGS)
        assert made.epsilon(500) == pytest.approx(training + share) and 1.98 < made.epsilon(500) <= 2.0


def shares(values, secret):
    draws = stand_in(len(values), 1, secret=secret)
    draws.vessel_shares = np.array(values)
    return draws


def test_one_unit_moves_the_private_share_by_no_more_than_the_noise_hides():
    """Of 100 units, of which one is all vessel or is not there: 0.2 / 100, whatever the noise."""
    for seed in range(20):
        others = [0.05] * 99
        most = private_share(shares([*others, 1.0], Secret(seed)), 1.0)
        nobody = private_share(shares([*others, 0.0], Secret(seed)), 1.0)
        assert most - nobody == pytest.approx(0.2 / 100, abs=2e-5)


def test_noise_of_the_private_share_is_laplaces():
    found = np.array([private_share(shares([0.05] * 100, Secret(seed)), 1.0) for seed in range(2000)])
    scale = 0.2 / 100  # of the sum's 0.2 / epsilon
    assert found.mean() == pytest.approx(0.05, abs=4 * scale * np.sqrt(2 / 2000))
    assert np.abs(found - 0.05).mean() == pytest.approx(scale, rel=0.1)
    assert (np.abs(found - 0.05) > 3 * scale).mean() == pytest.approx(np.exp(-3), abs=0.02)


def test_private_share_is_drawn_once_whatever_was_drawn_before():
    """A second draw when a training goes on would tell twice as much."""
    secret = Secret()
    draws = shares([0.05] * 10, secret)
    first = private_share(draws, 0.5)
    secret.generator()
    torch.manual_seed(5)
    assert private_share(draws, 0.5) == first
    others = {private_share(shares([0.05] * 10, Secret()), 0.5) for _ in range(50)}
    assert len(others) > 2  # one share in seven is cut off at 0, so that two of them may be equal


def test_private_share_stays_a_share_whatever_the_noise():
    found = [private_share(shares([0.05], Secret(seed)), 0.01) for seed in range(50)]
    assert min(found) == 0 and max(found) == 0.2


def test_no_share_is_counted_where_no_epsilon_is_spent_on_it():
    made = budget(share_epsilon=0.0)
    assert made.guarantee(10)["vessel_share"] is None
    assert made.epsilon(10) == epsilon_of(10, noise_multiplier=made.noise_multiplier, **SETTINGS)


def test_few_units_are_warned_of(caplog):
    budget(stand_in(1000))
    assert "vessel fraction" not in caplog.text
    budget(stand_in(41), delta=1e-3)
    assert "vessel fraction of 41 units has noise of 0.049" in caplog.text


def test_share_is_read_from_the_guarantee(tmp_path):
    assert told_share(tmp_path) is None
    (tmp_path / "guarantee.json").write_text(json.dumps(budget().guarantee(10)))
    assert 0 < told_share(tmp_path) < 0.2
    (tmp_path / "guarantee.json").write_text("{")
    with pytest.raises(InputError, match=r"guarantee\.json cannot be read"):
        told_share(tmp_path)


def test_nothing_is_promised_without_noise_or_where_the_noise_can_be_repeated():
    without_noise = budget(noise_multiplier=0.0, target_epsilon=0.05)  # a target that cannot be kept
    assert without_noise.guarantee(100)["epsilon"] is None and without_noise.epochs == 5
    assert budget(stand_in(secret=Secret(0))).guarantee(100)["epsilon"] is None
    assert budget().guarantee(100)["epsilon"] > 0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"delta": 1e-3}, "delta 0.001 .* below 1 / 1000"),
        ({"delta": 0.0}, "delta 0.0"),
        ({"share_epsilon": -0.1}, "share_epsilon -0.1"),
        ({"noise_multiplier": -1.0}, "noise_multiplier -1.0"),
        ({"share_epsilon": 2.0}, "share_epsilon 2.0 is outside its range"),
        ({"target_epsilon": None}, "target_epsilon and noise_multiplier"),
        (
            {"noise_multiplier": 0.3, "target_epsilon": 1.0},
            "one epoch alone .* exceeds target_epsilon 1.0",
        ),
        ({"noise_multiplier": 0.3, "target_epsilon": 1.0, "max_epochs": 1}, "one epoch alone"),
    ],
)
def test_budget_that_cannot_be_kept_is_refused(changes, what):
    with pytest.raises(InputError, match=what):
        budget(**changes)
