"""The privacy budget of a training: the epsilon of its steps, by Opacus's accountants, and the steps it can afford."""

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
GUARANTEE = "guarantee.json"  # in a private training's output folder: the guarantee of its `best.pt`
LARGEST_SHARE = 0.2  # a unit's share of vessel pixels counts as this at most: what noise has to hide
NOISY_SHARE = 0.01  # with more noise a share of vessels, usually 0.02 to 0.05, is of little use
_logger = logging.getLogger(__name__)


def epsilon_of(
    steps: int, *, noise_multiplier: float, sampling_rate: float, delta: float, accountant: AccountantName = "prv"
) -> float:
    """Epsilon of a private training (Poisson-subsampled Gaussian mechanism) after some steps; infinite without noise.

    Two data sets are neighbours if they differ in one unit, which is empty in one of them and adds nothing.

    Args:
        steps: the number of steps.
        noise_multiplier: standard deviation of the noise over the clipping norm.
        sampling_rate: the probability that a unit is in a step.
        delta: the probability with which epsilon may not hold.
        accountant: `prv`, the tighter bound, or `rdp`.

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
    """The smallest noise multiplier, to 0.01 in epsilon, with which a training costs at most `target_epsilon`."""
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
    """The mean share of vessel pixels over all units, with Laplace noise, from 0 to 0.2; None if epsilon is 0.

    Each unit's share counts as `LARGEST_SHARE` at most. So an empty unit in the place of another changes the sum by
    that at most, and the figure is epsilon-private.

    Source: Dwork et al. 2006, doi:10.1007/11681878_14.
    """
    if not epsilon:
        return None
    total = np.minimum(draws.vessel_shares, LARGEST_SHARE).sum()
    noise = draws.secret.lasting_generator().laplace(scale=LARGEST_SHARE / epsilon)
    share = float((total + noise) / draws.n_units)
    return round(min(max(share, 0.0), LARGEST_SHARE), 5)


def read_guarantee(run: str | os.PathLike) -> dict[str, Any]:
    """The content of a private training's `guarantee.json`; empty if the training has none.

    Args:
        run: output folder of the training.

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(run) / GUARANTEE
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); train on, each epoch writes this file") from error


def told_share(run: str | os.PathLike) -> float | None:
    """The private share of vessel pixels of a training, for its label threshold; None if the training has none."""
    return read_guarantee(run).get("vessel_share")


class PrivacyBudget:
    """Computes the noise that a training needs for its epsilon, or the number of epochs that its noise can afford.

    `noise_multiplier` is the standard deviation of the noise over the clipping norm. `epochs` is the number of epochs
    after which the training ends: at most `max_epochs`, and no step that would exceed the target.

    Args:
        draws: the units and how they are drawn.
        delta: the probability with which epsilon may not hold; below 1 / the number of units.
        target_epsilon: the epsilon that is never exceeded; None: the noise alone decides.
        noise_multiplier: None: as little noise as `max_epochs` need for the target. 0, for comparison: nothing is
            promised, and the target is ignored.
        max_epochs: the number of epochs to train.
        share_epsilon: the part of epsilon that is spent on `private_share`, from which the label threshold is chosen; 0
            if the threshold is chosen on public pairs.
        accountant: `prv`, the tighter bound, or `rdp`.

    Raises:
        InputError: neither a target nor noise is given, the noise is negative, delta is too large, the noise is too
            small for one epoch, or no epsilon is left for the training.
    """

    may_change = frozenset({"max_epochs", "target_epsilon"})  # when a training goes on; the noise may not

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
            raise InputError(f"delta {delta}: choose one above 0 and below 1 / {draws.n_units}, the number of units")
        if noise_multiplier is not None and noise_multiplier < 0:
            raise InputError(f"noise_multiplier {noise_multiplier}: give 0 or more, or null to have it computed")
        if share_epsilon < 0 or (noise_multiplier != 0 and share_epsilon >= (target_epsilon or math.inf)):
            raise InputError(f"share_epsilon {share_epsilon}: part of target_epsilon {target_epsilon}; give less, or 0")
        if noise_multiplier is None:
            if not target_epsilon:
                raise InputError("neither target_epsilon nor noise_multiplier is given; give one of them")
            noise_multiplier = noise_for(target_epsilon - share_epsilon, max_epochs * len(draws), **self._mechanism)
        self.noise_multiplier, self.epochs = float(noise_multiplier), max_epochs
        if noise_multiplier and target_epsilon and self.epsilon(max_epochs * len(draws)) > target_epsilon:
            cost = lambda epoch: self.epsilon(epoch * len(draws))  # noqa: E731
            self.epochs = bisect_right(range(1, max_epochs), target_epsilon, key=cost)
        if not self.epochs:
            raise InputError(
                f"noise_multiplier {noise_multiplier}: one epoch alone costs epsilon {self.epsilon(len(draws)):.2f}, "
                f"above target_epsilon {target_epsilon}; give more noise, or null to have it computed"
            )
        if share_epsilon and (scale := LARGEST_SHARE / share_epsilon / draws.n_units) > NOISY_SHARE:
            _logger.warning(
                f"with {draws.n_units} units the share of vessels has noise of {scale:.3f}, as large as itself: "
                "choose the label threshold on public pairs (--validation-pairs) with share_epsilon 0, or a larger one"
            )
        _logger.info(
            f"{draws.n_units} units ({draws.unit}), noise multiplier {self.noise_multiplier:.3f}, {self.epochs} epochs "
            f"of {len(draws)} steps: epsilon {self.epsilon(self.epochs * len(draws)):.2f} at delta {delta}"
        )

    @property
    def _mechanism(self) -> dict[str, Any]:
        return {"sampling_rate": self.draws.sampling_rate, "delta": self.delta, "accountant": self.accountant}

    def epsilon(self, steps: int) -> float:
        """Epsilon of a number of training steps and of the private share of vessels together."""
        return self.share_epsilon + epsilon_of(steps, noise_multiplier=self.noise_multiplier, **self._mechanism)

    def guarantee(self, steps: int) -> dict[str, Any]:
        """The privacy guarantee after some steps, for `guarantee.json`; epsilon is None where nothing is promised."""
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
        raise InputError("privacy accounting needs Opacus; pip install 'tofgan-monai[privacy]'") from error
    return accountants
