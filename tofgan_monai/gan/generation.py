"""Functions and handlers that make synthetic pairs with a generator, in memory or in a stack.

A stack is a file of many image-label pairs; see `tofgan_monai.pairs.stack`. A raw label is the generator's label
channel, with values in [-1, 1], before a threshold makes it binary.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.utils.data import Dataset

from tofgan_monai.errors import InputError
from tofgan_monai.gan.kinds import PairGenerator, prior_of
from tofgan_monai.gan.latents import Latents
from tofgan_monai.gan.refiner import Refiner
from tofgan_monai.pairs.stack import StackWriter, binarise_labels
from tofgan_monai.training.weights import weights_file_digest

GENERATION_CHUNK = 64  # pairs that the network makes at once; fixed, as the last bits of a sum depend on it


class LatentDataset(Dataset):
    """Data set whose items `{"image": (latent_dim,)}` hold one latent each; its length is n rounded up to 64, 128, ...

    Args:
        latents: the prior, from which the latents are drawn.
        n: the number of pairs to make.
        seed: the seed; a latent depends only on this seed and on the index of the latent.

    Raises:
        InputError: n is below 1, or the seed is negative.
    """

    def __init__(self, latents: Latents, n: int, seed: int) -> None:
        if n < 1:
            raise InputError(f"n = {n} is no number of pairs; give 1 or more")
        if seed < 0:
            raise InputError(f"seed = {seed} is negative; give 0 or more")
        self.latents, self.n, self.seed = latents, n, seed

    def __len__(self) -> int:
        return -(-self.n // GENERATION_CHUNK) * GENERATION_CHUNK

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {"image": self.latents.fixed(1, seed=self.seed, start=index)[0]}


class StackSaver:
    """Ignite handler that writes the pairs of an evaluator's generator into a stack, and the stack's manifest.

    Args:
        path: the `.npy` file of the stack.
        n: the number of pairs to write; further pairs are discarded.
        threshold: the value of the raw label, in [-1, 1], above which a pixel is vessel.
        weights: the file with the generator's weights; `weights_file_digest` of this file goes into the manifest.
        manifest: further entries of the manifest.
    """

    def __init__(
        self, path: str, n: int, *, threshold: float, weights: str | os.PathLike, manifest: dict[str, Any]
    ) -> None:
        self.n, self.threshold = n, threshold
        described = {
            "kind": "synthetic",
            **manifest,
            "weights_sha256": weights_file_digest(weights),
            "label_threshold": threshold,
            "threads": torch.get_num_threads(),
        }
        self.writer = StackWriter(path, n, described)

    def attach(self, evaluator: Engine) -> None:
        """Adds this handler to the evaluator: the stack is opened at the start of the run and closed at the end."""
        evaluator.add_event_handler(Events.STARTED, lambda: self.writer.__enter__() and None)
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._append)
        evaluator.add_event_handler(Events.COMPLETED, lambda: self.writer.__exit__(None, None, None))
        evaluator.add_event_handler(Events.EXCEPTION_RAISED, self._drop)

    def _append(self, evaluator: Engine) -> None:
        output: Any = evaluator.state.output
        pairs = output["pred"].float().cpu().numpy()[: self.n - self.writer.written]
        if len(pairs):
            self.writer.append(binarise_labels(pairs, self.threshold))

    def _drop(self, evaluator: Engine, error: Exception) -> None:
        self.writer.__exit__(type(error), error, error.__traceback__)  # raises the error again


def raw_labels(generator: PairGenerator, n: int | None = None) -> np.ndarray:
    """Returns the raw labels (n, 96, 96), in [-1, 1], that a generator makes from the first n latents of seed 0.

    By default n is 2,048; for a `Refiner`, whose labels are -1 and 1, it is 64, as each head of its latents takes time.
    """
    n = n or (GENERATION_CHUNK if isinstance(generator, Refiner) else 2048)
    return np.concatenate([pairs[:, 1] for pairs in _chunks(generator, n, seed=0)])


def make_pairs(generator: PairGenerator, n: int, *, threshold: float, seed: int = 0) -> np.ndarray:
    """Returns n synthetic pairs (n, 2, 96, 96), float16, equal to the pairs in a stack with this seed and threshold."""
    n_whole = -(-n // GENERATION_CHUNK) * GENERATION_CHUNK
    return np.concatenate([binarise_labels(pairs, threshold) for pairs in _chunks(generator, n_whole, seed=seed)])[:n]


def _chunks(generator: PairGenerator, n: int, *, seed: int) -> Iterator[np.ndarray]:
    """Yields the pairs, with raw labels, of the first n latents of a seed, 64 at a time: latents may be long."""
    prior = prior_of(generator)
    for start in range(0, n, GENERATION_CHUNK):
        latents = prior.fixed(min(GENERATION_CHUNK, n - start), seed=seed, start=start)
        yield raw_pairs(generator, latents).numpy()


@torch.no_grad()
def raw_pairs(generator: nn.Module, latents: Tensor) -> Tensor:
    """Returns the pairs (n, 2, 96, 96), on the CPU, that a generator makes in evaluation mode from latents (n, dim).

    The label channel holds the raw labels in [-1, 1].
    """
    training, device = generator.training, next(generator.parameters()).device
    made = [generator.eval()(chunk.to(device)).cpu() for chunk in latents.split(GENERATION_CHUNK)]
    generator.train(training)
    return torch.cat(made)
