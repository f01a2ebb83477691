"""The pair, an image-label patch (2, 96, 96), and the stack, a file of many pairs, be they real or synthetic.

A stack is `NAME.npy`, float16 (n, 2, 96, 96), with its manifest `NAME.json` beside it. Channel 0 is the image in
[-1, 1], channel 1 the label in {-1, +1}. float16 needs half the disk space of float32; its steps in [-1, 1] are at most
1/2048, finer than the 12 bits of a scanner, and the label is exact. A manifest tells where the pairs come from (its
`kind`, see `tofgan_monai.volumes.kinds`) but holds no patient's name: patients are indices.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.utils.data import Dataset

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_json, written_whole
from tofgan_monai.volumes.kinds import kind_of
from tofgan_monai.volumes.patch_grid import PATCH_SIZE

PAIR_SHAPE = (2, PATCH_SIZE, PATCH_SIZE)


def normalise_patch(image: np.ndarray) -> np.ndarray:
    """Patches (..., H, W), each min-max scaled to [-1, 1] on its own, float32; a constant patch becomes -1.

    >>> normalise_patch(np.array([[0, 1], [3, 4]]))
    array([[-1. , -0.5],
           [ 0.5,  1. ]], dtype=float32)
    """
    image = image.astype(np.float32)
    low = image.min(axis=(-2, -1), keepdims=True)
    spread = image.max(axis=(-2, -1), keepdims=True) - low
    return (image - low) / np.where(spread > 0, spread, 1) * 2 - 1


def binarise_labels(pairs: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs (n, 2, H, W), float16, with the label +1 where it was above `threshold` and -1 elsewhere."""
    return np.stack([pairs[:, 0], np.where(pairs[:, 1] > threshold, 1, -1)], axis=1).astype(np.float16)


def manifest_path(path: str | os.PathLike) -> Path:
    """The path of the manifest that belongs to the stack at `path`."""
    return Path(path).with_suffix(".json")


def read_manifest(path: str | os.PathLike) -> dict[str, Any]:
    """The manifest of the stack at `path`; empty if it is missing or broken, which `open_stack` reports."""
    try:
        manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


class StackWriter:
    """Context manager that writes pairs to disk as they come and leaves a whole stack with its manifest, or nothing.

    Args:
        path: the stack's `.npy`.
        n: how many pairs will be appended.
        manifest: the content of the manifest, to which `n`, `shape` and `dtype` are added. It may grow until the block
            ends.

    Raises:
        InputError: not exactly `n` pairs were appended, values lie outside their range, or the disk is full.
    """

    def __init__(self, path: str | os.PathLike, n: int, manifest: dict[str, Any]) -> None:
        self.path = Path(path)
        if self.path.suffix != ".npy":
            raise InputError(f"{path}: give a stack a name that ends in .npy")
        self.n = n
        self.manifest = manifest
        self.written = 0
        self._files = ExitStack()

    def __enter__(self) -> StackWriter:
        # A plain stream, not a memory map, so that a full disk is an error that can be caught and not a SIGBUS.
        self._temporary = self._files.enter_context(written_whole(self.path))
        self._stream = self._files.enter_context(open(self._temporary, "wb"))
        header = {"descr": "<f2", "fortran_order": False, "shape": (self.n, *PAIR_SHAPE)}
        np.lib.format.write_array_header_1_0(self._stream, header)
        return self

    def append(self, pairs: np.ndarray) -> None:
        """Appends pairs (b, 2, 96, 96) to the stack."""
        problem = _what_is_wrong_with(pairs)
        if problem:
            raise InputError(f"{self.path}: {problem}")
        self._stream.write(np.ascontiguousarray(pairs, dtype="<f2").tobytes())
        self.written += len(pairs)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._files:  # an error in this block removes the temporary file
            if error is not None:
                raise error
            if self.written != self.n:
                raise InputError(f"{self.path}: {self.written} pairs were appended where {self.n} were announced")
            self._stream.flush()
            described = {**self.manifest, "n": self.n, "shape": [self.n, *PAIR_SHAPE], "dtype": "float16"}
            write_json(manifest_path(self.path), described)


def _what_is_wrong_with(pairs: np.ndarray) -> str:
    if pairs.ndim != 4 or pairs.shape[1:] != PAIR_SHAPE:
        return f"pairs of shape {tuple(pairs.shape)}; they must be (n, {', '.join(map(str, PAIR_SHAPE))})"
    image, label = pairs[:, 0], pairs[:, 1]
    if not (np.isfinite(image).all() and np.abs(image).max(initial=0) <= 1.001):
        return f"image values from {image.min()} to {image.max()}; they must lie in [-1, 1]"
    if not (np.abs(label) == 1).all():
        return f"label values {np.unique(label)[:5]}; they must be -1 or +1"
    return ""


def open_stack(path: str | os.PathLike) -> tuple[np.memmap, dict[str, Any]]:
    """The stack's pairs as a read-only memory map, float16 (n, 2, 96, 96), and its manifest.

    Raises:
        InputError: no such stack, no manifest or that of another stack, a truncated file, a wrong shape or dtype.
    """
    path = Path(path)
    try:
        pairs = open_memmap(path, mode="r")
        manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, EOFError) as error:
        remedy = "make it again with `tofgan extract` or `tofgan generate`"
        raise InputError(f"{path}: not a readable stack ({error}); {remedy}") from error
    if pairs.ndim != 4 or pairs.shape[1:] != PAIR_SHAPE or pairs.dtype != np.float16 or not len(pairs):
        needed = f"a stack is float16 (n, 2, {PATCH_SIZE}, {PATCH_SIZE}) with n > 0"
        raise InputError(f"{path}: an array of shape {pairs.shape} and {pairs.dtype}; {needed}")
    if not isinstance(manifest, dict) or manifest.get("n") != len(pairs):
        raise InputError(f"{path}: {manifest_path(path).name} beside it is not its manifest; copy both files together")
    return pairs, manifest


def patients_of_pairs(path: str | os.PathLike, manifest: dict[str, Any]) -> np.ndarray:
    """The patient index of each pair of a real stack, (n,), as its manifest tells.

    Raises:
        InputError: the manifest does not tell, or all pairs are of one patient.
    """
    volumes = manifest.get("volumes", [])
    patients = [volume["patient"] for volume in volumes for _ in range(volume["n_vessel"] + volume["n_random"])]
    if len(patients) != manifest["n"] or len(set(patients)) < 2:
        problem = "its manifest does not tell pairs of two or more patients apart"
        raise InputError(f"{path}: {problem}; take a stack of `tofgan extract`")
    return np.array(patients)


def _provenance(manifest: dict[str, Any]) -> dict[str, Any]:
    """The kind of data in a stack, with the number of patients, or with the digest of the generator's weights."""
    if (kind := kind_of(manifest)) == "synthetic":
        return {"kind": kind, "weights_sha256": manifest.get("weights_sha256")}
    patients = {volume.get("patient") for volume in manifest.get("volumes", ())}
    return {"kind": kind, "patients": len(patients) or None}


class PairDataset(Dataset):
    """The pairs of one stack, or of several stacks pooled, as dictionaries of tensors.

    `provenance` tells for each stack the kind of its data, and how many patients or which generator they come from.

    Each item holds `reals` (2, 96, 96) in [-1, 1] for a GAN, and for a segmentation network `image` (1, 96, 96) in
    [-1, 1] and `label` (1, 96, 96) in {0, 1}; all float32.

    Raises:
        InputError: see `open_stack`.
    """

    def __init__(self, paths: str | os.PathLike | Sequence[str | os.PathLike]) -> None:
        self.paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        opened = [open_stack(path) for path in self.paths]
        self.stacks = [pairs for pairs, _ in opened]
        self.provenance = [_provenance(manifest) for _, manifest in opened]
        self.ends = np.cumsum([len(stack) for stack in self.stacks])

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that identify these pairs, by the sizes of the stacks and about 64 pairs of each."""
        digest = hashlib.sha256(str(self.ends.tolist()).encode())
        for stack in self.stacks:
            digest.update(stack[:: -(-len(stack) // 64)].tobytes())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self.ends, index, side="right"))
        pair = self.stacks[which][index - self.ends[which]]  # a negative index, from the stack's end
        reals = torch.from_numpy(pair.astype(np.float32))
        return {"reals": reals, "image": reals[:1], "label": (reals[1:] > 0).float()}
