"""Where the pairs of a training come from: a cohort of volumes, sampled into a stack, or stacks that are there."""

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
from tofgan_monai.pairs.stack import PairDataset, StackWriter, manifest_path
from tofgan_monai.ranks import first_goes_ahead
from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.digests import content_digest, voxels_digest, why_unreadable

Item = Mapping[str, Any]
Patches = list[dict[str, Any]]

_logger = logging.getLogger(__name__)
_PATHS = ("image", "label", "mask")


class PairSource(PairDataset):
    """The pairs of stacks where `pairs` names some, else those sampled from the volumes of a cohort.

    Sampled pairs are kept in the stack `cache`, with its manifest. It is used again as long as the volumes and the
    transforms are the same, by content, and sampled anew when they are not.

    Args:
        dataset_dir: the prepared folder (or the cohort.json) whose volumes are sampled, or a list of items.
        transform: from an item of the cohort to a list of patches: loading ... `VesselPatchesd`.
        cache: the `.npy` to keep the pairs in.
        split: whose volumes: `training`, `validation`, `test`; of a list all are taken.
        pairs: a stack or several to take instead; then neither `dataset_dir` nor `cache` is looked at.

    Raises:
        InputError: no such folder or stack, too few vessel voxels, or `cache` is a stack from elsewhere.
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
            with first_goes_ahead():  # of several ranks it samples, and the others find what it has made
                if not _is_current(Path(cache), fingerprint(items, transform)):
                    sample_pairs(items, transform, cache, manifest={"split": split})
            pairs = cache
        super().__init__(pairs)


def sample_pairs(
    items: Sequence[Item],
    transform: Callable[[Item], Patches],
    output: str | os.PathLike,
    *,
    manifest: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of the stack at `output` that holds every item's patches; one volume at a time is in memory.

    The manifest says of each pair which patient it is from, by an index in the order of the items, and of each volume
    its patches, spacing, padding and a digest of its image's voxels, by which an audit sees that two stacks are of the
    same volumes. Nothing in it is a name, a path or a date; but whoever holds a scan could tell by its digest whether
    it is in the stack, so the manifest stays where the stack of real pairs does.

    Args:
        items: of a cohort; see `tofgan_monai.volumes.cohort.read_cohort`.
        transform: from an item to its patches, the same number for each item.
        output: the stack's `.npy`.
        manifest: more to say in the manifest.

    Raises:
        InputError: no items, a volume that cannot be read, too few vessel voxels (of all items, in one error).
    """
    if not items:
        raise InputError(f"{output}: the cohort has no volumes to sample; look at the splits in its cohort.json")
    patients = {patient: index for index, patient in enumerate(dict.fromkeys(map(_patient_of, items)))}
    volumes: list[dict[str, Any]] = []
    described: dict[str, Any] = {
        "kind": "real",
        **({"simulated": True} if all(item.get("simulated") for item in items) else {}),
        **(manifest or {}),
        "fingerprint": fingerprint(items, transform),
        "volumes": volumes,
        "patient_of_pair": [],
    }
    problems: list[str] = []
    sampled = _sampled(items, transform, problems)
    first = next(sampled, None)
    if first is None:
        raise InputError(problems)
    with StackWriter(output, len(items) * len(first[1]), described) as stack:
        for item, patches in chain([first], sampled):
            if not problems:  # after the first problem the others are only looked for
                stack.append(_as_pairs(patches))
            patient = patients[_patient_of(item)]
            volumes.append({"patient": patient, **_description(patches), "voxels": voxels_digest(item["image"])})
            described["patient_of_pair"] += [patient] * len(patches)
        if problems:
            raise InputError(problems)
    return json.loads(manifest_path(output).read_text(encoding="utf-8"))


def fingerprint(items: Sequence[Item], transform: Any) -> str:
    """64 hexadecimal digits that change when the content of a volume, their order or a transform's parameter does."""
    digest = hashlib.sha256(json.dumps(parameters(transform)).encode())
    for item in items:
        digest.update(_patient_of(item).encode() + str(item.get("subject", "")).encode())
        for key in _PATHS:
            if item.get(key):
                digest.update(f"{key}{content_digest(item[key])}".encode())
    return digest.hexdigest()


def _sampled(
    items: Sequence[Item], transform: Callable[[Item], Patches], problems: list[str]
) -> Iterator[tuple[Item, Patches]]:
    """Each item with its patches; what is wrong with the others goes to `problems`."""
    for item in tqdm(items, desc="sampling", unit="volume", disable=None):
        try:
            patches = transform(item)
        except (RuntimeError, InputError) as error:
            problems += _input_problems(error, item)
            continue
        if not isinstance(patches, list) or not patches:
            raise InputError("the transforms of a PairSource must end in a list of patches: add VesselPatchesd")
        yield item, patches


def _input_problems(error: BaseException, item: Item) -> list[str]:
    """What the user can mend about an item; any other error goes on."""
    cause = unwrapped(error)
    if isinstance(cause, InputError):
        return cause.problems
    problems = [why_unreadable(item[key]) for key in _PATHS if item.get(key)]
    if not any(problems):
        raise error
    return [f"{item.get('subject', '')}: {problem}" for problem in problems if problem]


def _as_pairs(patches: Patches) -> np.ndarray:
    return np.stack([np.concatenate([p[CommonKeys.IMAGE], p[CommonKeys.LABEL]]) for p in patches])


def _description(patches: Patches) -> dict[str, Any]:
    """Of one volume: how many patches of which kind, spacing in mm, padded or not."""
    n_vessel = sum(bool(patch.get("vessel_centred")) for patch in patches)
    spacing = [round(float(edge), 4) for edge in patches[0].get("spacing_mm", ())]
    padded = bool(patches[0].get("padded", False))
    return {"n_vessel": n_vessel, "n_random": len(patches) - n_vessel, "spacing_mm": spacing, "padded": padded}


def _patient_of(item: Item) -> str:
    return str(item.get("patient") or item.get("subject") or item.get(CommonKeys.IMAGE))


def _is_current(cache: Path, expected: str) -> bool:
    """True where `cache` holds these very pairs, False where it must be made (again)."""
    if not cache.exists():
        return False
    try:
        manifest = json.loads(manifest_path(cache).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = {}
    if "fingerprint" not in manifest:
        raise InputError(
            f"{cache}: lies where the sampled pairs are kept, but was not sampled; move it, or pass it as `pairs`"
        )
    if manifest["fingerprint"] != expected:
        _logger.warning("%s: the volumes or the transforms have changed; sampling anew", cache)
    return manifest["fingerprint"] == expected


def parameters(transform: Any) -> Any:
    """The name of a transform, or a loss, and the plain values it was built with, nested as its parts are."""
    if isinstance(transform, Compose):
        return [parameters(t) for t in transform.transforms]
    values = {key: value for key, value in sorted(vars(transform).items()) if not key.startswith("_")}
    plain = {
        key: repr(value) for key, value in values.items() if isinstance(value, str | int | float | tuple | list | None)
    }
    parts = dict(transform.named_children()) if isinstance(transform, nn.Module) else values
    nested = {key: parameters(value) for key, value in parts.items() if isinstance(value, Transform | nn.Module)}
    return [type(transform).__qualname__, plain, nested]
