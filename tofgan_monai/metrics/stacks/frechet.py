"""Computes the Frechet distance between the features of two stacks (files of image-label pairs).

With 2048 dimensions a distance takes seconds. `feature_stats` needs no more memory for more features.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from scipy import linalg

from tofgan_monai.errors import InputError
from tofgan_monai.files import require_writable, write_json_lines, written_whole
from tofgan_monai.metrics.bootstrap import jackknife_interval
from tofgan_monai.metrics.stacks.features import CHANNELS, Extractor, drawn, measure_of, pair_features
from tofgan_monai.pairs.stack import PairDataset, open_stack, patients_of_pairs

Features = np.ndarray | torch.Tensor


@dataclass(frozen=True, eq=False)
class FeatureStats:
    """Gaussian (mean and covariance, float64) that was fitted to n feature vectors of d dimensions.

    Attributes:
        mean: mean of the feature vectors, (d,).
        n: number of feature vectors.
        extractor: name of the extractor that computed the features.
        covariance: covariance (d, d) if n >= d; otherwise None.
        factor: matrix (n, d) if n < d, such that `factor.T @ factor` is the covariance; otherwise None.
    """

    mean: np.ndarray
    n: int
    extractor: str
    covariance: np.ndarray | None = None
    factor: np.ndarray | None = None

    def root(self) -> np.ndarray:
        """Matrix R with d columns and at most d rows, such that R.T @ R is the covariance."""
        if self.factor is not None:
            return self.factor
        try:
            return linalg.cholesky(self.covariance, check_finite=False)
        except linalg.LinAlgError:
            variances, axes = linalg.eigh(self.covariance, check_finite=False)
            kept = variances > len(variances) * np.finfo(float).eps * variances[-1]  # the others are rounding errors
            return np.sqrt(variances[kept])[:, None] * axes[:, kept].T

    def save(self, path: str | os.PathLike) -> None:
        """Writes the statistics to an `.npz` file; if the writing fails, no partial file is left."""
        present = {name: value for name, value in vars(self).items() if value is not None}
        with written_whole(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **present)

    @classmethod
    def load(cls, path: str | os.PathLike) -> FeatureStats:
        """Reads the statistics from an `.npz` file that `save` wrote.

        Raises:
            InputError: the file is missing or holds other data.
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                stored = dict(content)
            return cls(**{**stored, "n": int(stored["n"]), "extractor": str(stored["extractor"])})
        except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(
                f"{path}: no readable statistics of features are in this file ({error}); delete the file"
            ) from error


def feature_stats(features: Features | Iterable[Features], extractor: str = "") -> FeatureStats:
    """Computes mean and covariance (divided by n - 1) of features (n, d), given as one array or in chunks of rows.

    The chunks may have any number of rows. About 2 d rows are in memory at a time. The function subtracts the mean of
    each group of rows before it squares them, so that a mean far from 0 does not reduce the precision.

    >>> stats = feature_stats(np.array([[0.0], [2.0], [4.0]]))
    >>> stats.mean.item(), stats.covariance.item()
    (2.0, 4.0)

    Raises:
        InputError: fewer than two rows of features, values that are not finite, or chunks of different width.

    Source: Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115 (how to merge groups of rows).
    """
    blocks = _blocks([features] if isinstance(features, Features) else features)
    first = next(blocks, np.empty((0, 1)))
    n, d = first.shape
    if n < 2:
        raise InputError(f"{n} features are too few for a covariance; give two or more")
    if n < d:
        return FeatureStats(mean := first.mean(axis=0), n, extractor, factor=(first - mean) / math.sqrt(n - 1))
    n, mean, scatter = 0, np.zeros(d), np.zeros((d, d))
    for block in chain([first], blocks):
        centre = block.mean(axis=0)
        block -= centre  # in place, as blocks are copies
        step, share = centre - mean, len(block) / (n + len(block))
        scatter += block.T @ block + np.outer(step, n * share * step)
        mean += share * step
        n += len(block)
    return FeatureStats(mean, n, extractor, covariance=scatter / (n - 1))


def _blocks(chunks: Iterable[Features]) -> Iterator[np.ndarray]:
    """Regroups chunks of features (rows, d) and yields float64 arrays of d to 2 d rows; the last may have fewer."""
    waiting: list[np.ndarray] = []
    d = 0
    for chunk in chunks:
        d = d or chunk.shape[-1]
        if chunk.ndim != 2 or chunk.shape[1] != d:
            raise InputError(f"the features have shape {tuple(chunk.shape)}; they must be (n, {d})")
        for start in range(0, len(chunk), d):
            waiting.append(np.asarray(chunk[start : start + d]).astype(np.float64))
            if not np.isfinite(waiting[-1]).all():
                raise InputError(
                    "the features are not finite; check that the images are in [-1, 1], and the extractor's weights"
                )
            if sum(map(len, waiting)) >= max(d, 2):
                block, waiting = np.concatenate(waiting), []
                yield block
    if waiting:
        yield np.concatenate(waiting)


def frechet_distance(a: FeatureStats, b: FeatureStats) -> float:
    """Squared Frechet distance between two Gaussians that were fitted to features; 0 when equal, lower is closer.

    The distance is biased upwards for small n. Compare only distances with equal n and the same extractor.

    >>> features = np.array([[0.0], [2.0], [4.0]])
    >>> frechet_distance(feature_stats(features), feature_stats(features + 3))
    9.0

    Raises:
        InputError: the two Gaussians were fitted to features of different extractors or dimensions.

    Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6.
    """
    if (a.extractor, a.mean.shape) != (b.extractor, b.mean.shape):
        kinds = " and ".join(f"{stats.extractor} ({len(stats.mean)} dimensions)" for stats in (a, b))
        raise InputError(f"the features are from {kinds}; fit both with the same extractor")
    # With C = R.T @ R, the eigenvalues of C_a C_b are the squared singular values of R_a R_b.T. So they are eigenvalues
    # of a symmetric matrix with no more rows than either root, and no matrix square root is needed.
    roots = sorted((a.root(), b.root()), key=len)
    product = roots[0] @ roots[1].T
    shared = np.sqrt(np.maximum(linalg.eigvalsh(product @ product.T, check_finite=False), 0)).sum()
    variances = sum(np.square(root).sum() for root in roots)
    return max(0.0, float(np.square(a.mean - b.mean).sum() + variances - 2 * shared))


def stack_stats(
    path: str | os.PathLike,
    extractor: Extractor,
    n: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
    channel: str = "image",
) -> FeatureStats:
    """Computes mean and covariance of the features of a stack's images, of its label maps, or of both joined.

    Args:
        path: the stack's `.npy` file.
        extractor: computes the features; see `tofgan_monai.metrics.stacks.features`.
        n: number of pairs, drawn at random without replacement; by default all pairs.
        seed: seed for the draw of the pairs.
        cache: folder that keeps the result for the next call with the same extractor, channel, n, seed and stack.
        channel: "image", "label", or "pair", which joins the features of image and label.

    Raises:
        InputError: the stack cannot be read or holds fewer than n pairs; n is below 2; an unknown channel.
    """
    dataset = PairDataset(path)
    n = _n_of_each([path], n)
    measure = measure_of(extractor, channel)
    key = json.dumps([measure, extractor.sha256, n, seed, dataset.digest])
    kept = cache and Path(cache) / f"{Path(path).stem}_{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if kept and kept.exists():
        return FeatureStats.load(kept)
    rows = drawn(len(dataset), n, seed)
    stats = feature_stats(pair_features(dataset.stacks[0], rows, extractor, channel, name=Path(path).stem), measure)
    if kept:
        stats.save(kept)
    return stats


def _stats_without_each_patient(
    path: Path, extractor: Extractor, n: int, seed: int, channel: str
) -> Iterator[FeatureStats]:
    """Yields the statistics of a real stack's features with one patient left out, once for each drawn patient."""
    stack, manifest = open_stack(path)
    rows = drawn(len(stack), n, seed)
    patients = patients_of_pairs(path, manifest)[rows]
    chunks = pair_features(stack, rows, extractor, channel, name=path.stem)
    features = np.concatenate([chunk.numpy() for chunk in chunks])
    for patient in np.unique(patients):
        yield feature_stats(features[patients != patient], measure_of(extractor, channel))


def _n_of_each(paths: Sequence[str | os.PathLike], n: int | None) -> int:
    sizes = {path: len(PairDataset(path)) for path in paths}
    n = min(sizes.values()) if n is None else n
    short = [
        f"{path}: the stack has {size} pairs; ask for 2 to {size} pairs, not {n}"
        for path, size in sizes.items()
        if n > size or n < 2
    ]
    if short:
        raise InputError(short)
    return n


def compare_stacks(
    real: Path,
    stacks: Sequence[Path],
    extractor: Extractor,
    *,
    n: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
    output: Path | None = None,
    over_patients: bool = False,
    channel: str = "image",
) -> list[dict[str, Any]]:
    """Computes the Frechet distance between a real stack and each given stack; returns a list of one dict per stack.

    Args:
        real: path of the real stack, the reference.
        stacks: paths of the stacks to compare with the reference.
        extractor: computes the features; see `tofgan_monai.metrics.stacks.features`.
        n: number of pairs taken from each stack and from the reference; by default the size of the smallest stack.
        seed: seed for the draw of the pairs.
        cache: folder that keeps the statistics of each stack for the next call.
        output: file for the results, one JSON object per line; an existing file is replaced.
        over_patients: also computes each distance again with one patient of the reference left out, for each patient in
            turn, and adds these distances and the 95% jackknife interval computed from them.
        channel: what is compared: "image", "label", or "pair", which joins the features of image and label.

    Raises:
        InputError: stacks that cannot be read; stacks of fewer than n pairs (the message lists all of them); with
            `over_patients`, a reference whose manifest does not tell the patient of each pair, or that holds one
            patient only; an unknown channel.
    """
    measure = measure_of(extractor, channel)
    n = _n_of_each([real, *stacks], n)
    for folder in filter(None, (cache, output and output.parent)):
        require_writable(folder)
    facts = {"n": n, "dim": extractor.dim * len(CHANNELS[channel]), "extractor_sha256": extractor.sha256}
    without = list(_stats_without_each_patient(real, extractor, n, seed, channel)) if over_patients else []
    reference = stack_stats(real, extractor, n, seed, cache, channel)
    lines = []
    for path in stacks:
        stats = stack_stats(path, extractor, n, seed, cache, channel)
        value = frechet_distance(reference, stats)
        names = {"measure": measure, "stack": path.stem, "reference": real.stem}
        lines.append({**names, "value": round(value, 5), **facts})
        if without:
            left = [frechet_distance(fewer, stats) for fewer in without]
            interval = jackknife_interval(value, left)
            ends = {"low": round(interval.low, 5), "high": round(interval.high, 5)}
            lines[-1].update(ends, n_patients=interval.n, without_each=[round(one, 5) for one in left])
    if output:
        write_json_lines(output, lines)
    return lines
