"""The image-label pairs of a training run, which are read from existing stacks or sampled from a cohort's volumes.

A stack is a file of many pairs with a manifest, a JSON file that describes the pairs. An item is the entry of one scan
in cohort.json; see `tofgan_monai.volumes.cohort`.
"""

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
    """Data set of the pairs in the stacks `pairs`; without `pairs`, data set of pairs sampled from a cohort's volumes.

    Sampled pairs are kept in the stack `cache`. Later runs use this stack again if the content of the volumes and the
    transforms have not changed; otherwise the pairs are sampled again.

    Args:
        dataset_dir: the prepared folder (or its cohort.json) whose volumes are sampled, or a list of items.
        transform: function from an item of the cohort to a list of patches; it reads the volumes, and its last step is
            `VesselPatchesd`.
        cache: the `.npy` file for the sampled pairs.
        split: the split whose volumes are sampled, `training`, `validation` or `test`; ignored if `dataset_dir` is a
            list, whose items are all sampled.
        pairs: the path of an existing stack, or several such paths; if given, `dataset_dir` and `cache` are ignored.

    Raises:
        InputError: the folder or a stack does not exist, a volume has too few vessel voxels, or `cache` is a stack that
            this class did not write.
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
            with first_goes_ahead():  # rank 0 samples, and the other ranks read its stack
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
    """Writes a stack with the patches of all items, and returns the stack's manifest; one volume at a time is loaded.

    The manifest states the kind of the data, and the versions of the simulation if all is simulated. For each volume,
    it states the patient (an index in the order of the items), the numbers of patches, the spacing, the padding, and a
    digest of the image's voxels. From the digests an audit sees whether two stacks come from the same volumes. The
    manifest contains no name, path or date. But a person who has a scan can compute its digest and see whether the scan
    is in the stack. So keep the manifest as private as the stack of real pairs.

    Args:
        items: items of a cohort; see `tofgan_monai.volumes.cohort.read_cohort`.
        transform: function from an item to the list of its patches; all lists must have the same length.
        output: the `.npy` file of the stack.
        manifest: further entries of the manifest; without an entry `fingerprint`, the fingerprint is computed.

    Raises:
        InputError: there are no items, a volume cannot be read, or a volume has too few vessel voxels. The message
            lists the problems of all items.
    """
    if not items:
        split = (manifest or {}).get("split", "chosen")
        remedy = "give it patients with `tofgan check --counts`"
        raise InputError(f"{output}: the {split} split of the cohort has no volumes to sample; {remedy}")
    patients = {patient: index for index, patient in enumerate(dict.fromkeys(map(_patient_of, items)))}
    volumes: list[dict[str, Any]] = []
    kind = "simulated" if all(kind_of(item) == "simulated" for item in items) else "real"
    versions = sorted({item.get("simulation", 1) for item in items})
    described: dict[str, Any] = {
        "kind": kind,
        **({"simulation": versions} if kind == "simulated" else {}),
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
    """Returns 64 hexadecimal digits that identify the content and order of volumes, and the transform's parameters.

    Args:
        items: items of a cohort, whose files are read.
        transform: the transform that samples the volumes; see `parameters`.
    """
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
    """Yields each item with the list of its patches; if the transform fails, adds its problems to `problems` instead.

    Raises:
        InputError: the transform does not return a list of patches.
    """
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
            raise InputError("the transforms of a PairSource return no list of patches; add VesselPatchesd as the last")
        yield item, patches


def _as_pairs(patches: Patches) -> np.ndarray:
    return np.stack([np.concatenate([p[CommonKeys.IMAGE], p[CommonKeys.LABEL]]) for p in patches])


def _description(patches: Patches) -> dict[str, Any]:
    """Returns the manifest entries for one volume: `n_vessel`, `n_random`, `spacing_mm` and `padded`."""
    n_vessel = sum(bool(patch.get("vessel_centred")) for patch in patches)
    spacing = [round(float(edge), 4) for edge in patches[0].get("spacing_mm", ())]
    padded = bool(patches[0].get("padded", False))
    return {"n_vessel": n_vessel, "n_random": len(patches) - n_vessel, "spacing_mm": spacing, "padded": padded}


def _patient_of(item: Item) -> str:
    return str(item.get("patient") or item.get("subject") or item.get(CommonKeys.IMAGE))


def _is_current(cache: Path, expected: str) -> bool:
    """Whether the stack `cache` exists and has the expected fingerprint; if not, the pairs must be sampled.

    Raises:
        InputError: the stack has no fingerprint.
    """
    if not cache.exists():
        return False
    found = read_manifest(cache).get("fingerprint")
    if found is None:
        problem = f"{cache} holds a stack that no training run has sampled"
        raise InputError(f"{problem}; move this stack, or pass its path as `pairs`")
    if found != expected:
        _logger.warning("%s: the volumes or the transforms have changed; the pairs are sampled again", cache)
    return found == expected


def parameters(transform: Any) -> Any:
    """Returns the class name of a transform or loss, its plain attributes, and the same for its nested parts.

    For a Compose, returns a list with the description of each transform.
    """
    if isinstance(transform, Compose):
        return [parameters(t) for t in transform.transforms]
    values = {key: value for key, value in sorted(vars(transform).items()) if not key.startswith("_")}
    plain = {
        key: repr(value) for key, value in values.items() if isinstance(value, str | int | float | tuple | list | None)
    }
    parts = dict(transform.named_children()) if isinstance(transform, nn.Module) else values
    nested = {key: parameters(value) for key, value in parts.items() if isinstance(value, Transform | nn.Module)}
    return [type(transform).__qualname__, plain, nested]
