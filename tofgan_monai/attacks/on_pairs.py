"""Membership inference attacks that need only the released synthetic image-label pairs.

A query is a real pair; the attack must decide whether the generator was trained on this pair. Each attack returns one
score for each of n queries, (n,). A higher score means more like a pair of a training patient (member). Non-members are
held-out patients. The released stack is the file of synthetic pairs. Reference patients are neither members nor
non-members. All attacks read one table, which `match_table` computes from the queries, the released stack and the
reference patients' pairs. Four attacks use the similarities of images or of label maps in this table. Two attacks use
densities of whole pairs.
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

N_COMPONENTS = 12  # number of principal components of a pair
MIN_PAIRS = 2 * N_COMPONENTS + 2  # the fewest pairs whose density can be estimated
JITTER = 3e-5  # noise on components with standard deviation 1; it is too small to change an ordinary density
COARSE = 8  # pairs are averaged over COARSE x COARSE pixels before the principal components are computed
Scores = dict[str, np.ndarray]  # from the name of an attack to its scores, (n,) each


@dataclass(frozen=True, eq=False)
class MatchTable:
    """Table about n query pairs that the attacks on released pairs read: nearest neighbours and principal components.

    Attributes:
        in_stack: nearest neighbours of each query in the released stack, by channel ("image", "label").
        in_references: nearest neighbours of each query among the reference patients' pairs, by channel.
        queries: principal components of the queries, (n, 12), see `components`.
        stack: principal components of the released pairs, (released pairs, 12).
        references: principal components of the reference patients' pairs, (reference pairs, 12).
    """

    in_stack: dict[str, Matches]
    in_references: dict[str, Matches]
    queries: np.ndarray
    stack: np.ndarray
    references: np.ndarray

    def of(self, rows: np.ndarray) -> MatchTable:
        """Returns the table reduced to some queries; `rows` holds the indices of these queries."""
        in_stack = {channel: matches.of(rows) for channel, matches in self.in_stack.items()}
        in_references = {channel: matches.of(rows) for channel, matches in self.in_references.items()}
        return replace(self, in_stack=in_stack, in_references=in_references, queries=self.queries[rows])


def match_table(
    queries: np.ndarray, stack: np.ndarray, references: np.ndarray, known: dict[str, Matches] | None = None
) -> MatchTable:
    """Finds the nearest neighbours of the queries and computes principal components; returns both in a table.

    Args:
        queries: real pairs whose membership the attacks must decide, (n, 2, 96, 96).
        stack: released synthetic pairs, (m, 2, 96, 96).
        references: reference patients' pairs, (r, 2, 96, 96).
        known: nearest neighbours of the queries among the references, by channel, if they are already known. The
            references are then not searched again.

    Raises:
        InputError: the stack or the references hold fewer than 26 pairs.
    """
    projected = components(queries, stack, references)
    return MatchTable(search(queries, stack), known or search(queries, references), *projected)


def nearest_neighbour(table: MatchTable, *, channel: str) -> np.ndarray:
    """Returns the similarity of each query to the most similar pair in the released stack, (n,), as its score.

    Args:
        table: nearest neighbours of the queries.
        channel: "image" or "label", the channel that is compared.

    Source: Chen et al. 2020, arXiv:1909.03935, section 4.2 (full black-box), with `similarity.nearest` as the distance.
    """
    return table.in_stack[channel].similarity[:, 0]


def gan_leaks(table: MatchTable, *, channel: str) -> np.ndarray:
    """Returns the score of each query by the calibrated GAN-Leaks attack, (n,).

    The score is the similarity to the most similar released pair minus the similarity to the most similar reference
    pair. A query that resembles many pairs also resembles the references, so the difference removes this effect. The
    paper calibrates with a second generator that is trained on references. Here the reference pairs replace its pairs,
    which saves a second training run.

    Args:
        table: nearest neighbours of the queries.
        channel: "image" or "label", the channel that is compared.

    Source: Chen et al. 2020, arXiv:1909.03935, section 4.5, eq. 12.
    """
    return table.in_stack[channel].similarity[:, 0] - table.in_references[channel].similarity[:, 0]


def monte_carlo(table: MatchTable) -> np.ndarray:
    """Returns a score of how many synthetic pairs lie near each query, (n,).

    The score is the mean of log(radius / distance) over all synthetic pairs, where pairs beyond the radius count 0. The
    radius is the median, over the queries, of the distance to the nearest synthetic pair. Distances are Euclidean
    distances between principal components.

    Source: Hilprecht et al. 2019, doi:10.2478/popets-2019-0067, eqs. 6 and 7, the median heuristic.
    """
    distances = cdist(table.queries, table.stack)
    radius = np.median(distances.min(axis=1))
    closest = max(1e-6 * float(distances.max()), np.finfo(float).tiny)  # keeps the score of an exact copy finite
    within = np.maximum(distances, closest) < radius
    return np.where(within, np.log(max(radius, closest) / np.maximum(distances, closest)), 0).mean(axis=1)


def density_ratio(table: MatchTable) -> np.ndarray:
    """Returns the log density of the synthetic pairs minus the log density of the reference pairs at each query, (n,).

    Both densities are kernel density estimates on principal components, with Scott's bandwidth. The paper also fits
    normalising flows (BNAF), which would need a training run for each stack.

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
    """Runs every attack on released pairs on a table; returns a dict from the attack's name to its scores (n,)."""
    return {name: attack(table) for name, attack in ATTACKS.items()}


def components(queries: np.ndarray, stack: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns the principal components of the queries, of the released pairs and of the references, (n, 12) each.

    The components are fitted to the released pairs and the references together, over which each component has zero mean
    and unit variance. Before that, pairs are averaged over 8 x 8 pixels, and each averaged image and label map is
    shifted to zero mean and scaled to unit variance.

    Args:
        queries: real pairs whose membership the attacks must decide, (n, 2, 96, 96).
        stack: released synthetic pairs, (m, 2, 96, 96).
        references: reference patients' pairs, (r, 2, 96, 96).

    Raises:
        InputError: the stack or the references hold fewer than 26 pairs.
    """
    few = [name for name, pairs in (("stack", stack), ("references", references)) if len(pairs) < MIN_PAIRS]
    if few:
        raise InputError(
            f"fewer than {MIN_PAIRS} pairs are in the {' and in the '.join(few)}; give {MIN_PAIRS} pairs or more"
        )
    coarse = [_coarse(pairs) for pairs in (queries, stack, references)]
    fitted = np.concatenate(coarse[1:])
    mean = fitted.mean(axis=0)
    _, singular, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    scale = singular[:N_COMPONENTS] / np.sqrt(len(fitted))
    return tuple((rows - mean) @ axes[:N_COMPONENTS].T / np.maximum(scale, 1e-9) for rows in coarse)


def _log_density(at: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns the log density of `rows` at the points `at`, (n,), by scipy's kernel density estimate.

    A little noise is added to `rows`, so that the covariance is invertible even if all rows are equal.

    Args:
        at: principal components at which the density is evaluated, (n, 12).
        rows: principal components of the pairs whose density is estimated, (m, 12).
    """
    noise = JITTER * np.random.default_rng(0).standard_normal(rows.shape)
    return gaussian_kde((rows + noise).T).logpdf(at.T)


def _coarse(pairs: np.ndarray) -> np.ndarray:
    """Averages pairs (n, 2, 96, 96) over 8 x 8 pixels; returns them as rows, (n, 288).

    Each averaged image and label map has zero mean. It also has unit variance unless it is flat.
    """
    rows = []
    for start in range(0, len(pairs), 1024):
        block = torch.from_numpy(np.asarray(pairs[start : start + 1024], dtype=np.float32))
        pooled = avg_pool2d(block, COARSE).flatten(2)
        spread, mean = torch.std_mean(pooled, dim=2, keepdim=True)
        rows.append(((pooled - mean) / spread.clamp_min(1e-2)).flatten(1).double().numpy())
    return np.concatenate(rows)
