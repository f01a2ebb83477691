"""How long a Frechet distance takes from 2048-dimensional features: MONAI's FIDMetric and ours, turn about.

    OMP_NUM_THREADS=1 python scripts/benchmark.py [--repetitions 3]

On a machine that does other work, more than one thread measures how threads wait for each other.
Both start from the same float64 features, means and covariances are in both times. Prints a table of medians, and what
each gave. With n below the number of dimensions the covariances are singular: MONAI's square root is then timed all the
same, but the two are not compared.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from monai.metrics.fid import FIDMetric

from tofgan_monai.metrics.stacks.frechet import feature_stats, frechet_distance

DIM = 2048
COUNTS = (2500, 500)


def features(n: int, seed: int) -> np.ndarray:
    """Correlated features (n, 2048) whose deviations span a factor of a hundred, about a mean of their own."""
    rng = np.random.default_rng(seed)
    mixed = np.random.default_rng(0).normal(size=(DIM, DIM)) / np.sqrt(DIM)
    return (rng.normal(size=(n, DIM)) * np.geomspace(1, 0.01, DIM)) @ mixed + 0.02 * rng.normal(size=DIM)


def monai(a: np.ndarray, b: np.ndarray) -> str:
    """MONAI's distance, or why it gave none."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return repr(FIDMetric()(torch.from_numpy(a), torch.from_numpy(b)).item())
    except ValueError as error:
        return str(error)


def ours(a: np.ndarray, b: np.ndarray) -> str:
    """This package's distance."""
    return repr(frechet_distance(feature_stats(a), feature_stats(b)))


def timed(measure: Callable[[np.ndarray, np.ndarray], str], pair: list[np.ndarray]) -> tuple[float, str]:
    """Seconds and result."""
    began = time.perf_counter()
    result = measure(*pair)
    return time.perf_counter() - began, result


def main(repetitions: int) -> None:
    """Prints the table."""
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
    main(parser.parse_args().repetitions)
