"""Whose pairs an audit looks at: members, non-members and references, three stacks of other patients each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.pairs import PairDataset, open_stack, patients_of_pairs
from tofgan_monai.privacy.data_attacks import MIN_PAIRS


@dataclass(frozen=True, eq=False)
class Cohort:
    """Pairs (n, 2, 96, 96) in float16, whose each is, (n,) indices, and the digest of the whole stack."""

    pairs: np.ndarray
    patients: np.ndarray
    kind: str
    digest: str

    @property
    def n_patients(self) -> int:
        """How many patients."""
        return len(np.unique(self.patients))

    @property
    def described(self) -> dict[str, Any]:
        """What the audit says of it."""
        return {"patients": self.n_patients, "pairs": len(self.pairs), "digest": self.digest, "kind": self.kind}

    def of(self, patients: Sequence[int] | np.ndarray) -> Cohort:
        """The same of some of the patients."""
        mine = np.isin(self.patients, patients)
        return Cohort(self.pairs[mine], self.patients[mine], self.kind, self.digest)

    def halves(self, seed: int = 0) -> tuple[Cohort, Cohort]:
        """Its patients, dealt at random into two."""
        patients = np.random.default_rng(seed).permutation(np.unique(self.patients))
        half = len(patients) // 2
        return self.of(patients[:half]), self.of(patients[half:])

    def fewer(self, pairs_per_patient: int, seed: int = 0) -> Cohort:
        """At most so many pairs of each patient, drawn by the seed."""
        order = np.random.default_rng(seed).permutation(len(self.patients))
        chosen = [order[self.patients[order] == patient][:pairs_per_patient] for patient in np.unique(self.patients)]
        kept = np.sort(np.concatenate(chosen))
        return Cohort(self.pairs[kept], self.patients[kept], self.kind, self.digest)


@dataclass(frozen=True, eq=False)
class Cohorts:
    """The three, and the first two as one row of queries: patches (n, 2, 96, 96), patients and membership (n,)."""

    members: Cohort
    non_members: Cohort
    references: Cohort

    @cached_property  # one object: searches are told apart by it
    def queries(self) -> np.ndarray:
        """Members' pairs, then non-members'."""
        return np.concatenate([self.members.pairs, self.non_members.pairs])

    @cached_property
    def patients(self) -> np.ndarray:
        """Whose each query is; no number stands for two people."""
        return np.concatenate([self.members.patients, self.non_members.patients + self.members.patients.max() + 1])

    @property
    def is_member(self) -> np.ndarray:
        """Which queries are members'."""
        return np.arange(len(self.patients)) < len(self.members.pairs)

    def fewer(self, pairs_per_patient: int) -> Cohorts:
        """The same with at most so many pairs a patient."""
        return Cohorts(*(cohort.fewer(pairs_per_patient) for cohort in self._all.values()))

    @property
    def _all(self) -> dict[str, Cohort]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def described(self) -> dict[str, Any]:
        """What the audit says of the three."""
        return {name: cohort.described for name, cohort in self._all.items()}


def read_cohorts(
    members: str | os.PathLike,
    non_members: str | os.PathLike,
    references: str | os.PathLike,
    *,
    pairs_per_patient: int,
) -> Cohorts:
    """The three stacks, cut down to so many pairs a patient.

    Raises:
        InputError: a stack that cannot be read or does not tell its patients, or two with a pair in common.
    """
    paths = {"members": Path(members), "non-members": Path(non_members), "references": Path(references)}
    read, problems = [], []
    for name, path in paths.items():
        try:
            read.append(_read(path, pairs_per_patient))
        except InputError as error:
            problems += [f"{problem} ({name})" for problem in error.problems]
    if not problems and len(read[2].pairs) < 2 * MIN_PAIRS:
        problems.append(
            f"{references}: {len(read[2].pairs)} pairs; give {2 * MIN_PAIRS} or more: a control needs half of them"
        )
    if not problems:
        prints = [{pair.tobytes() for pair in cohort.pairs} for cohort in read]
        for first, second in ((0, 1), (0, 2), (1, 2)):
            if shared := len(prints[first] & prints[second]):
                names = [list(paths)[index] for index in (first, second)]
                problems.append(
                    f"{list(paths.values())[first]} and {list(paths.values())[second]}: {shared} pairs are in both; "
                    f"{' and '.join(names)} must be different patients: extract them from different splits"
                )
    if problems:
        raise InputError(problems)
    return Cohorts(*read)


def _read(path: Path, pairs_per_patient: int) -> Cohort:
    pairs, manifest = open_stack(path)
    if manifest.get("kind") == "synthetic":
        raise InputError(f"{path}: holds synthetic pairs; give a stack of `tofgan extract`")
    kind = "simulated" if manifest.get("simulated") is True else "real"
    return Cohort(pairs, patients_of_pairs(path, manifest), kind, PairDataset(path).digest).fewer(pairs_per_patient)
