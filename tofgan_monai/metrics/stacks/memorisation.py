"""A Frechet distance that counts closeness to the training set against a stack, beside the same for other patients."""

from __future__ import annotations

import numpy as np

from tofgan_monai.metrics.stacks.frechet import feature_stats, frechet_distance

TAU = 0.1  # the distance below which a stack counts as memorised, as in the competition that MiFID comes from
BLOCK = 1024


def mifid(
    synthetic: np.ndarray, members: np.ndarray, non_members: np.ndarray, *, tau: float = TAU
) -> dict[str, dict[str, float]]:
    """Memorisation-informed Frechet distance of features to members', and, as its control, to non-members'.

    Args:
        synthetic: (n, d) features of synthetic images.
        members: (m, d) of members' images.
        non_members: (k, d) of non-members'.
        tau: the distance below which the Frechet distance is divided by it.

    Returns:
        For "members" and "non_members" the `frechet`, the `distance` (mean over synthetic features of 1 - |cosine| to
        the nearest) and the `mifid`; close to members, but not to non-members, speaks of copies.

    Source: Bai et al. 2021, arXiv:2106.03062, eqs. 3 to 5.
    """
    fitted, found = feature_stats(synthetic), {}
    for name, reals in (("members", members), ("non_members", non_members)):
        distance, frechet = _nearest_cosine_distance(synthetic, reals), frechet_distance(fitted, feature_stats(reals))
        divisor = distance if distance < tau else 1.0
        found[name] = {"frechet": frechet, "distance": distance, "mifid": frechet / max(divisor, 1e-15)}
    return found


def _nearest_cosine_distance(synthetic: np.ndarray, reals: np.ndarray) -> float:
    ours, theirs = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-15) for rows in (synthetic, reals)
    )
    best = [np.abs(ours[at : at + BLOCK] @ theirs.T).max(axis=1) for at in range(0, len(ours), BLOCK)]
    return float(np.maximum(1 - np.concatenate(best), 0).mean())
