"""Whose pairs an audit looks at: members, non-members and references, three stacks of other patients each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.attacks.on_pairs import MIN_PAIRS
from tofgan_monai.errors import InputError
from tofgan_monai.metrics.stacks.manifold import N_NEAREST
from tofgan_monai.pairs.stack import PairDataset, open_stack, patients_of_pairs
from tofgan_monai.volumes.kinds import kind_of

MIN_QUERIES = N_NEAREST + 2  # pairs of members or non-members, whose manifold is measured


@dataclass(frozen=True, eq=False)
class Cohort:
    """Pairs (n, 2, 96, 96) in float16, whose each is, (n,) indices, and the digest of the whole stack.

    `volumes` are the digests of the images that the whole stack is from; none where its manifest does not tell all.
    """

    pairs: np.ndarray
    patients: np.ndarray
    kind: str
    digest: str
    volumes: frozenset[str] = frozenset()

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
        return replace(self, pairs=self.pairs[mine], patients=self.patients[mine])

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
        return replace(self, pairs=self.pairs[kept], patients=self.patients[kept])


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
    def volumes_compared(self) -> bool:
        """Whether it is known that no volume is in two of them; else only that no pair is."""
        return all(cohort.volumes for cohort in self._all.values())

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

    That they are of other patients is checked by the volumes' images, or by the pairs where a stack was made before
    manifests told those. Neither sees two scans of one patient: their voxels differ.

    Raises:
        InputError: a stack that cannot be read, does not tell its patients or has too few pairs for the attacks, or two
            with a volume or a pair in common.
    """
    paths = {"members": Path(members), "non-members": Path(non_members), "references": Path(references)}
    read, problems = [], []
    for name, path in paths.items():
        try:
            read.append(_read(path, pairs_per_patient))
        except InputError as error:
            problems += [f"{problem} ({name})" for problem in error.problems]
    if not problems:
        problems = [*_too_few(paths, read), *_shared(paths, read)]
    if problems:
        raise InputError(problems)
    return Cohorts(*read)


def _too_few(paths: Mapping[str, Path], read: Sequence[Cohort]) -> Iterator[str]:
    for (name, path), cohort in zip(paths.items(), read, strict=True):
        if len(cohort.pairs) < MIN_QUERIES:
            yield f"{path}: {len(cohort.pairs)} pairs ({name}); give {MIN_QUERIES} or more"
    *_, references = read
    fewest = min(len(half.pairs) for half in references.halves())
    if fewest < MIN_PAIRS:
        yield (
            f"{paths['references']}: {len(references.pairs)} pairs, {fewest} of them in one half of the patients; give "
            f"{2 * MIN_PAIRS} or more, as many of each patient (--pairs-per-patient): a control halves them"
        )


def _shared(paths: Mapping[str, Path], read: Sequence[Cohort]) -> Iterator[str]:
    given = list(zip(paths.items(), read, strict=True))
    for ((name, path), cohort), ((other_name, other_path), other) in combinations(given, 2):
        n_volumes = len(cohort.volumes & other.volumes)
        n_pairs = len({pair.tobytes() for pair in cohort.pairs} & {pair.tobytes() for pair in other.pairs})
        if n_volumes or n_pairs:
            n, what = (n_volumes, "volume") if n_volumes else (n_pairs, "pair")
            yield (
                f"{path} and {other_path}: {n} {what}{'s' * (n > 1)} in both; {name} and {other_name} must be "
                "different patients: extract them from different splits (`tofgan extract --split test`)"
            )


def _read(path: Path, pairs_per_patient: int) -> Cohort:
    pairs, manifest = open_stack(path)
    if manifest.get("kind") == "synthetic":
        raise InputError(f"{path}: holds synthetic pairs; give a stack of `tofgan extract`")
    kind = kind_of(manifest)
    voxels = [volume.get("voxels") for volume in manifest.get("volumes", ())]
    volumes = frozenset(voxels if all(voxels) else ())
    patients = patients_of_pairs(path, manifest)
    return Cohort(pairs, patients, kind, PairDataset(path).digest, volumes).fewer(pairs_per_patient)
