"""Cohorts of an audit, three groups of patients with their image-label pairs.

Members are the training patients, whose pairs trained the audited network. Non-members are held-out patients of the
same site. References are further patients, who are neither. A stack is a file of pairs with a manifest, which should
name the scanned volumes and their patients. A query is a pair of a member or a non-member whose membership an attack
must decide.
"""

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

MIN_QUERIES = N_NEAREST + 2  # fewest pairs of one group for precision and recall by nearest neighbours


@dataclass(frozen=True, eq=False)
class Cohort:
    """One group of patients in an audit, with its image-label pairs.

    Attributes:
        pairs: image-label pairs, (n, 2, 96, 96) in float16.
        patients: patient index of each pair, (n,).
        kind: kind of the data, "real" or "simulated".
        digest: digest of the whole stack from which the pairs were taken.
        volumes: digests of all image volumes of this stack; empty if the manifest lacks the digest of any volume.
    """

    pairs: np.ndarray
    patients: np.ndarray
    kind: str
    digest: str
    volumes: frozenset[str] = frozenset()

    @property
    def n_patients(self) -> int:
        """Number of patients in the cohort."""
        return len(np.unique(self.patients))

    @property
    def described(self) -> dict[str, Any]:
        """Entry about the cohort in audit.json: numbers of patients and pairs, digest of the stack, kind of data."""
        return {"patients": self.n_patients, "pairs": len(self.pairs), "digest": self.digest, "kind": self.kind}

    def of(self, patients: Sequence[int] | np.ndarray) -> Cohort:
        """Returns the cohort reduced to the pairs of the given patients, who are named by their indices."""
        mine = np.isin(self.patients, patients)
        return replace(self, pairs=self.pairs[mine], patients=self.patients[mine])

    def halves(self) -> tuple[Cohort, Cohort]:
        """Splits the patients at random; returns two cohorts, each with the pairs of one half of the patients."""
        patients = np.random.default_rng(0).permutation(np.unique(self.patients))
        half = len(patients) // 2
        return self.of(patients[:half]), self.of(patients[half:])

    def fewer(self, pairs_per_patient: int) -> Cohort:
        """Returns the cohort reduced to at most `pairs_per_patient` random pairs of each patient."""
        order = np.random.default_rng(0).permutation(len(self.patients))
        chosen = [order[self.patients[order] == patient][:pairs_per_patient] for patient in np.unique(self.patients)]
        kept = np.sort(np.concatenate(chosen))
        return replace(self, pairs=self.pairs[kept], patients=self.patients[kept])


@dataclass(frozen=True, eq=False)
class Cohorts:
    """The three cohorts of an audit, and the queries, which join the members' and the non-members' pairs.

    Attributes:
        members: training patients.
        non_members: held-out patients of the same site.
        references: further patients, who are neither members nor non-members.
    """

    members: Cohort
    non_members: Cohort
    references: Cohort

    @cached_property
    def queries(self) -> np.ndarray:
        """The members' pairs followed by the non-members' pairs, (n, 2, 96, 96); attacks must tell them apart."""
        return np.concatenate([self.members.pairs, self.non_members.pairs])

    @cached_property
    def patients(self) -> np.ndarray:
        """Patient index of each query, (n,); members and non-members have different indices."""
        return np.concatenate([self.members.patients, self.non_members.patients + self.members.patients.max() + 1])

    @property
    def is_member(self) -> np.ndarray:
        """Whether each query belongs to a member, (n,) booleans."""
        return np.arange(len(self.patients)) < len(self.members.pairs)

    def with_held_out(self, patient: int) -> np.ndarray:
        """Returns the indices of the queries that belong to one member, given by its index, or to any non-member."""
        return np.flatnonzero(~self.is_member | (self.patients == patient))

    def fewer(self, pairs_per_patient: int) -> Cohorts:
        """Returns the three cohorts, each reduced to at most `pairs_per_patient` random pairs of each patient."""
        return Cohorts(*(cohort.fewer(pairs_per_patient) for cohort in self._all.values()))

    @property
    def _all(self) -> dict[str, Cohort]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def volumes_compared(self) -> bool:
        """Whether volumes could be compared to find shared patients; False if a manifest lacks a volume's digest."""
        return all(cohort.volumes for cohort in self._all.values())

    @property
    def described(self) -> dict[str, Any]:
        """Entry about the cohorts in audit.json: a dict from the cohort's name to its own entry."""
        return {name: cohort.described for name, cohort in self._all.items()}


def read_cohorts(
    members: str | os.PathLike,
    non_members: str | os.PathLike,
    references: str | os.PathLike,
    *,
    pairs_per_patient: int,
) -> Cohorts:
    """Reads the three cohorts of an audit from three stacks, and checks that no two of them share a volume or a pair.

    The three cohorts must be different patients. The check compares the digests of the image volumes, if both manifests
    name them, and the pairs that were read. It cannot recognise two scans of the same patient, because the voxels of
    two scans differ.

    Args:
        members: path of the stack of the training patients' pairs.
        non_members: path of the stack of the held-out patients' pairs.
        references: path of the stack of further patients' pairs.
        pairs_per_patient: largest number of pairs to take, at random, from each patient.

    Raises:
        InputError: a stack cannot be read, holds synthetic pairs, does not name the patient of each pair or has too few
            pairs for the attacks; or two stacks share a volume or a pair.
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
            yield f"{paths[name]}: the stack of {name} has {len(cohort.pairs)} pairs; give {MIN_QUERIES} pairs or more"
    references = read["references"]
    fewest = min(len(half.pairs) for half in references.halves())
    if fewest < MIN_PAIRS:
        yield (
            f"{paths['references']}: the stack of references has {len(references.pairs)} pairs, of which one half of "
            f"the patients has {fewest}, but a control needs {MIN_PAIRS} in each half; give {2 * MIN_PAIRS} pairs or "
            "more, equally many of each patient (`--pairs-per-patient`)"
        )


def _shared(paths: Mapping[str, Path], read: Mapping[str, Cohort]) -> Iterator[str]:
    pairs = {name: {pair.tobytes() for pair in cohort.pairs} for name, cohort in read.items()}
    for name, other in combinations(read, 2):
        n_volumes, n_pairs = len(read[name].volumes & read[other].volumes), len(pairs[name] & pairs[other])
        if n_volumes or n_pairs:
            n, what = (n_volumes, "volume") if n_volumes else (n_pairs, "pair")
            yield (
                f"{paths[name]} and {paths[other]} share {n} {what}{'s' * (n > 1)}, but {name} and {other} must be "
                "different patients; extract the stacks from different splits (`tofgan extract --split test`)"
            )


def _read(path: Path, pairs_per_patient: int) -> Cohort:
    pairs, manifest = open_stack(path)
    if manifest.get("kind") == "synthetic":
        raise InputError(f"{path}: the stack holds synthetic pairs; give real pairs made by `tofgan extract`")
    kind = kind_of(manifest)
    voxels = [volume.get("voxels") for volume in manifest.get("volumes", ())]
    volumes = frozenset(voxels if all(voxels) else ())
    patients = patients_of_pairs(path, manifest)
    return Cohort(pairs, patients, kind, PairDataset(path).digest, volumes).fewer(pairs_per_patient)
