"""Copy search: which synthetic pairs are closer to a training patient's pair than to pairs that cannot be copied.

Distances to the closest record prove nothing alone: stacks that pass them leak to membership inference attacks, and
honest stacks fail them (Yao et al. 2025, The DCR Delusion, arXiv:2505.01524). So each figure here stands beside the
same figure for held-out patients (non-members), and no figure says that a stack is safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage, stats

from tofgan_monai.attacks.similarity import FLIPS, Matches
from tofgan_monai.errors import InputError

CAVEAT = (
    "Distances to the closest record prove nothing alone (arXiv:2505.01524): few near-copies do not make a stack safe."
)
RATE = 0.001
Patients = tuple[np.ndarray, np.ndarray]  # the patient index of each pair of the members and of the non-members


@dataclass(frozen=True, eq=False)
class NearCopies:
    """Synthetic pairs that are more similar to a member than almost any synthetic pair is to a non-member.

    Attributes:
        threshold: the similarity that a near-copy exceeds.
        synthetic: (n_near_copies,) indices into the stack, the most similar first.
        n_expected: the number of near-copies if members were like non-members.
        p: the probability that at least as many members have a near-copy by chance. Each patient counts once, by the
            most similar synthetic pair, because one plain patch resembles many synthetic pairs.
    """

    threshold: float
    synthetic: np.ndarray
    n_expected: float
    p: float


def near_copies(to_members: Matches, to_non_members: Matches, patients: Patients, *, rate: float = RATE) -> NearCopies:
    """The near-copies: pairs more similar to a member than all but a share `rate` of the stack are to a non-member.

    Args:
        to_members: matches of the stack in the members' pairs.
        to_non_members: matches of the same stack in the non-members' pairs.
        patients: patient index of each pair of the members and of the non-members.
        rate: share of the synthetic pairs; at least one pair.

    Raises:
        InputError: the two searches were made with different stacks.

    Source of p: if members and non-members are alike, the number of members above the k-th non-member follows a
        negative binomial distribution. It equals a binomial test of these members among themselves and k - 1 others.
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
    """The highest similarity of each patient to whom at least one synthetic pair is most similar."""
    found = patients[matches.item[:, 0]]
    return np.asarray(ndimage.maximum(matches.similarity[:, 0], found, np.unique(found)))


def _by_chance(ours: np.ndarray, others: np.ndarray, k: int, patients: Patients) -> float:
    """The probability that chance alone gives as many members above the k-th non-member; see `NearCopies.p`.

    The members' share is their share of the pairs or of the patients, whichever is larger.
    """
    k = min(k, len(others))
    n_above = int((ours > np.sort(others)[-k]).sum())
    groups = (tuple(map(len, patients)), tuple(len(np.unique(of)) for of in patients))
    share = max(members / (members + non_members) for members, non_members in groups)
    return float(stats.binom.sf(n_above - 1, n_above + k - 1, share))


def copied(to_members: Mapping[str, Matches], to_non_members: Mapping[str, Matches]) -> np.ndarray:
    """Indices of the synthetic pairs that copy one training pair in every channel.

    A copy is less than half as far from its training pair as any synthetic pair is from any non-member's pair, where
    distance is 1 - similarity. A few copies do not show in the number of near-copies, and an honest pair is hardly
    ever so close in both channels.
    """
    items = np.stack([matches.item[:, 0] for matches in to_members.values()])
    limits = {channel: (1 - matches.similarity[:, 0].max()) / 2 for channel, matches in to_non_members.items()}
    near = [1 - matches.similarity[:, 0] < limits[channel] for channel, matches in to_members.items()]
    return np.flatnonzero(np.all(near, axis=0) & (items == items[0]).all(axis=0))


def copies(
    to_members: Mapping[str, Matches],
    to_non_members: Mapping[str, Matches],
    patients: Patients,
    *,
    rate: float = RATE,
    n_closest: int = 12,
) -> dict[str, Any]:
    """The copies and near-copies in a synthetic stack, with their counts and controls, as plain numbers for JSON.

    Args:
        to_members: matches of the stack in the members' pairs by channel ("image", "label"), k >= 2.
        to_non_members: matches of the stack in the non-members' pairs, likewise.
        patients: patient index of each pair of the members and of the non-members.
        rate: see `near_copies`.
        n_closest: number of pairs to list for each channel.

    Returns:
        `threshold` (by channel), `n_copies` (see `copied`), `n_near_copies`, `n_expected`, `p` (corrected for the
        number of channels), `near_copies` (indices into the stack over all channels, copies included), `nndr` (by
        channel), `closest` (the most similar pairs) and `caveat`.
    """
    both = {channel: (to_members[channel], to_non_members[channel]) for channel in to_members}
    found = {channel: near_copies(*matches, patients, rate=rate) for channel, matches in both.items()}
    indices = np.unique(np.concatenate([one.synthetic for one in found.values()]))
    return {
        "threshold": {channel: one.threshold for channel, one in found.items()},
        "n_copies": len(copied(to_members, to_non_members)),
        "n_near_copies": len(indices),
        "n_expected": sum(one.n_expected for one in found.values()),
        "p": min(1.0, len(found) * min(one.p for one in found.values())),
        "near_copies": indices.tolist(),
        "nndr": {name: {"members": nndr(ours), "non_members": nndr(others)} for name, (ours, others) in both.items()},
        "closest": [entry for channel in found for entry in _closest(to_members[channel], channel, n_closest)],
        "caveat": CAVEAT,
    }


def nndr(matches: Matches) -> dict[str, float]:
    """Median and 5% quantile of the nearest-neighbour distance ratio, where distance is 1 - similarity.

    The ratio is the distance to the best match over the distance to the second best; it is 1 where both are 0. Near 0 a
    synthetic pair is much closer to one real pair than to any other. Overlapping patches of one patient raise it.
    Compare it with the ratio for non-members.

    Raises:
        InputError: the matches hold one patch for each query.
    """
    if matches.similarity.shape[1] < 2:
        raise InputError("one match for each synthetic pair; a distance ratio needs the two nearest (k=2)")
    first, second = np.maximum(1 - matches.similarity[:, :2].astype(float), 0).T
    ratio = np.divide(first, second, out=np.ones_like(first), where=second > 0)
    return {"median": float(np.median(ratio)), "q05": float(np.quantile(ratio, 0.05))}


def authenticity_pct(to_members: Matches, among_members: Matches) -> float:
    """AuthPct: the percentage of synthetic pairs that lie farther from the nearest real pair than other patients do.

    The nearest real pair is a member's. Its distance to the nearest pair of another patient is the limit.

    Args:
        to_members: matches of the stack in the members' pairs.
        among_members: matches of the members' pairs among themselves, without the pairs of the same patient, which
            overlap: `nearest(pairs, pairs, patients=(patients, patients))`.

    Source: Alaa et al. 2022, arXiv:2102.08921, section 3 (AuthPct), which takes the nearest other real sample.
    """
    own = among_members.similarity[to_members.item[:, 0], 0]
    return float(100 * (to_members.similarity[:, 0] < own).mean())


def _closest(matches: Matches, channel: str, n: int) -> list[dict[str, Any]]:
    """A record of each of the n synthetic pairs that are most similar to a member's pair, the most similar first."""
    return [
        {
            "synthetic": int(i),
            "member": int(matches.item[i, 0]),
            "similarity": float(matches.similarity[i, 0]),
            "channel": channel,
            "shift": matches.shift[i, 0].tolist(),
            "flip": list(FLIPS)[matches.flip[i, 0]],
        }
        for i in np.argsort(-matches.similarity[:, 0], kind="stable")[:n]
    ]
