"""The Frechet distance between the features of two stacks; 2048 dimensions take seconds, and memory is bounded."""

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
from tofgan_monai.files import require_writable, written_whole
from tofgan_monai.metrics.bootstrap import jackknife_interval
from tofgan_monai.metrics.stacks.features import CHANNELS, Extractor, drawn, measure_of, pair_features
from tofgan_monai.pairs.stack import PairDataset, open_stack, patients_of_pairs

Features = np.ndarray | torch.Tensor


@dataclass(frozen=True, eq=False)
class FeatureStats:
    """A Gaussian fitted to n features of d dimensions, in float64.

    Attributes:
        mean: (d,).
        n: number of features.
        extractor: name of the extractor of the features.
        covariance: (d, d) if n >= d; otherwise None.
        factor: (n, d) if n < d, with `factor.T @ factor` as the covariance; otherwise None.
    """

    mean: np.ndarray
    n: int
    extractor: str
    covariance: np.ndarray | None = None
    factor: np.ndarray | None = None

    def root(self) -> np.ndarray:
        """A matrix R with d columns and at most d rows, so that R.T @ R is the covariance."""
        if self.factor is not None:
            return self.factor
        try:
            return linalg.cholesky(self.covariance, check_finite=False)
        except linalg.LinAlgError:
            variances, axes = linalg.eigh(self.covariance, check_finite=False)
            kept = variances > len(variances) * np.finfo(float).eps * variances[-1]  # the others are rounding errors
            return np.sqrt(variances[kept])[:, None] * axes[:, kept].T

    def save(self, path: str | os.PathLike) -> None:
        """Writes the statistics to an `.npz` file, whole or not at all."""
        present = {name: value for name, value in vars(self).items() if value is not None}
        with written_whole(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **present)

    @classmethod
    def load(cls, path: str | os.PathLike) -> FeatureStats:
        """The statistics that `save` wrote.

        Raises:
            InputError: the file is missing or holds something else.
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                stored = dict(content)
            return cls(**{**stored, "n": int(stored["n"]), "extractor": str(stored["extractor"])})
        except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(f"{path}: no readable statistics of features ({error}); delete the file") from error


def feature_stats(features: Features | Iterable[Features], extractor: str = "") -> FeatureStats:
    """Mean and covariance (n - 1) of features (n, d), given as one array or in chunks of rows of any size.

    About 2 d rows are in memory at a time. Each block of rows is centred on its own mean before it is squared, so that
    a mean far from 0 does not cost precision.

    >>> stats = feature_stats(np.array([[0.0], [2.0], [4.0]]))
    >>> stats.mean.item(), stats.covariance.item()
    (2.0, 4.0)

    Raises:
        InputError: fewer than two features, values that are not finite, or chunks of different width.

    Source: Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115 (blocks merged).
    """
    blocks = _blocks([features] if isinstance(features, Features) else features)
    first = next(blocks, np.empty((0, 1)))
    n, d = first.shape
    if n < 2:
        raise InputError(f"{n} features; give two or more for a covariance")
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
    """Yields the rows as float64 blocks of d to 2 d rows; only the last block may have fewer."""
    waiting: list[np.ndarray] = []
    d = 0
    for chunk in chunks:
        d = d or chunk.shape[-1]
        if chunk.ndim != 2 or chunk.shape[1] != d:
            raise InputError(f"features of shape {tuple(chunk.shape)}; they must be (n, {d})")
        for start in range(0, len(chunk), d):
            waiting.append(np.asarray(chunk[start : start + d]).astype(np.float64))
            if not np.isfinite(waiting[-1]).all():
                raise InputError("features are not finite; check the images, in [-1, 1], and the weights")
            if sum(map(len, waiting)) >= max(d, 2):
                block, waiting = np.concatenate(waiting), []
                yield block
    if waiting:
        yield np.concatenate(waiting)


def frechet_distance(a: FeatureStats, b: FeatureStats) -> float:
    """Squared Frechet distance between two Gaussians fitted to features; 0 when equal, lower is closer.

    It is biased upwards for small n: compare only distances of equal n and of the same extractor.

    >>> features = np.array([[0.0], [2.0], [4.0]])
    >>> frechet_distance(feature_stats(features), feature_stats(features + 3))
    9.0

    Raises:
        InputError: the two Gaussians are of different extractors or dimensions.

    Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6.
    """
    if (a.extractor, a.mean.shape) != (b.extractor, b.mean.shape):
        kinds = " and ".join(f"{stats.extractor} ({len(stats.mean)} dimensions)" for stats in (a, b))
        raise InputError(f"features of {kinds}; fit both with the same extractor")
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
    """Mean and covariance of the features of a stack's images, of its label maps, or of both joined.

    Args:
        path: the stack's `.npy`.
        extractor: see `tofgan_monai.metrics.stacks.features`.
        n: number of pairs, drawn without replacement by the seed; all by default.
        seed: of the draw.
        cache: folder that keeps the result for the next call with the same extractor, channel, n, seed and stack.
        channel: "image", "label" or "pair".

    Raises:
        InputError: the stack cannot be read or holds fewer pairs; another channel.
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
    """Yields the statistics of `stack_stats` without each of the patients in the manifest in turn."""
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
    short = [f"{path}: {size} pairs; ask for 2 to {size}, not {n}" for path, size in sizes.items() if n > size or n < 2]
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
    """The Frechet distance between a real stack and each other stack, as a line of results for each stack.

    Args:
        real: the reference.
        stacks: the stacks that are compared with it.
        extractor: see `tofgan_monai.metrics.stacks.features`.
        n: number of pairs of each stack, the reference too; by default as many as the smallest stack has.
        seed: of the draw of the pairs.
        cache: see `stack_stats`.
        output: a file for the lines, one JSON object per line; it is replaced.
        over_patients: adds the distance without each patient of the reference, and the 95% interval from these.
        channel: what is compared: "image", "label", or "pair", which joins the features of both.

    Raises:
        InputError: stacks that cannot be read or hold fewer than n pairs, all of them named; with `over_patients`, a
            reference whose manifest does not tell two patients apart; another channel.
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
        with written_whole(output) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return lines
