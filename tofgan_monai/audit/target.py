"""What is audited: a stack of synthetic pairs, a generator and a stack made by it, or a segmentation network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.bundle_paths import bundle_path
from tofgan_monai.bundle_runs import run_bundle
from tofgan_monai.errors import InputError
from tofgan_monai.files import sha256
from tofgan_monai.networks import Generator
from tofgan_monai.pairs import PairDataset, open_stack
from tofgan_monai.weights import fit_weights, load_weights


@dataclass(frozen=True, eq=False)
class Target:
    """What is audited.

    Attributes:
        bundle: its folder; None for a stack alone.
        network: the bundle's, with its weights.
        weights_sha256: of the bundle's weights.
        stack: synthetic pairs (n, 2, 96, 96); None for a segmentation network.
        described: what the audit says of it.
    """

    bundle: Path | None
    network: nn.Module | None
    weights_sha256: str | None
    stack: np.ndarray | None
    described: dict[str, Any]

    @property
    def generator(self) -> Generator | None:
        """The network, if it is a generator."""
        return self.network if isinstance(self.network, Generator) else None


def read_target(target: str | os.PathLike, output: Path, *, n: int, seed: int) -> Target:
    """What the user named: a stack's `.npy`, or a bundle's name or folder; of a generator a stack is made first.

    Args:
        target: the stack or the bundle.
        output: where a generator's stack goes, as `synthetic.npy`; one that is there and of the same weights stays.
        n: pairs to make.
        seed: of their latents.

    Raises:
        InputError: no such stack or bundle, or a stack of real pairs.
    """
    if Path(target).suffix == ".npy":
        stack, described = _described_stack(Path(target))
        kind = {"kind": "stack", "bundle": None, "weights_sha256": described["weights_sha256"]}
        return Target(None, None, described["weights_sha256"], stack, {**kind, "stack": described})
    bundle = bundle_path(target)
    network, weights = bundle_network(bundle)
    digest = sha256(weights)
    names = {"bundle": bundle.name, "weights_sha256": digest}
    if not isinstance(network, Generator):
        return Target(bundle, network, digest, None, {"kind": "segmentation", **names, "stack": None})
    path = output / "synthetic.npy"
    threshold = _inference(bundle).get("label_threshold")
    if not _is_made(path, digest, n, seed, threshold):
        run_bundle(bundle, ["inference.yaml"], {"n": n, "seed": seed, "output": os.path.abspath(path)})
    stack, described = _described_stack(path)
    return Target(bundle, network, digest, stack, {"kind": "generator", **names, "stack": described})


def bundle_network(bundle: Path, weights: Path | None = None) -> tuple[nn.Module, Path]:
    """The network of a bundle's inference.yaml with its weights, or others that fit it; and where these lie.

    Raises:
        InputError: no weights, or another network's.
    """
    network = _inference(bundle).get_parsed_content("network_def")
    weights = weights or bundle / "models" / "model.pt"
    fit_weights(network, load_weights(weights), weights)
    return network.eval(), weights


def _inference(bundle: Path) -> Any:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(os.fspath(bundle / "configs" / "inference.yaml"))
    return parser


def _is_made(path: Path, digest: str, n: int, seed: int, threshold: float) -> bool:
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
    facts = {key: manifest.get(key) for key in ("seed", "label_threshold", "weights_sha256")}
    return stack, {"digest": PairDataset(path).digest, "n": len(stack), **facts}
