"""Attacks with nothing but the released pairs: were this patient's pairs among those the generator was trained on?

Each takes queries, the stack that was released and references (pairs of patients who are neither members nor
non-members), numpy (n, 2, 96, 96) each, memory maps too, and gives each query a score (n,), higher = more like a
member. Two search by similarity, for images and for label maps, and two compare densities of whole pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.stats import gaussian_kde
from torch.nn.functional import avg_pool2d

from tofgan_monai.attacks.similarity import CHANNELS, Matches, nearest
from tofgan_monai.errors import InputError

Attack = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Search = Callable[[np.ndarray, np.ndarray, str], Matches]

N_COMPONENTS = 12  # of a pair, for densities
MIN_PAIRS = 2 * N_COMPONENTS + 2  # of a stack whose density is estimated
JITTER = 3e-5  # beside the deviation of 1 of each component: too little to change an ordinary density
COARSE = 8  # pixels a side, of one pixel of a pair whose components are taken


class Searches:
    """Callable (queries, stack, channel) -> Matches that searches the same two arrays only once a channel.

    Arrays are the same if they are one object: give every attack the very queries, stack and references.
    """

    def __init__(self) -> None:
        self._done: list[tuple[np.ndarray, np.ndarray, str, Matches]] = []

    def __call__(self, queries: np.ndarray, stack: np.ndarray, channel: str) -> Matches:
        """The matches, made or remembered."""
        for searched, within, which, matches in self._done:
            if searched is queries and within is stack and which == channel:
                return matches
        matches = search(queries, stack, channel)
        self._done.append((queries, stack, channel, matches))
        return matches


def search(queries: np.ndarray, stack: np.ndarray, channel: str) -> Matches:
    """The matches of pairs in a stack of pairs, of one channel: "image" or "label"."""
    which = CHANNELS[channel]
    return nearest(queries[:, which], stack[:, which], channel=channel)


def nearest_neighbour(
    queries: np.ndarray, stack: np.ndarray, references: np.ndarray, *, channel: str, search: Search = search
) -> np.ndarray:
    """The similarity of each query to the most similar pair of the stack; `references` have no part in it.

    Source: Chen et al. 2020, arXiv:1909.03935, section 4.2 (full black-box), with `similarity.nearest` as the distance.
    """
    return search(queries, stack, channel).similarity[:, 0]


def gan_leaks(
    queries: np.ndarray, stack: np.ndarray, references: np.ndarray, *, channel: str, search: Search = search
) -> np.ndarray:
    """How much more similar a query is to the stack's most similar pair than to that of the references.

    What is easy to come near to is near to the references too. The paper calibrates with a generator trained on
    references; here they stand for themselves, which needs no second training.

    Source: Chen et al. 2020, arXiv:1909.03935, section 4.5, eq. 12.
    """
    in_stack, in_references = (search(queries, pairs, channel) for pairs in (stack, references))
    return in_stack.similarity[:, 0] - in_references.similarity[:, 0]


def monte_carlo(queries: np.ndarray, stack: np.ndarray, references: np.ndarray) -> np.ndarray:
    """How many synthetic pairs lie around a query, closer ones counting more: mean of log(radius / distance) within it.

    The radius is the median of the queries' distances to their nearest synthetic pair. Distances are Euclidean in
    components of coarse pairs, see `components`.

    Source: Hilprecht et al. 2019, doi:10.2478/popets-2019-0067, eqs. 6 and 7, the median heuristic.
    """
    of_queries, of_stack, _ = components(queries, stack, references)
    distances = cdist(of_queries, of_stack)
    radius = np.median(distances.min(axis=1))
    closest = max(1e-6 * float(distances.max()), np.finfo(float).tiny)  # an exact copy counts much, not infinitely
    within = np.maximum(distances, closest) < radius
    return np.where(within, np.log(max(radius, closest) / np.maximum(distances, closest)), 0).mean(axis=1)


def density_ratio(queries: np.ndarray, stack: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The logarithm of the synthetic pairs' density at a query, less that of the references'.

    Both are kernel estimates with Scott's bandwidth in components of coarse pairs, see `components`; the paper also
    fits flows (BNAF), which need a training for each stack.

    Source: van Breugel et al. 2023, arXiv:2302.12580 (DOMIAS), eq. 2.
    """
    of_queries, of_stack, of_references = components(queries, stack, references)
    return _log_density(of_queries, of_stack) - _log_density(of_queries, of_references)


def _log_density(at: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """By scipy's estimate, (n,). Noise gives a covariance with an inverse to a collapsed stack, too."""
    noise = JITTER * np.random.default_rng(0).standard_normal(rows.shape)
    return gaussian_kde((rows + noise).T).logpdf(at.T)


def components(queries: np.ndarray, stack: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, ...]:
    """The principal components (n, 12) of all three, of unit variance, fitted to the stack and the references.

    Pairs are averaged over 8 x 8 pixels first, each image and label map of zero mean and unit variance over the pixels.

    Raises:
        InputError: fewer than 26 pairs in the stack or in the references.
    """
    few = [name for name, pairs in (("stack", stack), ("references", references)) if len(pairs) < MIN_PAIRS]
    if few:
        raise InputError(f"fewer than {MIN_PAIRS} pairs in the {' and in the '.join(few)}; give more")
    coarse = [_coarse(pairs) for pairs in (queries, stack, references)]
    fitted = np.concatenate(coarse[1:])
    mean = fitted.mean(axis=0)
    _, singular, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    scale = singular[:N_COMPONENTS] / np.sqrt(len(fitted))
    return tuple((rows - mean) @ axes[:N_COMPONENTS].T / np.maximum(scale, 1e-9) for rows in coarse)


def _coarse(pairs: np.ndarray) -> np.ndarray:
    """(n, 288): image and label map of each pair, each of zero mean and unit variance where it is not flat."""
    rows = []
    for start in range(0, len(pairs), 1024):
        block = torch.from_numpy(np.asarray(pairs[start : start + 1024], dtype=np.float32))
        pooled = avg_pool2d(block, COARSE).flatten(2)
        spread, mean = torch.std_mean(pooled, dim=2, keepdim=True)
        rows.append(((pooled - mean) / spread.clamp_min(1e-2)).flatten(1).double().numpy())
    return np.concatenate(rows)


def data_attacks(search: Search = search) -> dict[str, Attack]:
    """The attacks by name, their searches made by `search`: a `Searches()` makes each once for all of them."""
    found: dict[str, Attack] = {}
    for name, attack in (("nearest {}", nearest_neighbour), ("GAN-Leaks {}", gan_leaks)):
        found |= {name.format(channel): partial(attack, channel=channel, search=search) for channel in CHANNELS}
    return found | {"Monte Carlo": monte_carlo, "density ratio": density_ratio}
