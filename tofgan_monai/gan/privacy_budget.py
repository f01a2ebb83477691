"""The privacy budget of a private training run: the epsilon that its steps cost, and the number of steps it allows.

Opacus's accountants compute epsilon, the privacy loss of differential privacy; lower is better. A unit is what the
guarantee protects, a patch or a patient (see `tofgan_monai.gan.private_draws`). The vessel fraction is the number of
vessel pixels divided by the number of all pixels of the labels.
"""

from __future__ import annotations

import json
import logging
import math
import os
import warnings
from bisect import bisect_right
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.gan.private_draws import UnitDraws

AccountantName = Literal["prv", "rdp"]
GUARANTEE = "guarantee.json"  # file beside `best.pt` with the privacy guarantee of these weights
LARGEST_SHARE = 0.2  # upper limit for the vessel fraction of one unit, which the noise must hide
NOISY_SHARE = 0.01  # noise above this makes a vessel fraction, usually 0.02 to 0.05, nearly useless
_logger = logging.getLogger(__name__)


def epsilon_of(
    steps: int, *, noise_multiplier: float, sampling_rate: float, delta: float, accountant: AccountantName = "prv"
) -> float:
    """Returns the epsilon that a private training run has spent after some steps; infinite without noise.

    The mechanism is the Poisson-subsampled Gaussian mechanism. Two data sets are neighbours if they differ in one unit.
    In one of the two data sets this unit is empty and adds nothing to a gradient.

    Args:
        steps: the number of steps.
        noise_multiplier: standard deviation of the noise divided by the clipping norm.
        sampling_rate: the probability that a step uses a given unit.
        delta: the probability with which the bound epsilon may fail.
        accountant: `prv`, which gives the tighter bound, or `rdp`.

    Raises:
        InputError: Opacus is not installed.

    Source: Abadi et al. 2016, arXiv:1607.00133; RDP: Mironov et al. 2019, arXiv:1908.10530; PRV: Gopi et al. 2021,
    arXiv:2106.02848; both as implemented in Opacus.
    """
    if not steps:
        return 0.0
    if not noise_multiplier:
        return math.inf
    account = _accountants().create_accountant(mechanism=accountant)
    account.history = [(noise_multiplier, sampling_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RDP warns that its best order is the last one it tried; the bound holds
        return float(account.get_epsilon(delta=delta))


def noise_for(
    target_epsilon: float, steps: int, *, sampling_rate: float, delta: float, accountant: AccountantName = "prv"
) -> float:
    """Returns the smallest noise multiplier with which a training run of `steps` steps costs at most `target_epsilon`.

    The search ends when the cost is within 0.01 of `target_epsilon`. For the other arguments see `epsilon_of`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _accountants().utils.get_noise_multiplier(
            target_epsilon=target_epsilon,
            target_delta=delta,
            sample_rate=sampling_rate,
            steps=steps,
            accountant=accountant,
        )


def private_share(draws: UnitDraws, epsilon: float) -> float | None:
    """Returns the mean vessel fraction over all units, with Laplace noise, from 0 to 0.2; None if epsilon is 0.

    The vessel fraction of each unit is limited to `LARGEST_SHARE`. So one unit changes the sum by at most
    `LARGEST_SHARE`, and the returned value is epsilon-private.

    Args:
        draws: the units of the training run.
        epsilon: the epsilon that this value may cost.

    Source: Dwork et al. 2006, doi:10.1007/11681878_14.
    """
    if not epsilon:
        return None
    total = np.minimum(draws.vessel_shares, LARGEST_SHARE).sum()
    noise = draws.secret.lasting_generator().laplace(scale=LARGEST_SHARE / epsilon)
    share = float((total + noise) / draws.n_units)
    return round(min(max(share, 0.0), LARGEST_SHARE), 5)


def read_guarantee(run: str | os.PathLike) -> dict[str, Any]:
    """Returns the content of a private training run's `guarantee.json`; an empty dict if the file does not exist.

    Args:
        run: output folder of the training run.

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(run) / GUARANTEE
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        remedy = "continue the training run, which writes this file after each epoch"
        raise InputError(f"{path} cannot be read ({error}); {remedy}") from error


def told_share(run: str | os.PathLike) -> float | None:
    """Returns the private vessel fraction in a training run's `guarantee.json`; None if this file has no such value.

    The label threshold of the generator can be chosen from this value.

    Args:
        run: output folder of the training run.
    """
    return read_guarantee(run).get("vessel_share")


class PrivacyBudget:
    """Computes the noise that a training run needs for its epsilon, or the number of epochs that its noise allows.

    The attribute `noise_multiplier` is the standard deviation of the noise divided by the clipping norm. The attribute
    `epochs` is the number of epochs after which the training run must end. It is at most `max_epochs`, and the epsilon
    of these epochs does not exceed `target_epsilon`.

    Args:
        draws: the data set that draws the units for each step.
        delta: the probability with which the bound epsilon may fail; it must be below 1 / number of units.
        target_epsilon: the epsilon that is never exceeded. With None, `noise_multiplier` alone decides about epsilon.
        noise_multiplier: None to compute the smallest noise with which `max_epochs` epochs reach `target_epsilon`. With
            0, for comparisons, there is no privacy guarantee, and `target_epsilon` is ignored.
        max_epochs: the largest number of epochs to train.
        share_epsilon: the part of epsilon that is spent on `private_share`, from which the label threshold is chosen; 0
            if the threshold is chosen on public pairs.
        accountant: `prv`, which gives the tighter bound, or `rdp`.

    Raises:
        InputError: neither `target_epsilon` nor `noise_multiplier` is given, the noise is negative, delta is outside
            its range, one epoch already exceeds `target_epsilon`, or `share_epsilon` leaves no epsilon for the steps.
    """

    may_change = frozenset({"max_epochs", "target_epsilon"})  # when a training run continues; the noise may not change

    def __init__(
        self,
        draws: UnitDraws,
        *,
        delta: float,
        target_epsilon: float | None,
        noise_multiplier: float | None,
        max_epochs: int,
        share_epsilon: float = 0.1,
        accountant: AccountantName = "prv",
    ) -> None:
        self.draws, self.delta, self.accountant, self.share_epsilon = draws, delta, accountant, share_epsilon
        if not 0 < delta < 1 / draws.n_units:
            limit = f"1 / {draws.n_units} (1 / the number of units)"
            raise InputError(f"delta {delta} is outside its range; choose a value above 0 and below {limit}")
        if noise_multiplier is not None and noise_multiplier < 0:
            raise InputError(f"noise_multiplier {noise_multiplier} is negative; give 0 or more, or null to compute it")
        if share_epsilon < 0 or (noise_multiplier != 0 and share_epsilon >= (target_epsilon or math.inf)):
            limit = f"0 and below target_epsilon {target_epsilon}"
            raise InputError(f"share_epsilon {share_epsilon} is outside its range; give a value of at least {limit}")
        if noise_multiplier is None:
            if not target_epsilon:
                raise InputError("target_epsilon and noise_multiplier are both missing; give at least one of them")
            noise_multiplier = noise_for(target_epsilon - share_epsilon, max_epochs * len(draws), **self._mechanism)
        self.noise_multiplier, self.epochs = float(noise_multiplier), max_epochs
        if noise_multiplier and target_epsilon and self.epsilon(max_epochs * len(draws)) > target_epsilon:
            cost = lambda epoch: self.epsilon(epoch * len(draws))  # noqa: E731
            self.epochs = bisect_right(range(1, max_epochs), target_epsilon, key=cost)
        if not self.epochs:
            raise InputError(
                f"noise_multiplier {noise_multiplier} is too small: one epoch alone costs epsilon "
                f"{self.epsilon(len(draws)):.2f}, which exceeds target_epsilon {target_epsilon}; give a larger "
                "noise_multiplier, or null to compute it"
            )
        if share_epsilon and (scale := LARGEST_SHARE / share_epsilon / draws.n_units) > NOISY_SHARE:
            _logger.warning(
                f"the private vessel fraction of {draws.n_units} units has noise of {scale:.3f}, which is too much for "
                "a label threshold; set share_epsilon to 0 and choose the threshold on public pairs by "
                "--validation-pairs, or give a larger share_epsilon"
            )
        _logger.info(
            f"{draws.n_units} units ({draws.unit}), noise multiplier {self.noise_multiplier:.3f}, {self.epochs} epochs "
            f"of {len(draws)} steps give epsilon {self.epsilon(self.epochs * len(draws)):.2f} at delta {delta}"
        )

    @property
    def _mechanism(self) -> dict[str, Any]:
        return {"sampling_rate": self.draws.sampling_rate, "delta": self.delta, "accountant": self.accountant}

    def epsilon(self, steps: int) -> float:
        """Returns the epsilon that a number of training steps and the private vessel fraction cost together."""
        return self.share_epsilon + epsilon_of(steps, noise_multiplier=self.noise_multiplier, **self._mechanism)

    def guarantee(self, steps: int) -> dict[str, Any]:
        """Returns the privacy guarantee after some steps, for `guarantee.json`.

        The value of "epsilon" is None if there is no noise or if the secret key was made from a seed.
        """
        epsilon = self.epsilon(steps) if self.draws.secret.is_secret else math.inf
        return {
            "epsilon": round(epsilon, 4) if math.isfinite(epsilon) else None,
            "delta": self.delta,
            "unit": self.draws.unit,
            "n_units": self.draws.n_units,
            "accountant": self.accountant.upper(),
            "noise_multiplier": self.noise_multiplier,
            "sampling_rate": self.draws.sampling_rate,
            "steps": steps,
            "share_epsilon": self.share_epsilon,
            "vessel_share": private_share(self.draws, self.share_epsilon),
        }


def _accountants() -> Any:
    try:
        from opacus import accountants
    except ImportError as error:
        raise InputError("privacy accounting needs Opacus; run pip install 'tofgan-monai[privacy]'") from error
    return accountants
