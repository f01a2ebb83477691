"""A loss that compares features of generated images with those of real ones, and a training step without a critic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from ignite.engine import Engine
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.gan.latents import SimulatedLatents
from tofgan_monai.gan.refiner import Refiner
from tofgan_monai.gan.step import Player
from tofgan_monai.metrics.stacks.features import efficientnet_scale, load_efficientnet
from tofgan_monai.ranks import own_rows, whole_batch, world_size

CHUNK = 50  # real images that the network processes at once
SMALLEST_STD = 1e-3  # of a feature over the real images


class MatchingObjective(Protocol):
    """A loss of generated pairs (B, 2, 96, 96) that needs no critic."""

    def __call__(self, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss, to which the generator's gradient flows, and a dict from name to figure."""


class FeatureMatching:
    """Energy distance between the features of generated and of real images; 0 when their distributions are equal.

    The features of an image are the mean and the standard deviation of each channel at the end of the five stages of an
    EfficientNet-Lite0 that was trained on photographs: contrast, blur and grain show in the first stages, structures in
    the last. Each feature is normalised by its mean and standard deviation over the real images. A stage with d
    features gives 2 E|x - y| - E|x - x'| - E|y - y'| over the square root of d, for generated x and real y; the loss is
    the sum over the stages. Estimated from a batch it may be negative.

    The features of real images are computed at the first use.

    Args:
        reals: data set whose items hold a real pair (2, 96, 96) under "reals".
        n: the number of real pairs whose features are used; with fewer in `reals`, all.
        n_compared: the number of these that each batch is compared with, drawn from torch's global generator.
        seed: the seed for the choice of the n real pairs.

    Raises:
        InputError: n or n_compared is below 2; or, at the first use, the packages of the extra `study` are missing or
            there is one real pair alone.

    Sources: Székely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018 (energy distance); Dos Santos et al. 2019,
        arXiv:1904.02762 (generators that match features of a network, without a critic).
    """

    def __init__(self, reals: Dataset, n: int = 3000, n_compared: int = 512, seed: int = 0) -> None:
        if problems := [f"{name} = {value} is too few real pairs; give 2 or more" for name, value in
                        (("n", n), ("n_compared", n_compared)) if value < 2]:  # fmt: skip
            raise InputError(problems)
        self.reals, self.n, self.n_compared, self.seed = reals, n, n_compared, seed
        self._network: nn.Module | None = None
        self._stages: list[_Stage] = []

    def __call__(self, fakes: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the energy distance of a batch of generated pairs (B, 2, 96, 96), and its part of each stage.

        If several processes (ranks) share the batch, each gives its own pairs, and the distance is that of all pairs.
        """
        self._prepare(fakes.device)
        features = map(whole_batch, stage_features(self._network, fakes[:, :1]))
        rows = torch.randperm(len(self._stages[0].reals))[: self.n_compared]
        distances = self._distances(features, rows.to(fakes.device))
        return distances.sum(), {f"stage_{i + 1}": distance for i, distance in enumerate(distances.detach())}

    @torch.no_grad()
    def distance(self, pairs: Tensor) -> float:
        """Returns the energy distance of generated pairs (B, 2, 96, 96) from all n real pairs; it draws nothing."""
        self._prepare(pairs.device)
        chunks = [stage_features(self._network, chunk[:, :1]) for chunk in pairs.split(CHUNK)]
        return float(self._distances(map(torch.cat, zip(*chunks, strict=True)), slice(None)).sum())

    def _distances(self, features: Iterable[Tensor], rows: Tensor | slice) -> Tensor:
        """Returns the distance of each stage (5,), from its features (n, d) to those of the real pairs in the rows."""
        return torch.stack([stage.distance(x, rows) for stage, x in zip(self._stages, features, strict=True)])

    def _prepare(self, device: torch.device) -> None:
        """Loads the network and computes the features of the real pairs, at the first use."""
        if self._network is None:
            with torch.random.fork_rng(devices=[]):  # its first weights are drawn; a resumed training draws as before
                network = load_efficientnet()[0].requires_grad_(False)
            self._network = network.to(device, memory_format=torch.channels_last)
            self._stages = [_Stage.of(features) for features in zip(*self._of_reals(device), strict=True)]

    @torch.no_grad()
    def _of_reals(self, device: torch.device) -> Iterator[list[Tensor]]:
        """Yields the features of some real images at each stage."""
        n_all = len(self.reals)  # type: ignore[arg-type]
        if n_all < 2:
            raise InputError(f"there is {n_all} real pair to match; give 2 or more")
        rows = np.random.default_rng(self.seed).permutation(n_all)[: self.n]
        with tqdm(total=len(rows), desc="features of real pairs", unit="pair", disable=None) as bar:
            for start in range(0, len(rows), CHUNK):
                pairs = torch.stack([self.reals[int(i)]["reals"] for i in rows[start : start + CHUNK]])
                yield stage_features(self._network, pairs[:, :1].to(device))
                bar.update(len(pairs))


@dataclass(frozen=True)
class _Stage:
    """The normalised features (n, d) of real images at one stage, and what normalised them, each (d,)."""

    reals: Tensor
    mean: Tensor
    std: Tensor
    within: Tensor

    @classmethod
    def of(cls, chunks: tuple[Tensor, ...]) -> _Stage:
        features = torch.cat(chunks)
        mean, std = features.mean(0), features.std(0) + SMALLEST_STD
        reals = (features - mean) / std
        return cls(reals, mean, std, torch.pdist(reals).mean() / reals.shape[1] ** 0.5)

    def distance(self, features: Tensor, rows: Tensor | slice) -> Tensor:
        x = (features - self.mean) / self.std
        between, n = torch.cdist(x, self.reals[rows]).mean(), len(x)
        within = torch.pdist(x).sum() / max(1, n * (n - 1) // 2)
        return (2 * between - within) / x.shape[1] ** 0.5 - self.within


def stage_features(network: Any, images: Tensor) -> list[Tensor]:
    """Returns the means and standard deviations of the channels at the end of each stage, five tensors (B, 2 channels).

    Args:
        network: an EfficientNet-Lite.
        images: grey images (B, 1, 96, 96) in [-1, 1]; the stages have 48, 24, 12, 6 and 3 pixels.
    """
    grey = efficientnet_scale(images).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    x = network._swish(network._bn0(network._conv_stem(grey)))
    ends = []
    for block in network._blocks:
        before, x = x, block(x)
        if x.shape[-1] != before.shape[-1]:
            ends.append(before)
    return [torch.cat([end.mean((2, 3)), (end.var((2, 3)) + 1e-4).sqrt()], dim=1) for end in (*ends, x)]


@dataclass
class MatchingStep:
    """Runs one training step of a generator without a critic; use it as the `iteration_update` of a MONAI `Trainer`.

    A step draws as many latents as the batch has pairs and updates the generator once. The objective knows the reals,
    so the pairs in the batch only count the steps of an epoch. A `Refiner` is given the latents as its prior.

    Args:
        generator: the generator, which makes pairs (B, 2, 96, 96) from latents, with its optimiser.
        objective: the loss of the generated pairs, such as `FeatureMatching`.
        latents: the prior; a function from n to latents (n, latent_dim).
    """

    generator: Player
    objective: MatchingObjective
    latents: Callable[[int], Tensor]

    def __post_init__(self) -> None:
        if isinstance(self.generator.network, Refiner) and isinstance(self.latents, SimulatedLatents):
            self.generator.network.prior = self.latents

    def __call__(self, engine: Engine, batch: dict[str, Tensor]) -> dict[str, Any]:
        """Updates the generator, for `batch["reals"]` (B, 2, 96, 96); returns a dict from name to loss or other value.

        Raises:
            TrainingDivergedError: the loss or its gradient is NaN or infinite; the weights have not changed.
        """
        generator, device = self.generator.network.train(), self.generator.parameters[0].device
        latents = own_rows(self.latents(len(batch["reals"]) * world_size())).to(device)
        loss, figures = self.objective(generator(latents))
        gradient = self.generator.descend(loss)
        figures = {**figures, "generator_loss": loss.detach(), "generator_gradient": gradient}
        return {name: float(value) for name, value in figures.items()}
