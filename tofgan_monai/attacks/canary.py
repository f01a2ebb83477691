"""The positive control: a training in which one patient is repeated must give that patient away.

If it does not, the audit cannot speak about this kind of training, and its silence means nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.attacks.risk import patient_score
from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import PairDataset, StackWriter, open_stack, patients_of_pairs


def plant_canary(members: Path, output: Path, *, times: int = 50, seed: int = 0) -> dict[str, Any]:
    """The manifest of the stack at `output`: the members' pairs, those of one patient drawn by the seed `times` times.

    It says under `canary` which patient that is, and lists that patient's volumes as often as their pairs are there.
    One volume's pairs at a time are in memory.

    Args:
        members: a stack of `tofgan extract`.
        output: the stack's `.npy`.
        times: how often the canary's pairs are there; the others' once.
        seed: of the draw.

    Raises:
        InputError: `members` does not tell its patients apart or has a canary already, fewer than two times,
            or a seed below 0.
    """
    if times < 2:
        raise InputError(f"times = {times}: a canary is repeated, at least 2 times")
    if seed < 0:
        raise InputError(f"seed = {seed}: a seed is 0 or more")
    if Path(members).resolve() == Path(output).resolve():
        raise InputError(f"{output}: is the members' own stack; name another output")
    pairs, manifest = open_stack(members)
    if "canary" in manifest:
        raise InputError(f"{members}: has a canary already; give the stack that it was made of")
    patients = patients_of_pairs(members, manifest)
    canary = int(np.random.default_rng(seed).choice(np.unique(patients)))
    repeats = [times if volume["patient"] == canary else 1 for volume in manifest["volumes"]]
    sizes = [volume["n_vessel"] + volume["n_random"] for volume in manifest["volumes"]]
    # Without the fingerprint of sampled pairs, which these no longer are.
    described = {
        **{name: value for name, value in manifest.items() if name not in ("fingerprint", "patient_of_pair", "n")},
        "volumes": [v for v, n in zip(manifest["volumes"], repeats, strict=True) for _ in range(n)],
        "canary": {"patient": canary, "times": times, "of": PairDataset(members).digest},
    }
    with StackWriter(output, int(np.dot(repeats, sizes)), described) as stack:
        for end, size, n in zip(np.cumsum(sizes), sizes, repeats, strict=True):
            for _ in range(n):
                stack.append(pairs[end - size : end])
    return open_stack(output)[1]


def canary_rank(scores: np.ndarray, patients: np.ndarray, is_member: np.ndarray, canary: int) -> dict[str, Any]:
    """Where an attack ranks the canary among the held-out patients: `{"above_all": bool, "rank": int, "of": int}`.

    A patient's score is the mean of the highest quarter of its patches' scores, at least of one, as for every attack.
    Rank 1 is the highest, `of` counts the canary too, and of equal scores the canary's is the last.

    Args:
        scores: (n,) of patches, higher = more like a member.
        patients: (n,) whose patches they are. A member and a non-member of the same index are two patients.
        is_member: (n,) booleans.
        canary: the member who was repeated.

    Raises:
        InputError: no patch of the canary, or none of a held-out patient.
    """
    scores, patients, is_member = np.asarray(scores), np.asarray(patients), np.asarray(is_member, bool)
    own = scores[is_member & (patients == canary)]
    held_out = [scores[~is_member & (patients == patient)] for patient in np.unique(patients[~is_member])]
    if not len(own) or not held_out:
        raise InputError(
            f"patches of {len(held_out)} held-out patients and {len(own)} of the canary ({canary}); ask both"
        )
    rank = 1 + sum(patient_score(one) >= patient_score(own) for one in held_out)
    return {"above_all": rank == 1, "rank": rank, "of": len(held_out) + 1}
