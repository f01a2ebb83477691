"""The pair, which is an image-label patch (2, 96, 96), and the stack, which is a file of real or synthetic pairs.

A stack is the file `NAME.npy`, float16 (n, 2, 96, 96), with its manifest `NAME.json` in the same folder. Channel 0 of a
pair is the image in [-1, 1], and channel 1 is the label in {-1, +1}. float16 needs half the disk space of float32. Its
rounding steps in [-1, 1] are at most 1/2048, which is finer than the 12 bits of a scanner, and labels are exact. A
manifest states the origin of the pairs (its `kind`, see `tofgan_monai.volumes.kinds`). It contains no patient's name,
only patient indices.
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
_BLOCK = 1024  # pairs that are copied at once


def normalise_patch(image: np.ndarray) -> np.ndarray:
    """Returns patches (..., H, W), float32, each min-max scaled separately to [-1, 1]; a constant patch becomes -1.

    >>> normalise_patch(np.array([[0, 1], [3, 4]]))
    array([[-1. , -0.5],
           [ 0.5,  1. ]], dtype=float32)
    """
    image = image.astype(np.float32)
    low = image.min(axis=(-2, -1), keepdims=True)
    spread = image.max(axis=(-2, -1), keepdims=True) - low
    return (image - low) / np.where(spread > 0, spread, 1) * 2 - 1


def binarise_labels(pairs: np.ndarray, threshold: float) -> np.ndarray:
    """Returns pairs (n, 2, H, W), float16, whose label is +1 where it was above `threshold` and -1 elsewhere."""
    return np.stack([pairs[:, 0], np.where(pairs[:, 1] > threshold, 1, -1)], axis=1).astype(np.float16)


def manifest_path(path: str | os.PathLike) -> Path:
    """Returns the path of the manifest that belongs to the stack at `path`."""
    return Path(path).with_suffix(".json")


def read_manifest(path: str | os.PathLike) -> dict[str, Any]:
    """Returns the manifest of the stack at `path`, or an empty dict if the manifest is missing or cannot be read.

    For such a stack, `open_stack` raises an InputError.
    """
    try:
        manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


class StackWriter:
    """Context manager that writes a stack and its manifest; `append` adds pairs to the stack.

    If an exception ends the with-block, no new stack is written.

    Args:
        path: the `.npy` file of the stack.
        n: the number of pairs that will be appended.
        manifest: the content of the manifest, to which `n`, `shape` and `dtype` are added. The caller may add entries
            until the with-block ends.

    Raises:
        InputError: the number of appended pairs is not `n`, values lie outside their range, or the disk is full.
    """

    def __init__(self, path: str | os.PathLike, n: int, manifest: dict[str, Any]) -> None:
        self.path = Path(path)
        if self.path.suffix != ".npy":
            raise InputError(f"{path} is not a name for a stack; give a name that ends in .npy")
        self.n = n
        self.manifest = manifest
        self.written = 0
        self._files = ExitStack()

    def __enter__(self) -> StackWriter:
        # A plain stream, not a memory map: with a full disk, Python can handle the OSError, but not a SIGBUS.
        self._temporary = self._files.enter_context(written_whole(self.path))
        self._stream = self._files.enter_context(open(self._temporary, "wb"))
        header = {"descr": "<f2", "fortran_order": False, "shape": (self.n, *PAIR_SHAPE)}
        np.lib.format.write_array_header_1_0(self._stream, header)
        return self

    def append(self, pairs: np.ndarray) -> None:
        """Appends pairs (b, 2, 96, 96) to the stack, after a check of their shape and values.

        Raises:
            InputError: the shape is wrong, an image value is outside [-1, 1], or a label value is not -1 or +1.
        """
        problem = _what_is_wrong_with(pairs)
        if problem:
            raise InputError(f"{self.path}: {problem}")
        self._stream.write(np.ascontiguousarray(pairs, dtype="<f2").tobytes())
        self.written += len(pairs)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._files:  # an exception in this with-block removes the temporary file
            if error is not None:
                raise error
            if self.written != self.n:
                problem = f"{self.written} pairs were appended, but n = {self.n}"
                raise InputError(f"{self.path}: {problem}; append exactly n pairs")
            self._stream.flush()
            described = {**self.manifest, "n": self.n, "shape": [self.n, *PAIR_SHAPE], "dtype": "float16"}
            write_json(manifest_path(self.path), described)


def _what_is_wrong_with(pairs: np.ndarray) -> str:
    if pairs.ndim != 4 or pairs.shape[1:] != PAIR_SHAPE:
        return f"the pairs have shape {tuple(pairs.shape)}; the shape must be (n, {', '.join(map(str, PAIR_SHAPE))})"
    image, label = pairs[:, 0], pairs[:, 1]
    if not (np.isfinite(image).all() and np.abs(image).max(initial=0) <= 1.001):
        return f"the image values range from {image.min()} to {image.max()}; image values must lie in [-1, 1]"
    if not (np.abs(label) == 1).all():
        return f"the label has the values {np.unique(label)[:5]}; label values must be -1 or +1"
    return ""


def open_stack(path: str | os.PathLike) -> tuple[np.memmap, dict[str, Any]]:
    """Opens a stack; returns its pairs as a read-only memory map, float16 (n, 2, 96, 96), and its manifest.

    Raises:
        InputError: the stack or its manifest does not exist, the file is truncated, the shape or data type is wrong, or
            the manifest belongs to another stack.
    """
    path = Path(path)
    try:
        pairs = open_memmap(path, mode="r")
        manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, EOFError) as error:
        remedy = "make the stack again with `tofgan extract` or `tofgan generate`"
        if path.is_file() and not manifest_path(path).exists():
            remedy = f"copy its manifest {manifest_path(path).name} beside it, or {remedy}"
        raise InputError(f"{path} cannot be read as a stack ({error}); {remedy}") from error
    if pairs.ndim != 4 or pairs.shape[1:] != PAIR_SHAPE or pairs.dtype != np.float16 or not len(pairs):
        needed = f"give a stack, float16 (n, 2, {PATCH_SIZE}, {PATCH_SIZE}) with n > 0"
        raise InputError(f"{path} holds an array of shape {pairs.shape} and type {pairs.dtype}; {needed}")
    if not isinstance(manifest, dict) or manifest.get("n") != len(pairs):
        name = manifest_path(path).name
        raise InputError(f"{path}: the file {name} in this folder is not the stack's manifest; copy both files again")
    return pairs, manifest


def copy_pairs(
    pairs: np.ndarray, output: str | os.PathLike, manifest: dict[str, Any], *, without: Sequence[int] = ()
) -> None:
    """Writes pairs into a new stack, without those at the indices `without`; few of them are in memory at a time."""
    kept = np.delete(np.arange(len(pairs)), without)
    with StackWriter(output, len(kept), manifest) as stack:
        for start in range(0, len(kept), _BLOCK):
            stack.append(pairs[kept[start : start + _BLOCK]])


def patients_of_pairs(path: str | os.PathLike, manifest: dict[str, Any]) -> np.ndarray:
    """Returns the patient index of each pair in a stack of real pairs, (n,), read from the stack's manifest.

    Args:
        path: the path of the stack, for the message.
        manifest: the manifest of the stack.

    Raises:
        InputError: the manifest does not state the patient of each pair, or all pairs come from one patient.
    """
    volumes = manifest.get("volumes", [])
    patients = [volume["patient"] for volume in volumes for _ in range(volume["n_vessel"] + volume["n_random"])]
    if len(patients) != manifest["n"] or len(set(patients)) < 2:
        problem = "the stack's manifest does not assign the pairs to two or more patients"
        raise InputError(f"{path}: {problem}; give a stack that `tofgan extract` wrote")
    return np.array(patients)


def _provenance(manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns a dict with the kind of data in a stack, and with the number of patients or the generator's digest.

    `weights_sha256` is the digest of the generator's weights; `patients` is None if the manifest lists no patients;
    `simulation` lists the versions of the simulation that made simulated data, from version 2 on.
    """
    if (kind := kind_of(manifest)) == "synthetic":
        return {"kind": kind, "weights_sha256": manifest.get("weights_sha256")}
    patients = {volume.get("patient") for volume in manifest.get("volumes", ())}
    known = {"simulation": manifest["simulation"]} if kind == "simulated" and "simulation" in manifest else {}
    return {"kind": kind, "patients": len(patients) or None, **known}


class PairDataset(Dataset):
    """Data set of the pairs in one or several stacks; each item is a dictionary of float32 tensors.

    For a GAN, an item holds `reals` (2, 96, 96) in [-1, 1]. For a segmentation network, the same item holds `image`
    (1, 96, 96) in [-1, 1] and `label` (1, 96, 96) in {0, 1}. The attribute `provenance` lists, for each stack, the kind
    of its data with the number of patients or the digest of the generator's weights.

    Args:
        paths: the path of one stack, or a list of such paths.

    Raises:
        InputError: a stack cannot be opened; see `open_stack`.
    """

    def __init__(self, paths: str | os.PathLike | Sequence[str | os.PathLike]) -> None:
        self.paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        opened = [open_stack(path) for path in self.paths]
        self.stacks = [pairs for pairs, _ in opened]
        self.provenance = [_provenance(manifest) for _, manifest in opened]
        self.ends = np.cumsum([len(stack) for stack in self.stacks])

    @property
    def digest(self) -> str:
        """Digest of 16 hexadecimal digits that identifies these pairs.

        The digest is computed from the sizes of the stacks and at most 64 pairs of each stack.
        """
        digest = hashlib.sha256(str(self.ends.tolist()).encode())
        for stack in self.stacks:
            digest.update(stack[:: -(-len(stack) // 64)].tobytes())
        return digest.hexdigest()[:16]

    @property
    def spacing_mm(self) -> list[float] | None:
        """Median voxel size (3,) of the volumes that the pairs come from; None if no manifest states any."""
        volumes = [volume for path in self.paths for volume in read_manifest(path).get("volumes", ())]
        known = [volume["spacing_mm"] for volume in volumes if volume.get("spacing_mm")]
        return np.median(known, axis=0).tolist() if known else None

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self.ends, index, side="right"))
        pair = self.stacks[which][index - self.ends[which]]  # a negative index counts from the end of the stack
        reals = torch.from_numpy(pair.astype(np.float32))
        return {"reals": reals, "image": reals[:1], "label": (reals[1:] > 0).float()}
