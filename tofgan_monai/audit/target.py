"""The three kinds of target of an audit: a stack of synthetic pairs, a generator, a segmentation network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from tofgan_monai.attacks.on_pairs import MIN_PAIRS
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import inference_config, inference_network, run_bundle
from tofgan_monai.errors import InputError
from tofgan_monai.gan.networks import Generator
from tofgan_monai.pairs.stack import PairDataset, open_stack
from tofgan_monai.training.weights import fit_weights, load_weights, weights_digest


@dataclass(frozen=True, eq=False)
class StackTarget:
    """Target of an audit: a stack of synthetic pairs, without its generator's network.

    Attributes:
        pairs: (n, 2, 96, 96), a memory map.
        facts: what identifies the stack: its digest and n, and the seed, label threshold and weights' digest that its
            manifest names, None if it does not.
    """

    kind: ClassVar[str] = "stack"
    pairs: np.ndarray
    facts: dict[str, Any]

    @property
    def weights_sha256(self) -> str | None:
        """Digest of the generator's weights; None if the manifest does not name it."""
        return self.facts["weights_sha256"]


@dataclass(frozen=True, eq=False)
class GeneratorTarget:
    """Target of an audit: the generator of a bundle, with its weights."""

    kind: ClassVar[str] = "generator"
    bundle: Path
    network: Generator
    weights_sha256: str


@dataclass(frozen=True, eq=False)
class SegmentationTarget:
    """Target of an audit: the segmentation network of a bundle, with its weights."""

    kind: ClassVar[str] = "segmentation"
    bundle: Path
    network: nn.Module
    weights_sha256: str


Target = StackTarget | GeneratorTarget | SegmentationTarget


def read_target(target: str | os.PathLike) -> Target:
    """Reads the target of an audit, which a user names by a stack's `.npy` or by a bundle's name or folder.

    Raises:
        InputError: there is no such stack or bundle, or the stack holds real pairs or too few pairs for the attacks.
    """
    if Path(target).suffix == ".npy":
        return _read_stack(Path(target))
    bundle = bundle_path(target)
    weights = bundle / "models" / "model.pt"
    state = load_weights(weights)
    network = bundle_network(bundle, state, weights)
    kind = GeneratorTarget if isinstance(network, Generator) else SegmentationTarget
    return kind(bundle, network, weights_digest(state))  # type: ignore[arg-type]


def released_pairs(target: StackTarget | GeneratorTarget, folder: Path, *, n: int, seed: int) -> StackTarget:
    """The stack of pairs that an audit attacks: the target itself, or `synthetic.npy`, which its generator makes.

    A stack in the folder that was made with the same weights, n, seed and label threshold is used again.

    Args:
        target: what is audited.
        folder: the audit's output folder.
        n: number of pairs that a generator makes.
        seed: of the pairs' latents.
    """
    if isinstance(target, StackTarget):
        return target
    path = folder / "synthetic.npy"
    threshold = inference_config(target.bundle).get("label_threshold")
    wanted = {"weights_sha256": target.weights_sha256, "n": n, "seed": seed, "label_threshold": threshold}
    if not _is_made(path, wanted):
        run_bundle(target.bundle, ["inference.yaml"], {"n": n, "seed": seed, "output": os.path.abspath(path)})
    return _read_stack(path)


def describe(target: Target, stack: StackTarget | None) -> dict[str, Any]:
    """The entry of audit.json about a target and the stack that was audited; a segmentation network has no stack."""
    bundle = None if isinstance(target, StackTarget) else target.bundle.name
    facts = stack and stack.facts
    return {"kind": target.kind, "bundle": bundle, "weights_sha256": target.weights_sha256, "stack": facts}


def network_with(target: Target, weights: dict[str, Any], source: Path) -> nn.Module:
    """A network with the architecture of the audited one and other weights, in evaluation mode.

    A stack does not describe its generator, so the shapes of the weights determine the generator's size.

    Args:
        target: what is audited.
        weights: the state dict to load.
        source: the file or folder of the weights, for error messages.

    Raises:
        InputError: the weights belong to another network.
    """
    if not isinstance(target, StackTarget):
        return bundle_network(target.bundle, weights, source)
    shapes = [weight.shape for weight in weights.values() if weight.ndim == 4]
    generator = Generator(latent_dim=shapes[0][0], width=shapes[-1][0])
    fit_weights(generator, weights, source)
    return generator.eval()


def bundle_network(bundle: Path, weights: dict[str, Any], source: Path) -> nn.Module:
    """The network of a bundle's inference.yaml, in evaluation mode, with the given weights; see `network_with`."""
    network = inference_network(bundle)
    fit_weights(network, weights, source)
    return network.eval()


def _is_made(path: Path, wanted: dict[str, Any]) -> bool:
    try:
        manifest = open_stack(path)[1]
    except InputError:
        return False
    return {key: manifest.get(key) for key in wanted} == wanted


def _read_stack(path: Path) -> StackTarget:
    pairs, manifest = open_stack(path)
    if manifest.get("kind") != "synthetic":
        raise InputError(f"{path}: holds no synthetic pairs; give a stack made by `tofgan generate`, or a bundle")
    if len(pairs) < MIN_PAIRS:
        raise InputError(f"{path}: {len(pairs)} pairs are too few to estimate a density; make {MIN_PAIRS} or more")
    facts = {key: manifest.get(key) for key in ("seed", "label_threshold", "weights_sha256")}
    return StackTarget(pairs, {"digest": PairDataset(path).digest, "n": len(pairs), **facts})
