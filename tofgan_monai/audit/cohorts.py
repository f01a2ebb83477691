"""The three cohorts of an audit: pairs of training patients (members), held-out patients (non-members), references."""

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

MIN_QUERIES = N_NEAREST + 2  # the fewest pairs of members or of non-members whose manifold can be measured


@dataclass(frozen=True, eq=False)
class Cohort:
    """The real pairs of one group of patients in an audit.

    Attributes:
        pairs: (n, 2, 96, 96) in float16.
        patients: the patient index of each pair, (n,).
        kind: of the data, "real" or "simulated".
        digest: of the whole stack.
        volumes: digests of the images of the whole stack; empty if its manifest does not name all of them.
    """

    pairs: np.ndarray
    patients: np.ndarray
    kind: str
    digest: str
    volumes: frozenset[str] = frozenset()

    @property
    def n_patients(self) -> int:
        """The number of patients in the cohort."""
        return len(np.unique(self.patients))

    @property
    def described(self) -> dict[str, Any]:
        """The cohort's entry in audit.json."""
        return {"patients": self.n_patients, "pairs": len(self.pairs), "digest": self.digest, "kind": self.kind}

    def of(self, patients: Sequence[int] | np.ndarray) -> Cohort:
        """The cohort reduced to the pairs of the given patients."""
        mine = np.isin(self.patients, patients)
        return replace(self, pairs=self.pairs[mine], patients=self.patients[mine])

    def halves(self, seed: int = 0) -> tuple[Cohort, Cohort]:
        """Two cohorts, each with a random half of the patients."""
        patients = np.random.default_rng(seed).permutation(np.unique(self.patients))
        half = len(patients) // 2
        return self.of(patients[:half]), self.of(patients[half:])

    def fewer(self, pairs_per_patient: int, seed: int = 0) -> Cohort:
        """The cohort reduced to at most this many random pairs of each patient."""
        order = np.random.default_rng(seed).permutation(len(self.patients))
        chosen = [order[self.patients[order] == patient][:pairs_per_patient] for patient in np.unique(self.patients)]
        kept = np.sort(np.concatenate(chosen))
        return replace(self, pairs=self.pairs[kept], patients=self.patients[kept])


@dataclass(frozen=True, eq=False)
class Cohorts:
    """The cohorts of an audit. The pairs of members and non-members are also joined into queries for the attacks."""

    members: Cohort
    non_members: Cohort
    references: Cohort

    @cached_property
    def queries(self) -> np.ndarray:
        """The members' pairs followed by the non-members' pairs, (n, 2, 96, 96)."""
        return np.concatenate([self.members.pairs, self.non_members.pairs])

    @cached_property
    def patients(self) -> np.ndarray:
        """The patient index of each query, (n,); members and non-members have different indices."""
        return np.concatenate([self.members.patients, self.non_members.patients + self.members.patients.max() + 1])

    @property
    def is_member(self) -> np.ndarray:
        """Which queries belong to members, (n,) booleans."""
        return np.arange(len(self.patients)) < len(self.members.pairs)

    def with_held_out(self, patient: int) -> np.ndarray:
        """Indices of the queries that belong to one member or to any non-member."""
        return np.flatnonzero(~self.is_member | (self.patients == patient))

    def fewer(self, pairs_per_patient: int) -> Cohorts:
        """The three cohorts, each reduced to at most this many random pairs of each patient."""
        return Cohorts(*(cohort.fewer(pairs_per_patient) for cohort in self._all.values()))

    @property
    def _all(self) -> dict[str, Cohort]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def volumes_compared(self) -> bool:
        """Whether the check for shared patients compared volumes; False if a manifest does not name all its volumes."""
        return all(cohort.volumes for cohort in self._all.values())

    @property
    def described(self) -> dict[str, Any]:
        """The cohorts' entry in audit.json."""
        return {name: cohort.described for name, cohort in self._all.items()}


def read_cohorts(
    members: str | os.PathLike,
    non_members: str | os.PathLike,
    references: str | os.PathLike,
    *,
    pairs_per_patient: int,
) -> Cohorts:
    """Reads the cohorts of an audit from three stacks; takes at most `pairs_per_patient` pairs of each patient.

    Two stacks must not share patients. This is checked by the volumes' images, or by the pairs where a manifest does
    not name the volumes. The check cannot recognise two scans of one patient, because their voxels differ.

    Raises:
        InputError: a stack cannot be read, does not name its patients or has too few pairs for the attacks; or two
            stacks share a volume or a pair.
    """
    paths = {"members": Path(members), "non-members": Path(non_members), "references": Path(references)}
    read, problems = {}, []
    for name, path in paths.items():
        try:
            read[name] = _read(path, pairs_per_patient)
        except InputError as error:
            problems += [f"{problem} ({name})" for problem in error.problems]
    if not problems:
        problems = [*_too_few(paths, read), *_shared(paths, read)]
    if problems:
        raise InputError(problems)
    return Cohorts(*read.values())


def _too_few(paths: Mapping[str, Path], read: Mapping[str, Cohort]) -> Iterator[str]:
    for name, cohort in read.items():
        if len(cohort.pairs) < MIN_QUERIES:
            yield f"{paths[name]}: {len(cohort.pairs)} pairs ({name}); give {MIN_QUERIES} pairs or more"
    references = read["references"]
    fewest = min(len(half.pairs) for half in references.halves())
    if fewest < MIN_PAIRS:
        yield (
            f"{paths['references']}: {len(references.pairs)} pairs, {fewest} of them in one half of the patients; give "
            f"{2 * MIN_PAIRS} or more, equally many of each patient (--pairs-per-patient): a control halves the cohort"
        )


def _shared(paths: Mapping[str, Path], read: Mapping[str, Cohort]) -> Iterator[str]:
    pairs = {name: {pair.tobytes() for pair in cohort.pairs} for name, cohort in read.items()}
    for name, other in combinations(read, 2):
        n_volumes, n_pairs = len(read[name].volumes & read[other].volumes), len(pairs[name] & pairs[other])
        if n_volumes or n_pairs:
            n, what = (n_volumes, "volume") if n_volumes else (n_pairs, "pair")
            yield (
                f"{paths[name]} and {paths[other]}: {n} {what}{'s' * (n > 1)} in both; {name} and {other} must be "
                "different patients: extract them from different splits (`tofgan extract --split test`)"
            )


def _read(path: Path, pairs_per_patient: int) -> Cohort:
    pairs, manifest = open_stack(path)
    if manifest.get("kind") == "synthetic":
        raise InputError(f"{path}: holds synthetic pairs; give a stack made by `tofgan extract`")
    kind = kind_of(manifest)
    voxels = [volume.get("voxels") for volume in manifest.get("volumes", ())]
    volumes = frozenset(voxels if all(voxels) else ())
    patients = patients_of_pairs(path, manifest)
    return Cohort(pairs, patients, kind, PairDataset(path).digest, volumes).fewer(pairs_per_patient)
