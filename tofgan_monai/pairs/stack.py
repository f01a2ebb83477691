"""The pair and the stack: image-label patches (2, 96, 96), many of them in one file, real and synthetic alike.

A stack is `NAME.npy`, float16 (n, 2, 96, 96), with its manifest `NAME.json` beside it. Channel 0 is the image in
[-1, 1], channel 1 the label in {-1, +1}. float16 halves the disk; its steps in [-1, 1] are at most 1/2048, finer than
the 12 bits of a scanner, and the label is exact. A manifest says where pairs come from, never whose they are: patients
are indices.
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
from tofgan_monai.volumes.patch_grid import PATCH_SIZE

PAIR_SHAPE = (2, PATCH_SIZE, PATCH_SIZE)
KINDS = ("simulated", "synthetic", "real")  # of data: by `tofgan phantom`, by a generator, of patients


def normalise_patch(image: np.ndarray) -> np.ndarray:
    """Patches (..., H, W) min-max scaled to [-1, 1], each by itself; a constant patch becomes -1 everywhere."""
    image = image.astype(np.float32)
    low = image.min(axis=(-2, -1), keepdims=True)
    spread = image.max(axis=(-2, -1), keepdims=True) - low
    return (image - low) / np.where(spread > 0, spread, 1) * 2 - 1


def binarise_labels(pairs: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs (n, 2, H, W) whose label channel is +1 above `threshold` and -1 elsewhere; the image is left as it is."""
    return np.stack([pairs[:, 0], np.where(pairs[:, 1] > threshold, 1, -1)], axis=1).astype(np.float16)


def manifest_path(path: str | os.PathLike) -> Path:
    """Where the manifest of the stack at `path` lies."""
    return Path(path).with_suffix(".json")


class StackWriter:
    """Context manager that streams pairs to disk and leaves a whole stack with its manifest, or nothing.

    Args:
        path: the stack's `.npy`.
        n: how many pairs will come.
        manifest: what the manifest shall say; `n`, `shape` and `dtype` are added. It may grow until the block ends.

    Raises:
        InputError: fewer or more than `n` pairs came, values lie outside their range, or the disk is full.
    """

    def __init__(self, path: str | os.PathLike, n: int, manifest: dict[str, Any]) -> None:
        self.path = Path(path)
        if self.path.suffix != ".npy":
            raise InputError(f"{path}: a stack's name ends in .npy")
        self.n = n
        self.manifest = manifest
        self.written = 0
        self._files = ExitStack()

    def __enter__(self) -> StackWriter:
        # Written as a plain stream, not a memory map: a full disk is then an error that can be caught, not a SIGBUS.
        self._temporary = self._files.enter_context(written_whole(self.path))
        self._stream = self._files.enter_context(open(self._temporary, "wb"))
        header = {"descr": "<f2", "fortran_order": False, "shape": (self.n, *PAIR_SHAPE)}
        np.lib.format.write_array_header_1_0(self._stream, header)
        return self

    def append(self, pairs: np.ndarray) -> None:
        """Adds pairs (b, 2, 96, 96)."""
        problem = _what_is_wrong_with(pairs)
        if problem:
            raise InputError(f"{self.path}: {problem}")
        self._stream.write(np.ascontiguousarray(pairs, dtype="<f2").tobytes())
        self.written += len(pairs)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._files:  # whatever is raised in here drops the temporary file
            if error is not None:
                raise error
            if self.written != self.n:
                raise InputError(f"{self.path}: {self.written} pairs came where {self.n} were announced")
            self._stream.flush()
            described = {**self.manifest, "n": self.n, "shape": [self.n, *PAIR_SHAPE], "dtype": "float16"}
            write_json(manifest_path(self.path), described)


def _what_is_wrong_with(pairs: np.ndarray) -> str:
    if pairs.ndim != 4 or pairs.shape[1:] != PAIR_SHAPE:
        return f"pairs of shape {tuple(pairs.shape)} where (n, {', '.join(map(str, PAIR_SHAPE))}) is needed"
    image, label = pairs[:, 0], pairs[:, 1]
    if not (np.isfinite(image).all() and np.abs(image).max(initial=0) <= 1.001):
        return f"image values from {image.min()} to {image.max()} where [-1, 1] is needed"
    if not (np.abs(label) == 1).all():
        return f"label values {np.unique(label)[:5]} where only -1 and +1 are allowed"
    return ""


def open_stack(path: str | os.PathLike) -> tuple[np.memmap, dict[str, Any]]:
    """The stack's pairs as a read-only memory map, float16 (n, 2, 96, 96), and its manifest.

    Raises:
        InputError: no such stack, no manifest or another stack's, a truncated file, another shape or dtype.
    """
    path = Path(path)
    try:
        pairs = open_memmap(path, mode="r")
        manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path}: not a readable stack ({error}); make it again with `tofgan extract` or `tofgan generate`"
        ) from error
    if pairs.ndim != 4 or pairs.shape[1:] != PAIR_SHAPE or pairs.dtype != np.float16 or not len(pairs):
        raise InputError(
            f"{path}: an array of shape {pairs.shape} and {pairs.dtype}; "
            f"a stack is (n, 2, {PATCH_SIZE}, {PATCH_SIZE}) with n > 0 and float16"
        )
    if not isinstance(manifest, dict) or manifest.get("n") != len(pairs):
        raise InputError(f"{path}: {manifest_path(path).name} beside it is not its manifest; copy both files together")
    return pairs, manifest


def patients_of_pairs(path: str | os.PathLike, manifest: dict[str, Any]) -> np.ndarray:
    """Which patient each pair of a real stack is of, (n,): indices as its manifest has them.

    Raises:
        InputError: the manifest does not tell, or of one patient only.
    """
    volumes = manifest.get("volumes", [])
    patients = [volume["patient"] for volume in volumes for _ in range(volume["n_vessel"] + volume["n_random"])]
    if len(patients) != manifest["n"] or len(set(patients)) < 2:
        raise InputError(
            f"{path}: its manifest does not tell pairs of two or more patients apart; take a stack of `tofgan extract`"
        )
    return np.array(patients)


def _provenance(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a stack's manifest tells of whose data it is; of patients, where it tells nothing."""
    if manifest.get("kind") == "synthetic":
        return {"kind": "synthetic", "weights_sha256": manifest.get("weights_sha256")}
    patients = {volume.get("patient") for volume in manifest.get("volumes", ())}
    return {"kind": "simulated" if manifest.get("simulated") is True else "real", "patients": len(patients) or None}


class PairDataset(Dataset):
    """Pairs of one stack, or of several pooled, as dictionaries of tensors.

    `provenance` says of each stack which kind of data it is, and of how many patients or of which generator.

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
        """16 hexadecimal digits that tell these pairs from others: of how many there are, and 64 of each stack."""
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
        pair = self.stacks[which][index - self.ends[which]]  # counted from the stack's end: a negative index
        reals = torch.from_numpy(pair.astype(np.float32))
        return {"reals": reals, "image": reals[:1], "label": (reals[1:] > 0).float()}
