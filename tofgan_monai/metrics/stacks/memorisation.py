"""Computes MiFID, a Frechet distance that is made larger if the synthetic images are too close to real images.

If the mean cosine distance from the synthetic images to the nearest real images is small, MiFID is the Frechet distance
divided by it. MiFID is computed for training patients (members) and for held-out patients (non-members).
"""

from __future__ import annotations

import numpy as np

from tofgan_monai.metrics.stacks.frechet import feature_stats, frechet_distance

TAU = 0.1  # a stack with a smaller distance counts as memorised, as in the competition that introduced MiFID
BLOCK = 1024


def mifid(
    synthetic: np.ndarray, members: np.ndarray, non_members: np.ndarray, *, tau: float = TAU
) -> dict[str, dict[str, float]]:
    """Computes the memorisation-informed Frechet distance (MiFID) to training patients and to held-out patients.

    The held-out patients are the control: if the synthetic images are close to the members only, they may hold copies.

    Args:
        synthetic: features of synthetic images, (n, d).
        members: features of the members' images, (m, d).
        non_members: features of the held-out patients' images, (k, d).
        tau: if the mean cosine distance is below tau, the Frechet distance is divided by the mean cosine distance.

    Returns:
        Dict with the keys "members" and "non_members". Each value is a dict: "frechet" is the Frechet distance,
        "distance" is the mean cosine distance, and "mifid" is the MiFID. The cosine distance of a synthetic feature is
        1 - |cosine| to the nearest real feature.

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
