"""What a GAN makes of fixed latents, epoch by epoch: pictures and a quality figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.utils.data import Dataset

from tofgan_monai.files import written_whole
from tofgan_monai.gan.label_threshold import choose_label_threshold
from tofgan_monai.gan.latents import GaussianLatents
from tofgan_monai.metrics.stacks.sliced_wasserstein import sliced_wasserstein
from tofgan_monai.ranks import rank


def pair_grid(pairs: np.ndarray, columns: int = 8) -> np.ndarray:
    """A grey picture (H, W), uint8, of pairs (n, 2, h, w) in [-1, 1]: each image above its label."""
    tiles = np.clip((pairs.astype(np.float32) + 1) * 127.5, 0, 255).astype(np.uint8)
    tiles = np.pad(tiles, ((0, -len(tiles) % columns), (0, 0), (1, 1), (1, 1)), constant_values=64)
    rows, height, width = len(tiles) // columns, *tiles.shape[2:]
    return tiles.reshape(rows, columns, 2, height, width).transpose(0, 2, 3, 1, 4).reshape(rows * 2 * height, -1)


class PairMonitor:
    """Pairs of fixed latents: a quality figure, and after every epoch a grid in TensorBoard and as `previews/*.png`.

    Args:
        generator: the network that is watched.
        latents: the prior.
        reals: pairs that the quality figure compares with, best of validation patients; None: there is no figure.
        output_dir: of the training.
        n: how many pairs the figure is computed on.
        seed: of the latents.
    """

    def __init__(
        self,
        generator: nn.Module,
        latents: GaussianLatents,
        *,
        reals: Dataset | None,
        output_dir: str,
        n: int = 256,
        seed: int = 0,
    ) -> None:
        self.generator, self.folder = generator, Path(output_dir)
        if reals is not None:
            which = np.random.default_rng(seed).permutation(len(reals))[:n]  # type: ignore[arg-type]
            self.reals = torch.stack([reals[int(i)]["reals"] for i in which])
            n = len(which)
        self.latents = latents.fixed(n, seed=seed)

    @torch.no_grad()
    def pairs(self, n: int | None = None) -> Tensor:
        """What the generator makes of the (first n) fixed latents now, (n, 2, 96, 96), its label raw."""
        training = self.generator.training
        device = next(self.generator.parameters()).device
        made = [self.generator.eval()(chunk.to(device)).cpu() for chunk in self.latents[:n].split(64)]
        self.generator.train(training)
        return torch.cat(made)

    def distance(self) -> float:
        """Sliced Wasserstein distance between these and the reals; lower is better."""
        fakes = self.pairs()
        threshold = choose_label_threshold(fakes[:, 1].numpy(), self.reals.numpy())  # as for a stack
        fakes[:, 1] = (fakes[:, 1] > threshold).float() * 2 - 1  # a soft label must not give it away
        return sliced_wasserstein(self.reals, fakes)

    def attach(self, trainer: Engine) -> None:
        """Draws when an epoch is complete, on the first rank."""
        if not rank():
            trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer: Engine) -> None:
        """Draws the grid."""
        from PIL import Image
        from torch.utils.tensorboard import SummaryWriter

        grid = pair_grid(self.pairs(16).numpy())
        with written_whole(self.folder / "previews" / f"epoch_{trainer.state.epoch:04d}.png") as temporary:
            Image.fromarray(grid).save(temporary)
        with SummaryWriter(str(self.folder / "tensorboard")) as writer:
            writer.add_image("pairs", grid, trainer.state.epoch, dataformats="HW")
