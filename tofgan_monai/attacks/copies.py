"""Copies in a whole stack: which synthetic pairs are close to a member, and closer than to people who cannot be copied.

Distances to the closest record prove nothing alone: stacks that pass them leak to membership attacks, and honest ones
fail them (Yao et al. 2025, The DCR Delusion, arXiv:2505.01524). Each figure here hence stands beside the same one for
non-members, and none of them says that a stack is safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from tofgan_monai.attacks.similarity import FLIPS, Matches
from tofgan_monai.errors import InputError

CAVEAT = (
    "Distances to the closest record prove nothing alone (arXiv:2505.01524): few near-copies do not make a stack safe."
)
RATE = 0.001
Patients = tuple[np.ndarray, np.ndarray]  # of each pair, members' and non-members'


@dataclass(frozen=True, eq=False)
class NearCopies:
    """Synthetic pairs that are as similar to a member as hardly any is to a non-member, in one channel.

    Attributes:
        threshold: a near-copy's similarity lies above it.
        synthetic: (n_near_copies,) indices into the stack, the most similar first.
        n_expected: how many would lie above it if members were like non-members.
        p: of so many members or more with a near-copy by chance. Each patient counts once, by the most similar
            synthetic pair: one plain patch is like many of them, and says no more than one.
    """

    threshold: float
    synthetic: np.ndarray
    n_expected: float
    p: float


def near_copies(to_members: Matches, to_non_members: Matches, patients: Patients, *, rate: float = RATE) -> NearCopies:
    """Near-copies by a threshold from non-members: the similarity to them that a share `rate` of the stack reaches.

    Args:
        to_members: of the stack in the members' pairs.
        to_non_members: of the stack in the non-members' pairs.
        patients: whose each pair of the members and of the non-members is.
        rate: of synthetic pairs, at least one pair.

    Source of p: of patients who are all alike the number of members above the k-th non-member is negative binomial,
        which is a binomial test of those among that many and k - 1 more.
    """
    ours, others = to_members.similarity[:, 0], to_non_members.similarity[:, 0]
    if len(ours) != len(others):
        raise InputError(f"{len(ours)} matches in members and {len(others)} in non-members; search with the same stack")
    k = max(1, round(rate * len(others)))
    threshold = float(np.sort(others)[-k])
    above = np.flatnonzero(ours > threshold)
    n_expected = k * len(patients[0]) / len(patients[1])
    p = _by_chance(_closest_of(to_members, patients[0]), _closest_of(to_non_members, patients[1]), k, patients)
    return NearCopies(threshold, above[np.argsort(-ours[above], kind="stable")], n_expected, p)


def _closest_of(matches: Matches, patients: np.ndarray) -> np.ndarray:
    """The similarity of the most similar synthetic pair of each patient whom any is most like."""
    order = np.argsort(-matches.similarity[:, 0], kind="stable")
    _, first = np.unique(patients[matches.item[order, 0]], return_index=True)
    return matches.similarity[order[first], 0]


def _by_chance(ours: np.ndarray, others: np.ndarray, k: int, patients: Patients) -> float:
    k = min(k, len(others))
    n_above = int((ours > np.sort(others)[-k]).sum())
    groups = (tuple(map(len, patients)), tuple(len(np.unique(of)) for of in patients))  # more pairs are closer, too
    share = max(members / (members + non_members) for members, non_members in groups)
    return float(stats.binom.sf(n_above - 1, n_above + k - 1, share))


def copied(to_members: Mapping[str, Matches], to_non_members: Mapping[str, Matches]) -> np.ndarray:
    """Indices of synthetic pairs that copy one training pair, in every channel.

    In each of them they are less than half as far from it as any synthetic pair is from any non-member's, where a
    distance is 1 - similarity: of a few copies no count tells, and of what is honest next to nothing is so close twice.
    """
    items = np.stack([matches.item[:, 0] for matches in to_members.values()])
    near = [
        1 - matches.similarity[:, 0] < (1 - to_non_members[channel].similarity[:, 0].max()) / 2
        for channel, matches in to_members.items()
    ]
    return np.flatnonzero(np.all(near, axis=0) & (items == items[0]).all(axis=0))


def copies(
    to_members: Mapping[str, Matches],
    to_non_members: Mapping[str, Matches],
    patients: Patients,
    *,
    rate: float = RATE,
    n_closest: int = 12,
) -> dict[str, Any]:
    """What the copy search of a whole stack found, as plain numbers for JSON.

    Args:
        to_members: by channel ("image", "label"), of the stack in the members' pairs, k >= 2.
        to_non_members: likewise in the non-members' pairs.
        patients: whose each pair of the members and of the non-members is.
        rate: see `near_copies`.
        n_closest: how many pairs of each channel to list.

    Returns:
        `threshold` (by channel), `n_copies` (see `copied`), `n_near_copies`, `n_expected`, `p` (corrected for the
        channels), `near_copies` (indices into the stack, of any channel, copies among them), `nndr` (by channel),
        `closest` (the most similar pairs) and `caveat`.
    """
    found = {
        channel: near_copies(matches, to_non_members[channel], patients, rate=rate)
        for channel, matches in to_members.items()
    }
    indices = np.unique(np.concatenate([one.synthetic for one in found.values()]))
    return {
        "threshold": {channel: one.threshold for channel, one in found.items()},
        "n_copies": len(copied(to_members, to_non_members)),
        "n_near_copies": len(indices),
        "n_expected": sum(one.n_expected for one in found.values()),
        "p": min(1.0, len(found) * min(one.p for one in found.values())),
        "near_copies": indices.tolist(),
        "nndr": {
            channel: {"members": nndr(to_members[channel]), "non_members": nndr(to_non_members[channel])}
            for channel in found
        },
        "closest": [entry for channel in found for entry in _closest(to_members[channel], channel, n_closest)],
        "caveat": CAVEAT,
    }


def nndr(matches: Matches) -> dict[str, float]:
    """Nearest-neighbour distance ratio, 1 - similarity of the best match over that of the second: median, 5% quantile.

    Near 0 a synthetic pair is much closer to one real pair than to any other; beside it belongs that of non-members.
    Overlapping patches of one patient raise it. It is 1 where both distances are 0.

    Raises:
        InputError: matches of one patch a query.
    """
    if matches.similarity.shape[1] < 2:
        raise InputError("one match a synthetic pair; a distance ratio needs the two nearest (k=2)")
    first, second = np.maximum(1 - matches.similarity[:, :2].astype(float), 0).T
    ratio = np.divide(first, second, out=np.ones_like(first), where=second > 0)
    return {"median": float(np.median(ratio)), "q05": float(np.quantile(ratio, 0.05))}


def authenticity_pct(to_members: Matches, among_members: Matches) -> float:
    """Percentage of synthetic pairs that are farther from the nearest member's pair than it is from another patient's.

    Args:
        to_members: of the stack in the members' pairs.
        among_members: of the members' pairs in themselves, each without its own patient's, whose patches overlap:
            `nearest(pairs, pairs, patients=(patients, patients))`.

    Source: Alaa et al. 2022, arXiv:2102.08921, section 3 (AuthPct), there with the nearest other real sample.
    """
    own = among_members.similarity[to_members.item[:, 0], 0]
    return float(100 * (to_members.similarity[:, 0] < own).mean())


def _closest(matches: Matches, channel: str, n: int) -> list[dict[str, Any]]:
    order = np.argsort(-matches.similarity[:, 0], kind="stable")[:n]
    return [
        {
            "synthetic": int(i),
            "member": int(matches.item[i, 0]),
            "similarity": float(matches.similarity[i, 0]),
            "channel": channel,
            "shift": matches.shift[i, 0].tolist(),
            "flip": list(FLIPS)[matches.flip[i, 0]],
        }
        for i in order
    ]
