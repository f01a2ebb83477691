"""Canaries: one training patient's pairs are repeated, and an attack must recognise that patient.

This is the positive control of an audit. If no attack recognises the repeated patient, the attacks cannot judge this
kind of training, and finding nothing means nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.attacks.risk import patient_score
from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import PairDataset, StackWriter, open_stack, patients_of_pairs


def plant_canary(members: Path, output: Path, *, times: int = 50, seed: int = 0) -> dict[str, Any]:
    """Writes a stack in which one random member's pairs are repeated `times` times, and returns its manifest.

    The other members' pairs occur once. The manifest names the repeated patient under `canary` and lists the patient's
    volumes as often as their pairs occur. Only one volume's pairs are in memory at a time.

    Args:
        members: a stack made by `tofgan extract`.
        output: path of the new stack, a `.npy` file.
        times: how often each pair of the canary occurs; other patients' pairs occur once.
        seed: of the draw of the patient.

    Raises:
        InputError: `members` does not name its patients or already has a canary, `times` is below 2, `seed` is
            negative, or `output` is the same file.
    """
    if times < 2:
        raise InputError(f"times = {times}: repeat the canary at least 2 times")
    if seed < 0:
        raise InputError(f"seed = {seed}: give a seed of 0 or more")
    if Path(members).resolve() == Path(output).resolve():
        raise InputError(f"{output}: this is the members' own stack; name another output")
    pairs, manifest = open_stack(members)
    if "canary" in manifest:
        raise InputError(f"{members}: this stack already has a canary; give the stack that it was made from")
    patients = patients_of_pairs(members, manifest)
    canary = int(np.random.default_rng(seed).choice(np.unique(patients)))
    volumes = manifest["volumes"]
    repeats = [times if volume["patient"] == canary else 1 for volume in volumes]
    sizes = [volume["n_vessel"] + volume["n_random"] for volume in volumes]
    # The fingerprint of sampled pairs is left out: these are other pairs.
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


def canary_rank(scores: np.ndarray, patients: np.ndarray, is_member: np.ndarray, canary: int) -> dict[str, Any]:
    """The canary's rank among held-out patients by an attack's scores, `{"above_all": bool, "rank": int, "of": int}`.

    A patient's score is the mean of the highest quarter of the patches' scores, of at least one patch, as for every
    attack. Rank 1 is the highest. `of` also counts the canary. Among equal scores the canary comes last.

    Args:
        scores: (n,) of patches; a higher score means more like a member.
        patients: (n,) patient index of each patch. A member and a non-member with the same index are two patients.
        is_member: (n,) booleans.
        canary: index of the member who was repeated.

    Raises:
        InputError: there is no patch of the canary, or none of a held-out patient.
    """
    scores, patients, is_member = np.asarray(scores), np.asarray(patients), np.asarray(is_member, bool)
    own = scores[is_member & (patients == canary)]
    held_out = [scores[~is_member & (patients == patient)] for patient in np.unique(patients[~is_member])]
    if not len(own) or not held_out:
        found = f"patches of {len(held_out)} held-out patients and {len(own)} patches of the canary ({canary})"
        raise InputError(f"{found}; give both")
    rank = 1 + sum(patient_score(one) >= patient_score(own) for one in held_out)
    return {"above_all": rank == 1, "rank": rank, "of": len(held_out) + 1}
