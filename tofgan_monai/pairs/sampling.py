"""Where the pairs of a training come from: existing stacks, or the volumes of a cohort sampled into a stack."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Compose, Transform
from monai.utils import CommonKeys
from torch import nn
from tqdm import tqdm

from tofgan_monai.errors import InputError, unwrapped
from tofgan_monai.pairs.stack import PairDataset, StackWriter, open_stack, read_manifest
from tofgan_monai.ranks import first_goes_ahead
from tofgan_monai.volumes.cohort import FILES, read_cohort
from tofgan_monai.volumes.digests import content_digest, voxels_digest
from tofgan_monai.volumes.kinds import kind_of

Item = Mapping[str, Any]
Patches = list[dict[str, Any]]

_logger = logging.getLogger(__name__)


class PairSource(PairDataset):
    """The pairs of the stacks in `pairs`, or, if there are none, pairs sampled from the volumes of a cohort.

    Sampled pairs are kept in the stack `cache`, with its manifest. It is used again as long as the content of the
    volumes and the transforms stay the same; otherwise the pairs are sampled anew.

    Args:
        dataset_dir: the prepared folder (or its cohort.json) whose volumes are sampled, or a list of items.
        transform: from an item of the cohort to a list of patches; it loads the volumes and ends in `VesselPatchesd`.
        cache: the `.npy` that keeps the sampled pairs.
        split: the split whose volumes are sampled: `training`, `validation`, `test`; of a list all items are sampled.
        pairs: one or several existing stacks; if given, neither `dataset_dir` nor `cache` is looked at.

    Raises:
        InputError: no such folder or stack, too few vessel voxels, or `cache` is a stack that was not sampled.
    """

    def __init__(
        self,
        dataset_dir: str | os.PathLike | Sequence[Item],
        transform: Callable[[Item], Patches],
        cache: str | os.PathLike,
        *,
        split: str = "training",
        pairs: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    ) -> None:
        if not pairs:
            items = read_cohort(dataset_dir, split) if isinstance(dataset_dir, str | os.PathLike) else dataset_dir
            with first_goes_ahead():  # the first rank samples, and the others find what it has made
                expected = fingerprint(items, transform)
                if not _is_current(Path(cache), expected):
                    sample_pairs(items, transform, cache, manifest={"split": split, "fingerprint": expected})
            pairs = cache
        super().__init__(pairs)


def sample_pairs(
    items: Sequence[Item],
    transform: Callable[[Item], Patches],
    output: str | os.PathLike,
    *,
    manifest: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes a stack with the patches of all items and returns its manifest; one volume at a time is in memory.

    The manifest tells the kind of the data and, for each volume, its patient (an index in the order of the items), its
    numbers of patches, spacing and padding, and a digest of the image's voxels, by which an audit sees that two stacks
    are of the same volumes. It holds no name, path or date. But whoever has a scan can find out by the digest whether
    the scan is in the stack, so the manifest must stay where the stack of real pairs is.

    Args:
        items: of a cohort; see `tofgan_monai.volumes.cohort.read_cohort`.
        transform: from an item to its patches, the same number for each item.
        output: the stack's `.npy`.
        manifest: further entries of the manifest; `fingerprint` is computed if it is not among them.

    Raises:
        InputError: no items, a volume that cannot be read, too few vessel voxels (for all items in one error).
    """
    if not items:
        raise InputError(f"{output}: the cohort has no volumes to sample; look at the splits in its cohort.json")
    patients = {patient: index for index, patient in enumerate(dict.fromkeys(map(_patient_of, items)))}
    volumes: list[dict[str, Any]] = []
    described: dict[str, Any] = {
        "kind": "simulated" if all(kind_of(item) == "simulated" for item in items) else "real",
        **(manifest or {}),
        "volumes": volumes,
    }
    if "fingerprint" not in described:
        described["fingerprint"] = fingerprint(items, transform)
    problems: list[str] = []
    sampled = _sampled(items, transform, problems)
    first = next(sampled, None)
    if first is None:
        raise InputError(problems)
    with StackWriter(output, len(items) * len(first[1]), described) as stack:
        for item, patches in chain([first], sampled):
            if not problems:  # after the first problem, the remaining items are only searched for further problems
                stack.append(_as_pairs(patches))
                patient = patients[_patient_of(item)]
                volumes.append({"patient": patient, **_description(patches), "voxels": voxels_digest(item["image"])})
        if problems:
            raise InputError(problems)
    return open_stack(output)[1]


def fingerprint(items: Sequence[Item], transform: Any) -> str:
    """64 hexadecimal digits that change with a volume's content, the order of the items, or a transform's parameter."""
    digest = hashlib.sha256(json.dumps(parameters(transform)).encode())
    for item in items:
        digest.update(_patient_of(item).encode() + str(item.get("subject", "")).encode())
        for key in FILES:
            if item.get(key):
                digest.update(f"{key}{content_digest(item[key])}".encode())
        digest.update(json.dumps(item.get("label_values")).encode())
    return digest.hexdigest()


def _sampled(
    items: Sequence[Item], transform: Callable[[Item], Patches], problems: list[str]
) -> Iterator[tuple[Item, Patches]]:
    """Each item with its patches; the problems of items that have none are added to `problems`."""
    for item in tqdm(items, desc="sampling", unit="volume", disable=None):
        try:
            patches = transform(item)
        except (RuntimeError, InputError) as error:
            cause = unwrapped(error)
            if not isinstance(cause, InputError):
                raise
            problems += cause.problems
            continue
        if not isinstance(patches, list) or not patches:
            raise InputError("the transforms of a PairSource must end in a list of patches: add VesselPatchesd")
        yield item, patches


def _as_pairs(patches: Patches) -> np.ndarray:
    return np.stack([np.concatenate([p[CommonKeys.IMAGE], p[CommonKeys.LABEL]]) for p in patches])


def _description(patches: Patches) -> dict[str, Any]:
    """What the manifest tells of one volume: how many patches of which sort, the spacing in mm, padded or not."""
    n_vessel = sum(bool(patch.get("vessel_centred")) for patch in patches)
    spacing = [round(float(edge), 4) for edge in patches[0].get("spacing_mm", ())]
    padded = bool(patches[0].get("padded", False))
    return {"n_vessel": n_vessel, "n_random": len(patches) - n_vessel, "spacing_mm": spacing, "padded": padded}


def _patient_of(item: Item) -> str:
    return str(item.get("patient") or item.get("subject") or item.get(CommonKeys.IMAGE))


def _is_current(cache: Path, expected: str) -> bool:
    """True if `cache` holds the pairs of this fingerprint, False if they must be sampled (again)."""
    if not cache.exists():
        return False
    found = read_manifest(cache).get("fingerprint")
    if found is None:
        raise InputError(f"{cache}: holds a stack that was not sampled by a training; move it, or pass it as `pairs`")
    if found != expected:
        _logger.warning("%s: the volumes or the transforms have changed; the pairs are sampled anew", cache)
    return found == expected


def parameters(transform: Any) -> Any:
    """The name of a transform or of a loss and the plain values it was built with, nested as its parts are."""
    if isinstance(transform, Compose):
        return [parameters(t) for t in transform.transforms]
    values = {key: value for key, value in sorted(vars(transform).items()) if not key.startswith("_")}
    plain = {
        key: repr(value) for key, value in values.items() if isinstance(value, str | int | float | tuple | list | None)
    }
    parts = dict(transform.named_children()) if isinstance(transform, nn.Module) else values
    nested = {key: parameters(value) for key, value in parts.items() if isinstance(value, Transform | nn.Module)}
    return [type(transform).__qualname__, plain, nested]
