"""Target of an audit: a stack (file) of synthetic image-label pairs, a generator, or a segmentation network."""

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
from tofgan_monai.gan.kinds import PairGenerator, generator_of_size
from tofgan_monai.pairs.stack import PairDataset, open_stack
from tofgan_monai.training.weights import fit_weights, load_weights, weights_file_digest


@dataclass(frozen=True, eq=False)
class StackTarget:
    """Stack of synthetic pairs as the target of an audit; the network of its generator is not known.

    Attributes:
        pairs: synthetic image-label pairs, (n, 2, 96, 96), a memory map.
        facts: entry about the stack in audit.json: its `digest` and `n`, and from its manifest `seed`,
            `label_threshold` and `weights_sha256` (digest of the generator's weights). A value is None if the manifest
            does not name it.
    """

    kind: ClassVar[str] = "stack"
    pairs: np.ndarray
    facts: dict[str, Any]

    @property
    def weights_sha256(self) -> str | None:
        """Digest of the weights of the stack's generator; None if the stack's manifest does not name it."""
        return self.facts["weights_sha256"]


@dataclass(frozen=True, eq=False)
class GeneratorTarget:
    """Generator of a bundle as the target of an audit.

    Attributes:
        bundle: folder of the bundle.
        network: generator with the bundle's weights, in evaluation mode.
        weights_sha256: digest of these weights.
    """

    kind: ClassVar[str] = "generator"
    bundle: Path
    network: PairGenerator
    weights_sha256: str


@dataclass(frozen=True, eq=False)
class SegmentationTarget:
    """Segmentation network of a bundle as the target of an audit.

    Attributes:
        bundle: folder of the bundle.
        network: segmentation network with the bundle's weights, in evaluation mode.
        weights_sha256: digest of these weights.
    """

    kind: ClassVar[str] = "segmentation"
    bundle: Path
    network: nn.Module
    weights_sha256: str


Target = StackTarget | GeneratorTarget | SegmentationTarget


def read_target(target: str | os.PathLike) -> Target:
    """Reads the target of an audit; returns a stack of synthetic pairs, a generator or a segmentation network.

    Args:
        target: path of a stack of synthetic pairs (`.npy`), or name or folder of a bundle.

    Raises:
        InputError: there is no such stack or bundle, or the stack holds real pairs or too few pairs for the attacks.
    """
    if Path(target).suffix == ".npy":
        return _read_stack(Path(target))
    bundle = bundle_path(target)
    weights = bundle / "models" / "model.pt"
    network = bundle_network(bundle, load_weights(weights), weights)
    kind = GeneratorTarget if isinstance(network, PairGenerator) else SegmentationTarget
    return kind(bundle, network, weights_file_digest(weights))  # type: ignore[arg-type]


def released_pairs(target: StackTarget | GeneratorTarget, folder: Path, *, n: int, seed: int) -> StackTarget:
    """Returns the stack of pairs that an audit attacks.

    If the target is a stack, it is returned. If the target is a generator, the generator makes `synthetic.npy` in the
    folder, unless the folder already holds a stack made with the same weights, n, seed and label threshold.

    Args:
        target: the audited stack or generator.
        folder: output folder of the audit.
        n: number of pairs to make with the generator.
        seed: seed of the latents of these pairs.
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
    """Returns the entry of audit.json about the target and about the stack whose pairs were attacked.

    Args:
        target: the audited stack, generator or segmentation network.
        stack: the attacked stack of synthetic pairs; None if the target is a segmentation network.
    """
    bundle = None if isinstance(target, StackTarget) else target.bundle.name
    facts = stack and stack.facts
    return {"kind": target.kind, "bundle": bundle, "weights_sha256": target.weights_sha256, "stack": facts}


def network_with(target: Target, weights: dict[str, Any], source: Path) -> nn.Module:
    """Returns a network with the architecture of the audited network and other weights, in evaluation mode.

    If the target is a stack, the architecture of its generator is not described anywhere. Then the shapes of the
    weights determine the kind and the size of the generator.

    Args:
        target: the audited stack, generator or segmentation network.
        weights: state dict to load into the network.
        source: file or folder from which the weights were read, for error messages.

    Raises:
        InputError: the weights do not fit the network.
    """
    if not isinstance(target, StackTarget):
        return bundle_network(target.bundle, weights, source)
    generator = generator_of_size(weights)
    fit_weights(generator, weights, source)
    return generator.eval()


def bundle_network(bundle: Path, weights: dict[str, Any], source: Path) -> nn.Module:
    """Returns the network that a bundle's inference.yaml describes, with the given weights, in evaluation mode.

    Args:
        bundle: folder of the bundle.
        weights: state dict to load into the network.
        source: file or folder from which the weights were read, for error messages.

    Raises:
        InputError: the weights do not fit the network.
    """
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
        raise InputError(
            f"{path}: the stack does not hold synthetic pairs; give a stack made by `tofgan generate`, or a bundle"
        )
    if len(pairs) < MIN_PAIRS:
        raise InputError(f"{path}: the stack has {len(pairs)} pairs, too few for the attacks; make {MIN_PAIRS} or more")
    facts = {key: manifest.get(key) for key in ("seed", "label_threshold", "weights_sha256")}
    return StackTarget(pairs, {"digest": PairDataset(path).digest, "n": len(pairs), **facts})
