"""A handler that shows how a generator improves: it draws pairs of fixed latents and measures their quality.

A fake is a generated pair and a real is a pair from patients. Fixed latents are the same in all epochs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from skimage.util import montage
from torch import Tensor, nn
from torch.utils.data import Dataset

from tofgan_monai.files import written_whole
from tofgan_monai.gan.generation import raw_pairs
from tofgan_monai.gan.label_threshold import choose_label_threshold
from tofgan_monai.gan.latents import Latents
from tofgan_monai.gan.matching import FeatureMatching
from tofgan_monai.metrics.stacks.sliced_wasserstein import sliced_wasserstein
from tofgan_monai.ranks import rank


def pair_grid(pairs: np.ndarray, columns: int = 8) -> np.ndarray:
    """Returns a grey picture (H, W), uint8, that shows pairs (n, 2, h, w) in [-1, 1], each image above its label."""
    tiles = np.clip((pairs.astype(np.float32) + 1) * 127.5, 0, 255).astype(np.uint8)
    tiles = np.concatenate([tiles[:, 0], np.full_like(tiles[:, 0, :1], 64), tiles[:, 1]], axis=1)
    return montage(tiles, fill=64, grid_shape=(-(-len(tiles) // columns), columns), padding_width=1)


class PairMonitor:
    """Ignite handler that draws a picture of generated pairs after every epoch; `distance` measures their quality.

    The pairs are made from the same latents in all epochs. The handler writes the picture into TensorBoard and into
    `previews/epoch_NNNN.png`.

    Args:
        generator: the network that makes the pairs.
        latents: the prior, from which the latents are drawn once.
        reals: the real pairs that `distance` compares with, preferably of validation patients. With None, `distance`
            cannot be called, unless there is an objective.
        output_dir: the output folder of the training run.
        n: the number of generated and of real pairs that `distance` compares.
        seed: the seed for the latents and for the choice of the real pairs.
        objective: the loss whose distance from its own real pairs `distance` returns, in place of the sliced
            Wasserstein distance.
    """

    def __init__(
        self,
        generator: nn.Module,
        latents: Latents,
        *,
        reals: Dataset | None,
        output_dir: str,
        n: int = 256,
        seed: int = 0,
        objective: FeatureMatching | None = None,
    ) -> None:
        self.generator, self.folder, self.objective = generator, Path(output_dir), objective
        if reals is not None:
            which = np.random.default_rng(seed).permutation(len(reals))[:n]  # type: ignore[arg-type]
            self.reals = torch.stack([reals[int(i)]["reals"] for i in which])
            n = len(which)
        self.latents = latents.fixed(n, seed=seed)

    def pairs(self, n: int | None = None) -> Tensor:
        """Returns the pairs (n, 2, 96, 96) that the generator makes from the first n fixed latents.

        Labels are raw, with values in [-1, 1]. With n = None, all fixed latents are used.
        """
        return raw_pairs(self.generator, self.latents[:n])

    def distance(self) -> float:
        """Returns the distance between the generated pairs and the real pairs; lower is better."""
        fakes = self.pairs()
        if self.objective:
            return self.objective.distance(fakes)
        threshold = choose_label_threshold(fakes[:, 1].numpy(), self.reals.numpy())  # as for a stack on disk
        fakes[:, 1] = (fakes[:, 1] > threshold).float() * 2 - 1  # raw labels would be far from the binary real labels
        return sliced_wasserstein(self.reals, fakes)

    def attach(self, trainer: Engine) -> None:
        """Adds this handler to the trainer, on rank 0 only; it then draws the picture after every epoch."""
        if not rank():
            trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Writes a picture of 16 generated pairs into the folder `previews` and into TensorBoard."""
        from PIL import Image
        from torch.utils.tensorboard import SummaryWriter

        grid = pair_grid(self.pairs(16).numpy())
        with written_whole(self.folder / "previews" / f"epoch_{trainer.state.epoch:04d}.png") as temporary:
            Image.fromarray(grid).save(temporary)
        with SummaryWriter(str(self.folder / "tensorboard")) as writer:
            writer.add_image("pairs", grid, trainer.state.epoch, dataformats="HW")
