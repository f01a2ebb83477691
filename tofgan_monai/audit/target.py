"""What is audited: a stack of synthetic pairs, a generator and a stack made by it, or a segmentation network."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.attacks.on_pairs import MIN_PAIRS
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import inference_config, run_bundle
from tofgan_monai.errors import InputError
from tofgan_monai.gan.networks import Generator
from tofgan_monai.pairs.stack import PairDataset, open_stack
from tofgan_monai.training.weights import fit_weights, load_weights, weights_file_digest


@dataclass(frozen=True, eq=False)
class Target:
    """What is audited.

    Attributes:
        bundle: its folder; None for a stack alone.
        network: the bundle's, with its weights.
        stack: synthetic pairs (n, 2, 96, 96); None for a segmentation network, and for a generator before it has
            made some.
        described: what the audit says of it.
    """

    bundle: Path | None
    network: nn.Module | None
    stack: np.ndarray | None
    described: dict[str, Any]

    @property
    def generator(self) -> Generator | None:
        """The network, if it is a generator."""
        return self.network if isinstance(self.network, Generator) else None

    @property
    def is_segmentation(self) -> bool:
        """Whether it is a network that makes no pairs."""
        return self.network is not None and self.generator is None

    @property
    def weights_sha256(self) -> str | None:
        """Of the network's weights, or of those that a stack alone was made with, if it tells."""
        return self.described["weights_sha256"]


def read_target(target: str | os.PathLike) -> Target:
    """What the user named: a stack's `.npy`, or a bundle's name or folder.

    Raises:
        InputError: no such stack or bundle, or a stack of real pairs or of fewer than the attacks need.
    """
    if Path(target).suffix == ".npy":
        stack, described = _described_stack(Path(target))
        facts = {"kind": "stack", "bundle": None, "weights_sha256": described["weights_sha256"], "stack": described}
        return Target(None, None, stack, facts)
    bundle = bundle_path(target)
    network, weights = bundle_network(bundle)
    kind = "generator" if isinstance(network, Generator) else "segmentation"
    facts = {"kind": kind, "bundle": bundle.name, "weights_sha256": weights_file_digest(weights), "stack": None}
    return Target(bundle, network, None, facts)


def with_pairs(target: Target, output: Path, *, n: int, seed: int) -> Target:
    """A generator's bundle with a stack that it has made; whatever else as it is.

    Args:
        target: what is audited.
        output: where the stack goes, as `synthetic.npy`; one that is there and of the same weights stays.
        n: pairs to make.
        seed: of their latents.
    """
    if target.bundle is None or target.generator is None:
        return target
    path = output / "synthetic.npy"
    threshold = inference_config(target.bundle).get("label_threshold")
    if not _is_made(path, target.weights_sha256, n, seed, threshold):
        run_bundle(target.bundle, ["inference.yaml"], {"n": n, "seed": seed, "output": os.path.abspath(path)})
    stack, described = _described_stack(path)
    return replace(target, stack=stack, described={**target.described, "stack": described})


def bundle_network(bundle: Path, weights: Path | None = None) -> tuple[nn.Module, Path]:
    """The network of a bundle's inference.yaml with its weights, or others that fit it; and where these lie.

    Raises:
        InputError: no weights, or another network's.
    """
    network = inference_config(bundle).get_parsed_content("network_def")
    weights = weights or bundle / "models" / "model.pt"
    fit_weights(network, load_weights(weights), weights)
    return network.eval(), weights


def _is_made(path: Path, digest: str | None, n: int, seed: int, threshold: float | None) -> bool:
    try:
        manifest = open_stack(path)[1]
    except InputError:
        return False
    facts = (manifest.get("weights_sha256"), manifest["n"], manifest.get("seed"), manifest.get("label_threshold"))
    return facts == (digest, n, seed, threshold)


def _described_stack(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    stack, manifest = open_stack(path)
    if manifest.get("kind") != "synthetic":
        raise InputError(f"{path}: holds no synthetic pairs; give a stack of `tofgan generate`, or a bundle")
    if len(stack) < MIN_PAIRS:
        raise InputError(f"{path}: {len(stack)} pairs; make {MIN_PAIRS} or more, whose density can be estimated")
    facts = {key: manifest.get(key) for key in ("seed", "label_threshold", "weights_sha256")}
    return stack, {"digest": PairDataset(path).digest, "n": len(stack), **facts}
