"""Canaries: training patients whose pairs are repeated, so that an attack should recognise these patients.

A canary is the positive control of an audit. A network is trained on a stack in which one patient's pairs occur many
times, or a 3D network on a cohort in which one patient's scans are listed many times. If no attack recognises this
patient, the attacks cannot judge this kind of training, and an audit without findings proves nothing. A stack is a
`.npy` file of image-label pairs with a JSON manifest beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tofgan_monai.attacks.risk import patient_score
from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import PairDataset, StackWriter, open_stack, patients_of_pairs
from tofgan_monai.volumes.cohort import cohort_path, read_cohort, read_splits, write_cohort


class Repeated(NamedTuple):
    """Data of a canary's training, in which one member occurs several times.

    Attributes:
        digest: digest of the data, as the recipe of the training has it.
        patient: index of the repeated member.
        times: number of times that each pair or scan of this member occurs.
    """

    digest: str
    patient: int
    times: int


def plant_canary(members: Path, output: Path, *, times: int = 50, seed: int = 0) -> dict[str, Any]:
    """Writes a stack in which each pair of one random training patient occurs `times` times; returns its manifest.

    The other training patients' pairs occur once. The manifest names the repeated patient (the canary) under `canary`.
    It lists this patient's volumes as often as their pairs occur. Only one volume's pairs are in memory at a time.

    Args:
        members: path of the training patients' stack, made by `tofgan extract`.
        output: path of the new stack, a `.npy` file.
        times: how often each pair of the canary occurs in the new stack.
        seed: seed of the random choice of the patient.

    Raises:
        InputError: `members` does not name the patient of each pair or already has a canary, `times` is below 2, `seed`
            is negative, or `output` is the same file as `members`.
    """
    _check_plan(Path(members), Path(output), times, seed)
    pairs, manifest = open_stack(members)
    if "canary" in manifest:
        raise InputError(f"{members}: the stack already has a canary; give the members' stack made by `tofgan extract`")
    patients = patients_of_pairs(members, manifest)
    canary = int(np.random.default_rng(seed).choice(np.unique(patients)))
    volumes = manifest["volumes"]
    repeats = [times if volume["patient"] == canary else 1 for volume in volumes]
    sizes = [volume["n_vessel"] + volume["n_random"] for volume in volumes]
    # The new manifest has no fingerprint, because the fingerprint belongs to the pairs of the members' stack.
    described = {
        **{name: value for name, value in manifest.items() if name not in ("fingerprint", "patient_of_pair", "n")},
        "volumes": [v for v, n in zip(volumes, repeats, strict=True) for _ in range(n)],
        "canary": {"patient": canary, "times": times, "of": PairDataset(members).digest},
    }
    with StackWriter(output, int(np.dot(repeats, sizes)), described) as stack:
        for end, size, n in zip(np.cumsum(sizes), sizes, repeats, strict=True):
            for _ in range(n):
                stack.append(pairs[end - size : end])
    return open_stack(output)[1]


def plant_head_canary(members: Path, output: Path, *, times: int = 50, seed: int = 0) -> Repeated:
    """Writes a cohort.json in which the scans of one random training patient occur `times` times.

    The volumes stay where they are, and the other splits stay the same.

    Args:
        members: folder of the training patients' cohort, or its cohort.json.
        output: folder for the new cohort.json, or its path.
        times: how often each scan of the canary occurs in the split `training`.
        seed: seed of the random choice of the patient.

    Returns:
        The canary, without a digest.

    Raises:
        InputError: the cohort has no split `training`, `times` is below 2, `seed` is negative, or `output` is the same
            file as `members`.
    """
    _check_plan(cohort_path(members), cohort_path(output), times, seed)
    items = read_cohort(members, "training")
    patients = list(dict.fromkeys(item["patient"] for item in items))
    canary = int(np.random.default_rng(seed).integers(len(patients)))
    repeated = [item for item in items for _ in range(times if item["patient"] == patients[canary] else 1)]
    write_cohort(output, {**read_splits(members), "training": repeated})
    return Repeated("", canary, times)


def _check_plan(members: Path, output: Path, times: int, seed: int) -> None:
    """Raises InputError if a canary cannot be planted so often, with this seed, or in this output."""
    if times < 2:
        raise InputError(f"times = {times} is too few; repeat the canary's pairs at least 2 times (`--times`)")
    if seed < 0:
        raise InputError(f"seed = {seed} is negative; give a seed of 0 or more (`--seed`)")
    if members.resolve() == output.resolve():
        raise InputError(f"{output}: the output is the same file as the members'; name another output")


def canary_rank(scores: np.ndarray, patients: np.ndarray, is_member: np.ndarray, canary: int) -> dict[str, Any]:
    """Returns the rank of the canary's score among the held-out patients' scores of one attack.

    A patient's score is `patient_score` of the patient's patches. Rank 1 is the highest score. The canary ranks below
    every held-out patient with an equal score.

    Args:
        scores: the attack's score of each patch, (n,); a higher score means more like a training patient's (member's).
        patients: patient index of each patch, (n,). A member and a non-member with the same index are two patients.
        is_member: whether each patch belongs to a member, (n,) booleans.
        canary: index of the member whose pairs were repeated in the training.

    Returns:
        Dict with `above_all` (whether the rank is 1), `rank`, and `of` (number of held-out patients plus the canary).

    Raises:
        InputError: no patch belongs to the canary, or no patch belongs to a held-out patient.
    """
    scores, patients, is_member = np.asarray(scores), np.asarray(patients), np.asarray(is_member, bool)
    own = scores[is_member & (patients == canary)]
    held_out = [scores[~is_member & (patients == patient)] for patient in np.unique(patients[~is_member])]
    if not len(own) or not held_out:
        found = f"{len(own)} patches of the canary (patient {canary}) and patches of {len(held_out)} held-out patients"
        raise InputError(f"scores hold {found}; give scores of at least one patch of both groups")
    rank = 1 + sum(patient_score(one) >= patient_score(own) for one in held_out)
    return {"above_all": rank == 1, "rank": rank, "of": len(held_out) + 1}
