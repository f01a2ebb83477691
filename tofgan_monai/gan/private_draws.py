"""The units that differential privacy protects, patches or patients, and the secret random draws of a step."""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import PairDataset, open_stack, patients_of_pairs

Unit = Literal["patch", "patient"]


class Secret:
    """The secret key of a private training: 128 random bits of the operating system.

    All noise and all draws depend on it. Epsilon does not bind anyone who knows which units were drawn or who can
    compute the noise, and a training's seed is not secret. The state goes into the checkpoint, so that a training can
    go on, and must not leave it.

    Args:
        seed: a number that replaces the random bits: the training can be repeated, and promises no privacy.
    """

    may_change = frozenset({"seed"})  # when a training goes on: the key comes from the checkpoint

    def __init__(self, seed: int | None = None) -> None:
        self.key = secrets.randbits(128) if seed is None else seed
        self.is_secret = seed is None

    def generator(self) -> np.random.Generator:
        """Returns a new generator, seeded by the secret key and by a number that torch's generator draws."""
        return np.random.default_rng([self.key, int(torch.randint(2**62, ()))])

    def lasting_generator(self) -> np.random.Generator:
        """Returns a generator that starts anew at each call, for noise that must be the same each time."""
        return np.random.default_rng([self.key, 2**62])

    def state_dict(self) -> dict[str, str | bool]:
        """Returns the secret key as hexadecimal text, and whether it is secret, for the checkpoint."""
        return {"key": f"{self.key:x}", "is_secret": self.is_secret}

    def load_state_dict(self, state: dict[str, str | bool]) -> None:
        """Restores the secret key from the state in a checkpoint."""
        self.key, self.is_secret = int(str(state["key"]), 16), bool(state["is_secret"])


class UnitDraws(Dataset):
    """Data set of the random draws of an epoch; a draw contains each unit independently, with one probability.

    This is Poisson sampling. A draw is `{"reals": (n, k, 2, 96, 96)}`: k patches of each of the n drawn units; n varies
    and may be 0. The number of draws is such that an epoch draws each unit once on average. The state of torch's global
    generator after a draw does not depend on what was drawn.

    Args:
        pairs: the pairs of one stack; of several stacks only if the unit is the patch.
        unit: `patch`: each pair is protected alone, the many pairs of a patient are not protected together; `patient`:
            all pairs of a patient are protected together.
        expected_units: the mean number of units in a draw.
        patches_per_unit: k: how many of a patient's patches a draw takes, chosen anew each time; 1 if the unit is the
            patch, whatever is given.
        secret: the secret key of the draws.

    Raises:
        InputError: there are fewer units than `expected_units`, the unit is unknown, or the pairs do not tell their
            patients.
    """

    def __init__(
        self, pairs: PairDataset, *, unit: Unit, expected_units: int, patches_per_unit: int, secret: Secret
    ) -> None:
        self.pairs, self.unit, self.secret, self.expected_units = pairs, unit, secret, expected_units
        self.patches_per_unit = patches_per_unit
        self._units = _units_of(pairs, unit)
        self._k = patches_per_unit if unit == "patient" else 1
        if not 0 < expected_units <= self.n_units:
            raise InputError(
                f"batch_size {expected_units}: the mean number of units in a step; there are {self.n_units} units "
                f"({unit}), so choose 1 to {self.n_units}"
            )

    @property
    def n_units(self) -> int:
        """The number of protected units (patches or patients), which is public."""
        return len(self._units)

    @property
    def sampling_rate(self) -> float:
        """The probability that a draw contains a given unit."""
        return self.expected_units / self.n_units

    @cached_property
    def vessel_shares(self) -> np.ndarray:
        """The share of vessel pixels in each unit's labels, (n_units,); private."""
        blocks = (stack[i : i + 1024, 1] > 0 for stack in self.pairs.stacks for i in range(0, len(stack), 1024))
        shares = np.concatenate([block.mean(axis=(1, 2)) for block in blocks])
        return np.array([shares[rows].mean() for rows in self._units])

    def __len__(self) -> int:
        return -(-self.n_units // self.expected_units)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        random = self.secret.generator()
        drawn = np.flatnonzero(random.random(self.n_units) < self.sampling_rate)
        rows = [random.choice(self._units[unit], self._k, replace=len(self._units[unit]) < self._k) for unit in drawn]
        patches = [self.pairs[int(row)]["reals"] for row in np.ravel(rows)]
        if not patches:
            return {"reals": torch.empty(0, self._k, *self.pairs[0]["reals"].shape)}
        return {"reals": torch.stack(patches).unflatten(0, (-1, self._k))}


def _units_of(pairs: PairDataset, unit: Unit) -> list[np.ndarray]:
    """Returns for each protected unit the indices of its pairs."""
    if unit == "patch":
        return list(np.arange(len(pairs))[:, None])
    if unit != "patient":
        raise InputError(f"unit {unit!r}: unknown; choose patch or patient")
    if len(pairs.paths) > 1:
        raise InputError("unit patient: two stacks may have a patient in common; give one stack")
    patients = patients_of_pairs(pairs.paths[0], open_stack(pairs.paths[0])[1])
    return [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
