"""A Frechet distance that penalises closeness to the training patients, and the same for held-out patients."""

from __future__ import annotations

import numpy as np

from tofgan_monai.metrics.stacks.frechet import feature_stats, frechet_distance

TAU = 0.1  # a stack with a smaller distance counts as memorised, as in the competition that introduced MiFID
BLOCK = 1024


def mifid(
    synthetic: np.ndarray, members: np.ndarray, non_members: np.ndarray, *, tau: float = TAU
) -> dict[str, dict[str, float]]:
    """Memorisation-informed Frechet distance (MiFID) to training patients (members) and to held-out patients.

    The held-out patients are the control: a stack that is close to the members alone may hold copies.

    Args:
        synthetic: (n, d), features of synthetic images.
        members: (m, d), features of the members' images.
        non_members: (k, d), features of the held-out patients' images.
        tau: if the cosine distance is smaller, the Frechet distance is divided by it.

    Returns:
        For "members" and "non_members" each: `frechet`, the Frechet distance; `distance`, the mean over synthetic
        features of 1 - |cosine| to the nearest real feature; and `mifid`.

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
