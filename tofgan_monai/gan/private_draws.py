"""Whose data is protected: a patch, or a patient with all of his or hers; and which are drawn for a step."""

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
    """128 bits of the operating system, on which all noise and all draws of a private training depend.

    Who knows which units were drawn, or can compute the noise, is not bound by any epsilon, and a training's seed is
    no secret. The state belongs into the checkpoint, for a training that goes on, and must stay there.

    Args:
        seed: instead of these bits: a training that can be repeated, and guarantees nothing.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.key = secrets.randbits(128) if seed is None else seed
        self.is_secret = seed is None

    def generator(self) -> np.random.Generator:
        """A fresh generator, of the secret and one number of torch's, which need not be secret."""
        return np.random.default_rng([self.key, int(torch.randint(2**62, ()))])

    def lasting_generator(self) -> np.random.Generator:
        """The same generator each time, and none that `generator` gives: noise drawn once, whenever it is asked for."""
        return np.random.default_rng([self.key, 2**62])

    def state_dict(self) -> dict[str, str | bool]:
        """For the checkpoint."""
        return {"key": f"{self.key:x}", "is_secret": self.is_secret}

    def load_state_dict(self, state: dict[str, str | bool]) -> None:
        """From the checkpoint."""
        self.key, self.is_secret = int(str(state["key"]), 16), bool(state["is_secret"])


class UnitDraws(Dataset):
    """The draws of an epoch: in each, every unit is in or out by itself, with the same probability (Poisson sampling).

    A draw is `{"reals": (n, k, 2, 96, 96)}`: k patches of each of the n units that are in; n differs and may be 0. An
    epoch has as many draws as it takes to see each unit once, on average. How much is taken from torch's global
    generator does not depend on what was drawn.

    Args:
        pairs: of one stack, or several where the unit is the patch.
        unit: `patch`: each pair is a record of its own, and a patient's many are not protected together; `patient`: all
            pairs of a patient are one.
        expected_units: how many units a draw has on average.
        patches_per_unit: k, chosen anew for each draw, of a patient's; a patch has itself alone.
        secret: of the draws.

    Raises:
        InputError: fewer units than a draw shall have, another unit, or pairs whose patients are not known.
    """

    def __init__(
        self, pairs: PairDataset, *, unit: Unit, expected_units: int, patches_per_unit: int, secret: Secret
    ) -> None:
        self.pairs, self.unit, self.secret, self.expected_units = pairs, unit, secret, expected_units
        self._units = _units_of(pairs, unit)
        self._k = patches_per_unit if unit == "patient" else 1
        if not 0 < expected_units <= self.n_units:
            raise InputError(
                f"batch_size {expected_units}: how many of the {self.n_units} units ({unit}) a step sees on average; "
                f"choose 1 to {self.n_units}"
            )

    @property
    def n_units(self) -> int:
        """How many units there are; not protected."""
        return len(self._units)

    @property
    def sampling_rate(self) -> float:
        """The probability with which a unit is in a draw."""
        return self.expected_units / self.n_units

    @cached_property
    def vessel_shares(self) -> np.ndarray:
        """Vessel pixels over all pixels of each unit's labels, (n_units,); private."""
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
        shape = self.pairs[0]["reals"].shape
        return {
            "reals": torch.stack(patches).unflatten(0, (-1, self._k)) if patches else torch.empty(0, self._k, *shape)
        }


def _units_of(pairs: PairDataset, unit: Unit) -> list[np.ndarray]:
    """The indices of each unit's pairs."""
    if unit == "patch":
        return list(np.arange(len(pairs))[:, None])
    if unit != "patient":
        raise InputError(f"unit {unit!r}: choose patch or patient")
    if len(pairs.paths) > 1:
        raise InputError("unit patient: give one stack; whether two stacks have a patient in common is not known")
    patients = patients_of_pairs(pairs.paths[0], open_stack(pairs.paths[0])[1])
    return [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
