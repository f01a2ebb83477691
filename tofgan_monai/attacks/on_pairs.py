"""Membership inference attacks that need only the released pairs.

Each attack gives a score (n,) to each query pair: was this pair among those that the generator was trained on? A higher
score means more like a training patient's (member's) pair. All attacks read one table, which `match_table` makes of the
queries, the released stack and the pairs of reference patients, who are neither members nor non-members. Four attacks
read the table's similarities of images and label maps; two compare densities of whole pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.stats import gaussian_kde
from torch.nn.functional import avg_pool2d

from tofgan_monai.attacks.similarity import CHANNELS, Matches, search
from tofgan_monai.errors import InputError

N_COMPONENTS = 12  # principal components of a pair
MIN_PAIRS = 2 * N_COMPONENTS + 2  # the fewest pairs whose density can be estimated
JITTER = 3e-5  # noise on components of standard deviation 1: too little to change an ordinary density
COARSE = 8  # the principal components are those of pairs averaged over COARSE x COARSE pixels
Scores = dict[str, np.ndarray]  # by the name of the attack, (n,) each


@dataclass(frozen=True, eq=False)
class MatchTable:
    """What the attacks on released pairs read about n query pairs: matches and principal components.

    Attributes:
        in_stack: the queries' matches in the released stack, by channel ("image", "label").
        in_references: the queries' matches in the reference patients' pairs, by channel.
        queries: principal components of the queries, (n, 12), see `components`.
        stack: principal components of the released stack.
        references: principal components of the reference patients' pairs.
    """

    in_stack: dict[str, Matches]
    in_references: dict[str, Matches]
    queries: np.ndarray
    stack: np.ndarray
    references: np.ndarray

    def of(self, rows: np.ndarray) -> MatchTable:
        """The table of matches for some of the queries, which are given by their indices."""
        in_stack = {channel: matches.of(rows) for channel, matches in self.in_stack.items()}
        in_references = {channel: matches.of(rows) for channel, matches in self.in_references.items()}
        return replace(self, in_stack=in_stack, in_references=in_references, queries=self.queries[rows])


def match_table(
    queries: np.ndarray, stack: np.ndarray, references: np.ndarray, known: dict[str, Matches] | None = None
) -> MatchTable:
    """The table of matches of queries in a released stack and in reference patients' pairs, (n, 2, 96, 96) each.

    Args:
        queries: the pairs that the attacks give scores to.
        stack: the released pairs.
        references: the reference patients' pairs.
        known: the queries' matches in the references, by channel, if they were searched before.

    Raises:
        InputError: the stack or the references hold fewer than 26 pairs.
    """
    projected = components(queries, stack, references)
    return MatchTable(search(queries, stack), known or search(queries, references), *projected)


def nearest_neighbour(table: MatchTable, *, channel: str) -> np.ndarray:
    """Scores (n,): the similarity of each query to the most similar pair of the released stack.

    Source: Chen et al. 2020, arXiv:1909.03935, section 4.2 (full black-box), with `similarity.nearest` as the distance.
    """
    return table.in_stack[channel].similarity[:, 0]


def gan_leaks(table: MatchTable, *, channel: str) -> np.ndarray:
    """Scores (n,): the similarity to the stack's most similar pair minus that to the references' most similar pair.

    A query that is easy to resemble resembles the references, too. The paper calibrates with a generator that is
    trained on references; here the references themselves serve, which saves a second training.

    Source: Chen et al. 2020, arXiv:1909.03935, section 4.5, eq. 12.
    """
    return table.in_stack[channel].similarity[:, 0] - table.in_references[channel].similarity[:, 0]


def monte_carlo(table: MatchTable) -> np.ndarray:
    """Scores (n,): how many synthetic pairs lie near a query, as the mean of log(radius / distance) within a radius.

    The radius is the median over queries of the distance to the nearest synthetic pair. Distances are Euclidean between
    principal components.

    Source: Hilprecht et al. 2019, doi:10.2478/popets-2019-0067, eqs. 6 and 7, the median heuristic.
    """
    distances = cdist(table.queries, table.stack)
    radius = np.median(distances.min(axis=1))
    closest = max(1e-6 * float(distances.max()), np.finfo(float).tiny)  # an exact copy counts much, but not infinitely
    within = np.maximum(distances, closest) < radius
    return np.where(within, np.log(max(radius, closest) / np.maximum(distances, closest)), 0).mean(axis=1)


def density_ratio(table: MatchTable) -> np.ndarray:
    """Scores (n,): log density of the synthetic pairs at a query minus log density of the references there.

    Both are kernel density estimates of principal components with Scott's bandwidth. The paper also fits flows (BNAF),
    which need a training for each stack.

    Source: van Breugel et al. 2023, arXiv:2302.12580 (DOMIAS), eq. 2.
    """
    return _log_density(table.queries, table.stack) - _log_density(table.queries, table.references)


ATTACKS: dict[str, Callable[[MatchTable], np.ndarray]] = {
    **{f"nearest {channel}": partial(nearest_neighbour, channel=channel) for channel in CHANNELS},
    **{f"GAN-Leaks {channel}": partial(gan_leaks, channel=channel) for channel in CHANNELS},
    "Monte Carlo": monte_carlo,
    "density ratio": density_ratio,
}


def pair_scores(table: MatchTable) -> Scores:
    """The scores (n,) of a table's queries by every attack on released pairs, as {name of the attack: scores}."""
    return {name: attack(table) for name, attack in ATTACKS.items()}


def components(queries: np.ndarray, stack: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, ...]:
    """The principal components (n, 12) of queries, stack and references, fitted to the stack and the references.

    Over stack and references together each component has zero mean and unit variance. Pairs are averaged over 8 x 8
    pixels first, and each image and label map is brought to zero mean and unit variance.

    Raises:
        InputError: the stack or the references hold fewer than 26 pairs.
    """
    few = [name for name, pairs in (("stack", stack), ("references", references)) if len(pairs) < MIN_PAIRS]
    if few:
        raise InputError(f"fewer than {MIN_PAIRS} pairs in the {' and in the '.join(few)}; give more pairs")
    coarse = [_coarse(pairs) for pairs in (queries, stack, references)]
    fitted = np.concatenate(coarse[1:])
    mean = fitted.mean(axis=0)
    _, singular, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    scale = singular[:N_COMPONENTS] / np.sqrt(len(fitted))
    return tuple((rows - mean) @ axes[:N_COMPONENTS].T / np.maximum(scale, 1e-9) for rows in coarse)


def _log_density(at: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Log density (n,) of rows by scipy's estimate; a little noise makes a collapsed stack's covariance invertible."""
    noise = JITTER * np.random.default_rng(0).standard_normal(rows.shape)
    return gaussian_kde((rows + noise).T).logpdf(at.T)


def _coarse(pairs: np.ndarray) -> np.ndarray:
    """Averaged pairs (n, 288); each image and label map has zero mean, and unit variance unless it is flat."""
    rows = []
    for start in range(0, len(pairs), 1024):
        block = torch.from_numpy(np.asarray(pairs[start : start + 1024], dtype=np.float32))
        pooled = avg_pool2d(block, COARSE).flatten(2)
        spread, mean = torch.std_mean(pooled, dim=2, keepdim=True)
        rows.append(((pooled - mean) / spread.clamp_min(1e-2)).flatten(1).double().numpy())
    return np.concatenate(rows)
