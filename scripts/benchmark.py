"""Compares the time of MONAI's FIDMetric and of this package for a Frechet distance of features of 2048 dimensions.

    OMP_NUM_THREADS=1 python scripts/benchmark.py [--repetitions 3]
    python scripts/benchmark.py --segmentation WEIGHTS --repetitions 5

The second command times segmentations instead; see `benchmark_segmentation`. What follows is about the first one.

Use one thread: on a machine that does other work, several threads wait for each other, and the time would include this
waiting. Both functions start from the same float64 features, and both times include the means and covariances. The
script prints a table of median times and of the distances. If n is below the number of dimensions, the covariances are
singular. The script then still times both functions, but it does not compare the two distances.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import benchmark_segmentation
import numpy as np
import torch
from monai.metrics.fid import FIDMetric

from tofgan_monai import frechet_distance
from tofgan_monai.metrics.stacks.frechet import feature_stats

DIM = 2048
COUNTS = (2500, 500)


def features(n: int, seed: int) -> np.ndarray:
    """Draws random correlated features (n, 2048) with a random mean; deviations before mixing span a factor of 100."""
    rng = np.random.default_rng(seed)
    mixed = np.random.default_rng(0).normal(size=(DIM, DIM)) / np.sqrt(DIM)
    return (rng.normal(size=(n, DIM)) * np.geomspace(1, 0.01, DIM)) @ mixed + 0.02 * rng.normal(size=DIM)


def monai(a: np.ndarray, b: np.ndarray) -> str:
    """Computes the Frechet distance with MONAI's FIDMetric; returns it as text, or FIDMetric's error message."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return repr(FIDMetric()(torch.from_numpy(a), torch.from_numpy(b)).item())
    except ValueError as error:
        return str(error)


def ours(a: np.ndarray, b: np.ndarray) -> str:
    """Computes the Frechet distance with this package; returns it as text."""
    return repr(frechet_distance(feature_stats(a), feature_stats(b)))


def timed(measure: Callable[[np.ndarray, np.ndarray], str], pair: list[np.ndarray]) -> tuple[float, str]:
    """Runs `measure` on a pair of feature arrays; returns its time in seconds and its result."""
    began = time.perf_counter()
    result = measure(*pair)
    return time.perf_counter() - began, result


def main(repetitions: int) -> None:
    """Times both functions `repetitions` times for each number of features and prints a table of median times."""
    print(f"{DIM} dimensions, {repetitions} interleaved repetitions, {torch.get_num_threads()} threads; medians\n")
    print(
        "| n | MONAI s | ours s | ratio | MONAI gave | ours gave | relative difference |\n|---|---|---|---|---|---|---|"
    )
    for n in COUNTS:
        pair = [features(n, seed) for seed in (1, 2)]
        runs = [(timed(monai, pair), timed(ours, pair)) for _ in range(repetitions)]
        seconds = [statistics.median(run[which][0] for run in runs) for which in (0, 1)]
        ratio = statistics.median(theirs / own for (theirs, _), (own, _) in runs)
        given = [runs[-1][which][1] for which in (0, 1)]
        difference = f"{abs(float(given[0]) / float(given[1]) - 1):.1e}" if n > DIM else "not well-posed"
        print(f"| {n} | {seconds[0]:.2f} | {seconds[1]:.2f} | {ratio:.1f} | {given[0]} | {given[1]} | {difference} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--segmentation", type=Path, metavar="WEIGHTS", help="weights of the 3D network")
    parser.add_argument("--threads", type=int, default=2, help="for --segmentation")
    given = parser.parse_args()
    if given.segmentation:
        benchmark_segmentation.main(given.segmentation, given.repetitions, given.threads)
    else:
        main(given.repetitions)
