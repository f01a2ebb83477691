"""From a generator's weights to a stack of synthetic pairs, and back into a bundle."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.utils.data import Dataset

from tofgan_monai.bundle_runs.runs import inference_config
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.data_card import seen_by, write_card
from tofgan_monai.files import sha256, written_whole
from tofgan_monai.gan.networks import Generator
from tofgan_monai.gan.privacy_budget import told_share
from tofgan_monai.gan.step import GaussianLatents
from tofgan_monai.metrics.segmentation.threshold_baseline import choose_label_threshold
from tofgan_monai.pairs.stack import StackWriter, binarise_labels
from tofgan_monai.training.weights import fit_weights, load_weights, save_weights

logger = logging.getLogger(__name__)
CHUNK = 64  # pairs made at once: a sum's last bits depend on it, so it is fixed


class LatentDataset(Dataset):
    """Latents by index, as `{"image": (latent_dim,)}`, filled up to whole chunks of 64.

    Args:
        latents: the prior.
        n: how many pairs are wanted.
        seed: with the index, all that a latent depends on.
    """

    def __init__(self, latents: GaussianLatents, n: int, seed: int) -> None:
        if n < 1:
            raise InputError(f"n = {n}: ask for at least one pair")
        if seed < 0:
            raise InputError(f"seed = {seed}: a seed is 0 or more")
        self.latents, self.n, self.seed = latents, n, seed

    def __len__(self) -> int:
        return -(-self.n // CHUNK) * CHUNK

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {"image": self.latents.fixed(1, seed=self.seed, start=index)[0]}


class StackSaver:
    """Ignite handler that streams what an evaluator predicts into a stack with its manifest.

    Args:
        path: the stack's `.npy`.
        n: how many pairs of the evaluator's are kept.
        threshold: of the raw label in [-1, 1].
        weights: the file whose SHA-256 goes into the manifest.
        manifest: what else goes there.
    """

    def __init__(
        self, path: str, n: int, *, threshold: float, weights: str | os.PathLike, manifest: dict[str, Any]
    ) -> None:
        self.n, self.threshold = n, threshold
        described = {
            "kind": "synthetic",
            **manifest,
            "weights_sha256": sha256(weights),
            "label_threshold": threshold,
            "threads": torch.get_num_threads(),
        }
        self.writer = StackWriter(path, n, described)

    def attach(self, evaluator: Engine) -> None:
        """Opens the stack when the evaluator starts, closes it when it has ended."""
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
        self.writer.__exit__(type(error), error, error.__traceback__)  # raises it again


def adopt(
    run: str | os.PathLike,
    bundle: Path,
    *,
    validation_pairs: str | os.PathLike | None = None,
    last: bool = False,
) -> tuple[Path, float | None]:
    """Puts a training's weights into a bundle's `models/model.pt`, and a GAN's label threshold into its inference.yaml.

    What the weights have seen, as far as the training's records tell, goes into `docs/data_card.json`.
    The weights must fit the network that the bundle's own inference.yaml declares.

    Args:
        run: output folder of the training.
        bundle: the bundle's folder.
        validation_pairs: stack of real pairs of validation patients: the threshold is the one at which synthetic
            labels have their share of vessels. None leaves the bundle's, or takes the share of a private training's
            `guarantee.json`.
        last: the last epoch's weights instead of the best's.

    Returns:
        The path of the weights, and the threshold if one was chosen.

    Raises:
        InputError: no such training, weights of another network, or pairs for a bundle that has no threshold.
    """
    source = Path(run) / ("checkpoint.pt" if last else "best.pt")
    weights = load_weights(source)
    if last:
        weights = weights["state"].get("average") or weights["state"]["network"]
    config = bundle / "configs" / "inference.yaml"
    parser = inference_config(bundle)
    network = parser.get_parsed_content("network_def")
    fit_weights(network, weights, source)
    target = bundle / "models" / "model.pt"
    threshold, share = None, told_share(run)
    if validation_pairs is not None and "label_threshold" not in parser:
        raise InputError(f"{config}: has no label_threshold to choose; leave the validation pairs out")
    if validation_pairs is not None and share is not None:
        logger.warning("%s: no epsilon covers a label threshold chosen on validation pairs; leave these out", run)
    if validation_pairs is not None or share is not None:
        threshold = choose_label_threshold(raw_labels(network), validation_pairs, share)
    seen = seen_by(run, bundle)
    save_weights(weights, target)
    write_card(bundle, seen)
    if threshold is not None:
        text = re.sub(r"(?m)^label_threshold: \S+", f"label_threshold: {threshold:.6g}", config.read_text("utf-8"))
        with written_whole(config) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return target, threshold


@torch.no_grad()
def raw_labels(generator: Generator, n: int = 2048) -> np.ndarray:
    """Labels (n, 96, 96) in [-1, 1], before any threshold, that a generator makes of fixed latents."""
    latents = GaussianLatents(generator.latent_dim).fixed(n, seed=0)
    device = next(generator.parameters()).device
    return torch.cat([generator.eval()(chunk.to(device))[:, 1].cpu() for chunk in latents.split(CHUNK)]).numpy()


@torch.no_grad()
def make_pairs(generator: Generator, n: int, *, threshold: float, seed: int = 0) -> np.ndarray:
    """Synthetic pairs (n, 2, 96, 96), float16, in memory; the same that a stack of this seed and threshold holds."""
    dataset = LatentDataset(GaussianLatents(generator.latent_dim), n, seed)
    latents = torch.stack([dataset[index]["image"] for index in range(len(dataset))])
    made = torch.cat([generator.eval()(chunk) for chunk in latents.split(CHUNK)])[:n]
    return binarise_labels(made.numpy(), threshold)
