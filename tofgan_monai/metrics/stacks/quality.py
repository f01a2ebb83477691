"""All measures of the quality of a synthetic stack, each with the same figure of other real patients as its floor.

A figure alone says little. Its floor is the same figure of as many pairs of held-out patients: a stack that is as good
as unseen patients reaches the floor.
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

N_FEATURES = 1000  # largest number of pairs of each set that the network processes
WORDS = {"image": "images", "label": "labels", "pair": "images and labels jointly"}
WARNING = (
    "A stack of copies of the training patients has the best distances of all. A distance below its floor does not "
    "mean a better stack: the stack lies closer to the training patients than held-out patients do, as copies would."
)

Pairs = dict[str, np.ndarray]  # one array for each set: "synthetic", "real", "others"


def quality(
    synthetic: np.ndarray,
    members: np.ndarray,
    others: np.ndarray,
    extractor: Extractor,
    *,
    n: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The quality of a synthetic stack against its training patients, as data for JSON; it holds no patient's pixel.

    All sets have n pairs. The distances of features and the manifold use at most 1000 of them and tell the number. For
    3 x 2000 pairs, the features of EfficientNet-Lite0 take three to four minutes on one core, everything else about
    two.

    Args:
        synthetic: pairs (n, 2, 96, 96), image in [-1, 1] and label in {-1, +1}; all three may be memory maps.
        members: real pairs of the training patients.
        others: real pairs of held-out patients.
        extractor: see `tofgan_monai.metrics.stacks.features`.
        n: number of pairs of each set, drawn by the seed; by default as many as the smallest set has.
        seed: of all draws.

    Returns:
        "n", "seed", "extractor"; "distances" (Frechet and kernel distances of images, labels, and both joined);
        "manifold" (precision, recall, density, coverage of the images); "mifid" (see `memorisation`); "diversity"
        (MS-SSIM within the images of each set); "vessels" (see `compare_vessels`); "warning". The key "real" stands for
        the training patients.

    Raises:
        InputError: fewer pairs than asked for or than the measures need, or the package prdc is missing.
    """
    given = {"synthetic": synthetic, "real": members, "others": others}
    n = _n_of_each(given, n)
    pairs = {name: of[drawn(len(of), n, seed)] for name, of in given.items()}
    features = _features(pairs, min(n, N_FEATURES), extractor, seed)
    return {
        "n": n,
        "seed": seed,
        "extractor": {"name": extractor.name, "sha256": extractor.sha256},
        "distances": [line for channel in CHANNELS for line in _distances(features[channel], channel, extractor, seed)],
        "manifold": _manifold(features["image"]),
        "mifid": {**mifid(*(features["image"][name] for name in pairs)), "n": len(features["image"]["real"])},
        "diversity": _diversity(pairs, seed),
        "vessels": compare_vessels(**{name: vessel_statistics(of, name=name) for name, of in pairs.items()}),
        "warning": WARNING,
    }


def _n_of_each(pairs: Pairs, n: int | None) -> int:
    smallest = min(map(len, pairs.values()))
    n = smallest if n is None else n
    if not N_NEAREST + 2 <= n <= smallest:
        sizes = ", ".join(f"{name} {len(of)}" for name, of in pairs.items())
        raise InputError(f"n of {n} pairs; {N_NEAREST + 2} or more are needed, and no more than each set has ({sizes})")
    return n


def _features(pairs: Pairs, n: int, extractor: Extractor, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """The features (n, dim) by channel and set; the network processes each image and each label map once."""
    rows = drawn(len(pairs["real"]), n, seed)
    found = {
        channel: {
            name: np.concatenate([chunk.numpy() for chunk in pair_features(of, rows, extractor, channel, name=name)])
            for name, of in pairs.items()
        }
        for channel in ("image", "label")
    }
    jointly = {name: np.concatenate([found["image"][name], found["label"][name]], axis=1) for name in pairs}
    return {**found, "pair": jointly}


def _distances(features: Pairs, channel: str, extractor: Extractor, seed: int) -> list[dict[str, Any]]:
    measure = measure_of(extractor, channel)
    stats = {name: feature_stats(of, measure) for name, of in features.items()}
    kernel = {name: kernel_distance(features[name], features["real"], seed=seed) for name in ("synthetic", "others")}
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


def _diversity(pairs: Pairs, seed: int) -> dict[str, Any]:
    within = {name: similarity_within(of[:, 0], n_comparisons=N_COMPARISONS, seed=seed) for name, of in pairs.items()}
    return {"name": "MS-SSIM of two random images of one set", **within, "n_comparisons": N_COMPARISONS}
