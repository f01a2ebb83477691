"""Copy search: finds synthetic image-label pairs that are more similar to a training patient's pair than expected.

Members are the patients whose pairs trained the generator. Non-members are held-out patients, whose pairs the generator
cannot have copied. A stack is a file of pairs. `Matches` holds the most similar pairs (nearest neighbours) that
`similarity.nearest` finds in one stack for each pair of another.

Distances to the closest record prove nothing alone. Stacks that pass such a test leak to membership inference attacks,
and stacks without copies fail it (Yao et al. 2025, The DCR Delusion, arXiv:2505.01524). Therefore each figure is
reported beside the same figure for non-members, and no figure says that a stack is safe.
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
    "Distances to the closest record prove nothing alone (arXiv:2505.01524). Few near-copies do not make a stack safe."
)
RATE = 0.001
Patients = tuple[np.ndarray, np.ndarray]  # the patient index of each member's pair and of each non-member's pair


@dataclass(frozen=True, eq=False)
class NearCopies:
    """Synthetic pairs that are more similar to a member than almost any synthetic pair is to a non-member.

    Attributes:
        threshold: similarity to a member's pair that a near-copy exceeds.
        synthetic: indices of the near-copies in the synthetic stack, (n_near_copies,), the most similar first.
        n_expected: number of near-copies that is expected if the generator treats members like non-members.
        p: probability that, by chance alone, at least as many members as observed have a near-copy. Each patient counts
            once, with the most similar synthetic pair, because one plain patch resembles many synthetic pairs.
    """

    threshold: float
    synthetic: np.ndarray
    n_expected: float
    p: float


def near_copies(to_members: Matches, to_non_members: Matches, patients: Patients, *, rate: float = RATE) -> NearCopies:
    """Returns the near-copies, which are the synthetic pairs whose similarity to a member's pair exceeds a threshold.

    A fraction `rate` of the synthetic pairs (at least one pair) reaches the threshold in its similarity to a
    non-member's pair.

    Args:
        to_members: nearest neighbours of each synthetic pair among the members' pairs.
        to_non_members: nearest neighbours of each synthetic pair among the non-members' pairs.
        patients: two arrays, the patient index of each member's pair and of each non-member's pair.
        rate: fraction of the synthetic pairs that sets the threshold.

    Raises:
        InputError: `to_members` and `to_non_members` come from synthetic stacks of different lengths.

    Source of the probability p: its threshold is the k-th highest similarity of a non-member, each patient counted
        once. If members and non-members are alike, the number of members above the threshold follows a negative
        binomial distribution. The tail of this distribution equals the tail of a binomial test that counts the members
        among the members above the threshold and k - 1 non-members.
    """
    ours, others = to_members.similarity[:, 0], to_non_members.similarity[:, 0]
    if len(ours) != len(others):
        raise InputError(
            f"the search in the members' pairs holds {len(ours)} synthetic pairs, and the search in the non-members' "
            f"pairs holds {len(others)}; search with the same stack in both"
        )
    k = max(1, round(rate * len(others)))
    threshold = float(np.sort(others)[-k])
    above = np.flatnonzero(ours > threshold)
    n_expected = k * len(patients[0]) / len(patients[1])
    p = _by_chance(_closest_of(to_members, patients[0]), _closest_of(to_non_members, patients[1]), k, patients)
    return NearCopies(threshold, above[np.argsort(-ours[above], kind="stable")], n_expected, p)


def _closest_of(matches: Matches, patients: np.ndarray) -> np.ndarray:
    """Returns each patient's highest similarity to a synthetic pair, one value for each patient found.

    A synthetic pair counts only for the patient of its nearest neighbour. A patient is left out if no nearest neighbour
    is one of the patient's pairs.

    Args:
        matches: nearest neighbours of the synthetic pairs among the pairs of one group of patients.
        patients: patient index of each pair of this group.
    """
    found = patients[matches.item[:, 0]]
    return np.asarray(ndimage.maximum(matches.similarity[:, 0], found, np.unique(found)))


def _by_chance(ours: np.ndarray, others: np.ndarray, k: int, patients: Patients) -> float:
    """Returns the probability that at least as many members as observed lie above the k-th non-member by chance.

    It is `NearCopies.p`. The success probability of the binomial test is the members' fraction of all pairs or of all
    patients; the larger fraction is used.

    Args:
        ours: highest similarity to each member, see `_closest_of`.
        others: highest similarity to each non-member.
        k: rank of the non-member whose similarity is the threshold.
        patients: patient index of each member's pair and of each non-member's pair.
    """
    k = min(k, len(others))
    n_above = int((ours > np.sort(others)[-k]).sum())
    groups = (tuple(map(len, patients)), tuple(len(np.unique(of)) for of in patients))
    share = max(members / (members + non_members) for members, non_members in groups)
    return float(stats.binom.sf(n_above - 1, n_above + k - 1, share))


def copied(to_members: Mapping[str, Matches], to_non_members: Mapping[str, Matches]) -> np.ndarray:
    """Returns the indices of the synthetic pairs that copy one training pair in both channels, image and label.

    Distance is 1 - similarity. In each channel, a copy's distance to its training pair is less than half the smallest
    distance between any synthetic pair and any non-member's pair. The number of near-copies does not reveal a few
    copies. A pair that is not copied is hardly ever so close in both channels.

    Args:
        to_members: nearest neighbours of the synthetic pairs among the members' pairs, by channel ("image", "label").
        to_non_members: nearest neighbours of the same synthetic pairs among the non-members' pairs, by channel.
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
    n_closest: int = 12,
) -> dict[str, Any]:
    """Counts the copies and near-copies in a synthetic stack; returns a dict of plain numbers for JSON.

    Args:
        to_members: the two or more nearest neighbours of each synthetic pair among the members' pairs, by channel
            ("image", "label").
        to_non_members: the two or more nearest neighbours of each synthetic pair among the non-members' pairs, by
            channel.
        patients: two arrays, the patient index of each member's pair and of each non-member's pair.
        n_closest: number of synthetic pairs to list for each channel.

    Returns:
        Dict with `threshold` (similarity, by channel), `n_copies` (see `copied`), `n_near_copies`, `n_expected`, `p`
        (corrected for the number of channels), `near_copies` (indices of the near-copies of all channels in the
        synthetic stack), `nndr` (distance ratios by channel, for members and for non-members), `closest` (records of
        the synthetic pairs that are most similar to a member's pair) and `caveat` (a sentence).
    """
    both = {channel: (to_members[channel], to_non_members[channel]) for channel in to_members}
    found = {channel: near_copies(*matches, patients) for channel, matches in both.items()}
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
    """Returns the median (`median`) and the 5% quantile (`q05`) of the nearest-neighbour distance ratio.

    Distance is 1 - similarity. The ratio is the distance from a synthetic pair to the nearest real pair, divided by its
    distance to the second nearest. The ratio is 1 if the second distance is 0. If the ratio is near 0, the synthetic
    pair is much closer to one real pair than to any other. Overlapping patches of one patient raise the ratio. Compare
    the ratio for members with the ratio for non-members.

    Args:
        matches: the two or more nearest neighbours of each synthetic pair among the real pairs of one group.

    Raises:
        InputError: the matches hold only one neighbour for each synthetic pair.
    """
    if matches.similarity.shape[1] < 2:
        raise InputError("the matches hold one neighbour for each synthetic pair; search for the two nearest (k=2)")
    first, second = np.maximum(1 - matches.similarity[:, :2].astype(float), 0).T
    ratio = np.divide(first, second, out=np.ones_like(first), where=second > 0)
    return {"median": float(np.median(ratio)), "q05": float(np.quantile(ratio, 0.05))}


def authenticity_pct(to_members: Matches, among_members: Matches) -> float:
    """Returns the authenticity (AuthPct): the percentage of synthetic pairs that are authentic, from 0 to 100.

    Let M be the member's pair that is nearest to a synthetic pair. The synthetic pair is authentic if its distance to M
    is larger than the distance from M to the nearest pair of another member.

    Args:
        to_members: nearest neighbours of each synthetic pair among the members' pairs.
        among_members: nearest neighbours of each member's pair among the pairs of the other members, made by
            `nearest(pairs, pairs, patients=(patients, patients))`. Pairs of the same patient are left out, because they
            overlap.

    Source: Alaa et al. 2022, arXiv:2102.08921, section 3 (AuthPct). The paper uses the nearest other real sample.
    """
    own = among_members.similarity[to_members.item[:, 0], 0]
    return float(100 * (to_members.similarity[:, 0] < own).mean())


def _closest(matches: Matches, channel: str, n: int) -> list[dict[str, Any]]:
    """Returns a list of dicts about the n synthetic pairs that are most similar to a member's pair, most similar first.

    Args:
        matches: nearest neighbours of the synthetic pairs among the members' pairs.
        channel: "image" or "label", the channel that was searched.
        n: number of synthetic pairs to list.
    """
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
