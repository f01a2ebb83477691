"""Computes all measures of the quality of a synthetic stack (a file of image-label pairs).

A single value says little. So each measure is also computed for as many real pairs of held-out patients in place of the
synthetic pairs. The second value is called the floor. A synthetic stack that resembles the training patients as closely
as held-out patients do reaches the floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.stacks.diversity import N_COMPARISONS, similarity_within
from tofgan_monai.metrics.stacks.features import CHANNELS, Extractor, drawn, measure_of, pair_features
from tofgan_monai.metrics.stacks.frechet import feature_stats, frechet_distance
from tofgan_monai.metrics.stacks.kernel_distance import kernel_distance
from tofgan_monai.metrics.stacks.manifold import N_NEAREST, manifold
from tofgan_monai.metrics.stacks.memorisation import mifid
from tofgan_monai.metrics.stacks.vessels import compare_vessels, vessel_statistics

SEED = 0  # of all random draws
N_FEATURES = 1000  # largest number of pairs of each set that the network processes
WORDS = {"image": "images", "label": "labels", "pair": "images and labels jointly"}
WARNING = (
    "A stack that copies the training patients has the smallest distances of all. A distance below its floor does not "
    "mean a better stack. It means that the stack is closer to the training patients than held-out patients are, as "
    "copies would be."
)

Pairs = dict[str, np.ndarray]  # one array for each set: "synthetic", "real", "others"


def quality(synthetic: np.ndarray, members: np.ndarray, others: np.ndarray, extractor: Extractor) -> dict[str, Any]:
    """Measures the quality of synthetic pairs against the training patients; returns a dict for JSON without any pixel.

    The function draws as many pairs from each of the three sets as the smallest set has. The measures on features
    (distances, manifold, MiFID) use at most 1000 of these pairs and state the number. For 3 x 2000 pairs, the features
    of EfficientNet-Lite0 take three to four minutes on one core, and all other measures take about two minutes.

    Args:
        synthetic: synthetic pairs (n, 2, 96, 96), image in [-1, 1], label in {-1, +1}, an array or a memory map.
        members: real pairs of the training patients, likewise.
        others: real pairs of held-out patients, likewise.
        extractor: computes the features; see `tofgan_monai.metrics.stacks.features`.

    Returns:
        Dict with "n", "seed", "extractor"; "distances" (Frechet and kernel distances between images, between labels,
        and between both joined); "manifold" (precision, recall, density and coverage of the images); "mifid" (see
        module `memorisation`); "diversity" (MS-SSIM within the images of each set); "vessels" (see `compare_vessels`);
        "warning" (a text). The key "real" holds values of the training patients.

    Raises:
        InputError: a set is too small for the measures; the package `prdc` is missing.
    """
    given = {"synthetic": synthetic, "real": members, "others": others}
    n = _n_of_each(given)
    pairs = {name: of[drawn(len(of), n, SEED)] for name, of in given.items()}
    features = _features(pairs, min(n, N_FEATURES), extractor)
    return {
        "n": n,
        "seed": SEED,
        "extractor": {"name": extractor.name, "sha256": extractor.sha256},
        "distances": [line for channel in CHANNELS for line in _distances(features[channel], channel, extractor)],
        "manifold": _manifold(features["image"]),
        "mifid": {**mifid(*(features["image"][name] for name in pairs)), "n": len(features["image"]["real"])},
        "diversity": _diversity(pairs),
        "vessels": compare_vessels(**{name: vessel_statistics(of, name=name) for name, of in pairs.items()}),
        "warning": WARNING,
    }


def _n_of_each(pairs: Pairs) -> int:
    n = min(map(len, pairs.values()))
    if n < N_NEAREST + 2:
        sizes = ", ".join(f"{name} {len(of)}" for name, of in pairs.items())
        raise InputError(
            f"n of {n} pairs; {N_NEAREST + 2} or more are needed, and at most as many as the smallest set has ({sizes})"
        )
    return n


def _features(pairs: Pairs, n: int, extractor: Extractor) -> dict[str, dict[str, np.ndarray]]:
    """Computes the features of n pairs per set; returns a dict from channel to a dict from set to features (n, dim).

    The network processes each image and each label map once. The channel "pair" joins both (n, 2 dim).
    """
    rows = drawn(len(pairs["real"]), n, SEED)
    found = {
        channel: {
            name: np.concatenate([chunk.numpy() for chunk in pair_features(of, rows, extractor, channel, name=name)])
            for name, of in pairs.items()
        }
        for channel in ("image", "label")
    }
    jointly = {name: np.concatenate([found["image"][name], found["label"][name]], axis=1) for name in pairs}
    return {**found, "pair": jointly}


def _distances(features: Pairs, channel: str, extractor: Extractor) -> list[dict[str, Any]]:
    measure = measure_of(extractor, channel)
    stats = {name: feature_stats(of, measure) for name, of in features.items()}
    kernel = {name: kernel_distance(features[name], features["real"], seed=SEED) for name in ("synthetic", "others")}
    n = len(features["real"])
    return [
        {
            "name": f"Frechet distance, {WORDS[channel]}",
            "value": frechet_distance(stats["synthetic"], stats["real"]),
            "floor": frechet_distance(stats["others"], stats["real"]),
            "n": n,
        },
        {
            "name": f"Kernel distance (KID), {WORDS[channel]}",
            "value": kernel["synthetic"].value,
            "floor": kernel["others"].value,
            "standard_error": kernel["synthetic"].standard_error,
            "floor_standard_error": kernel["others"].standard_error,
            "n": n,
        },
    ]


def _manifold(features: Pairs) -> dict[str, Any]:
    return {
        **manifold(features["real"], features["synthetic"]),
        "floor": manifold(features["real"], features["others"]),
        "n": len(features["real"]),
    }


def _diversity(pairs: Pairs) -> dict[str, Any]:
    within = {name: similarity_within(of[:, 0], n_comparisons=N_COMPARISONS, seed=SEED) for name, of in pairs.items()}
    return {"name": "MS-SSIM of two random images of one set", **within, "n_comparisons": N_COMPARISONS}
