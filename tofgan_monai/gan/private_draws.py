"""The units that differential privacy protects, and the secret random draws of units for the training steps.

A unit is a patch (one image-label pair) or a patient (all pairs of the patient). A draw is the set of units that one
training step uses.
"""

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
    """Secret key of a private training run, 128 random bits from the operating system.

    All noise and all draws of units depend on the key. The privacy guarantee does not hold against anyone who knows the
    key, because such a person can compute the noise and the drawn units. So the seed of the training run cannot be the
    key. The key is kept in the checkpoint, so that the training run can continue; keep the checkpoint secret.

    Args:
        seed: a number that is used as the key. The training run can then be repeated, but has no privacy guarantee.
    """

    may_change = frozenset({"seed"})  # when a training run continues, as the key comes from the checkpoint

    def __init__(self, seed: int | None = None) -> None:
        self.key = secrets.randbits(128) if seed is None else seed
        self.is_secret = seed is None

    def generator(self) -> np.random.Generator:
        """Returns a new random generator, seeded with the secret key and a number drawn by torch's generator."""
        return np.random.default_rng([self.key, int(torch.randint(2**62, ()))])

    def lasting_generator(self) -> np.random.Generator:
        """Returns a random generator that gives the same numbers after each call, for noise that must not change."""
        return np.random.default_rng([self.key, 2**62])

    def state_dict(self) -> dict[str, str | bool]:
        """Returns the secret key as hexadecimal text, and whether it is secret, for the checkpoint."""
        return {"key": f"{self.key:x}", "is_secret": self.is_secret}

    def load_state_dict(self, state: dict[str, str | bool]) -> None:
        """Restores the secret key from the state in a checkpoint."""
        self.key, self.is_secret = int(str(state["key"]), 16), bool(state["is_secret"])


class UnitDraws(Dataset):
    """Data set of the random draws of one epoch, by Poisson sampling with the same probability for all units.

    An item is `{"reals": (n, k, 2, 96, 96)}`, with k patches of each of the n drawn units; n varies and may be 0. The
    number of draws is chosen so that an epoch draws each unit about once on average. The state of torch's global
    generator after a draw does not depend on the drawn units.

    Args:
        pairs: the real pairs of one stack (file of pairs). Several stacks are allowed only if `unit` is "patch".
        unit: "patch" protects each pair separately, but not all pairs of a patient together; "patient" protects all
            pairs of a patient together.
        expected_units: the mean number of units in a draw.
        patches_per_unit: k, the number of patches that a draw takes from each drawn patient, chosen anew in each draw.
            If `unit` is "patch", k is 1 and this argument is ignored.
        secret: the secret key, on which the draws depend.

    Raises:
        InputError: there are fewer units than `expected_units`, the unit is unknown, or the manifest of the stack does
            not say which patient each pair belongs to.
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
                f"batch_size {expected_units}, the mean number of units in a step, does not fit the {self.n_units} "
                f"units ({unit}) of the stack; choose a number from 1 to {self.n_units}"
            )

    @property
    def n_units(self) -> int:
        """Number of protected units (patches or patients); this number is public."""
        return len(self._units)

    @property
    def sampling_rate(self) -> float:
        """Probability that a draw contains a given unit."""
        return self.expected_units / self.n_units

    @cached_property
    def vessel_shares(self) -> np.ndarray:
        """Fraction of pixels that are vessel in the labels of each unit, (n_units,); these values are private."""
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
    """Returns a list with one array for each protected unit; the array holds the indices of the unit's pairs."""
    if unit == "patch":
        return list(np.arange(len(pairs))[:, None])
    if unit != "patient":
        raise InputError(f"unit {unit!r} is unknown; choose 'patch' or 'patient'")
    if len(pairs.paths) > 1:
        raise InputError("unit 'patient' does not allow several stacks, which may share a patient; give one stack")
    patients = patients_of_pairs(pairs.paths[0], open_stack(pairs.paths[0])[1])
    return [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
