"""The heads that a 3D network is trained on: a cohort's scans, simulated heads, or both, kept ready for fast access.

A head is the volume of one scan with its vessel label and, if there is one, its brain mask.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, WeightedRandomSampler
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.pairs.sampling import fingerprint
from tofgan_monai.phantom import SEEDS, head_name, write_heads
from tofgan_monai.phantom.sources import VERSION
from tofgan_monai.ranks import first_goes_ahead
from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.kinds import KINDS, kind_of
from tofgan_monai.volumes.reading import IMAGE, LABEL, MASK
from tofgan_monai.volumes.transforms.air import head_blocks, tissue_level
from tofgan_monai.volumes.volume import simulation_version

Item = Mapping[str, Any]

_logger = logging.getLogger(__name__)
_VESSEL, _BRAIN = 1, 2
_FORMAT = 1
MAX_SIMULATED = 1000
"""Most simulated heads of a split; each takes 20 MB on the disk."""


def simulated_items(
    folder: str | os.PathLike,
    n: int,
    *,
    split: str = "training",
    source: str = "C",
    small: bool = False,
    workers: int = 1,
) -> list[dict[str, Any]]:
    """Simulates the heads that are missing in a folder, and returns the items of `n` heads, as in a cohort.

    The seeds are those that are reserved for the training of weights: the first ones for training, the last ones for
    validation. So more training heads do not change the validation heads.

    Args:
        folder: folder in which each head has a folder of its own.
        n: number of heads, at most `MAX_SIMULATED`.
        split: "training" or "validation".
        source: simulated site, "A", "B" or "C".
        small: whether the heads are cropped (see `simulate_head`); these are kept in the subfolder `small`.
        workers: number of processes that simulate heads at the same time, at most one for each processor.

    Raises:
        InputError: there are too many heads, the source is unknown, the folder is not writable, or it holds heads of
            another version of the simulation.
    """
    if not 0 <= n <= MAX_SIMULATED:
        raise InputError(f"{n} simulated heads for {split} were requested; give 0 to {MAX_SIMULATED}")
    seeds, folder = SEEDS["weights"], Path(os.path.abspath(folder)) / ("small" if small else "")
    chosen = seeds[:n] if split == "training" else seeds[len(seeds) - n :]
    with first_goes_ahead():  # rank 0 simulates, and the other ranks find the heads
        missing = [seed for seed in chosen if not (folder / head_name(source, seed) / "image.nii.gz").exists()]
        if missing:
            _logger.info("%s: %d of %d heads are simulated now", folder, len(missing), n)
            write_heads(folder, source, missing, small=small, workers=min(workers, os.cpu_count() or 1))
    items = []
    for seed in chosen:
        name = head_name(source, seed)
        files = {key: os.fspath(folder / name / f"{key}.nii.gz") for key in (IMAGE, LABEL, MASK)}
        version = simulation_version(files[IMAGE])
        if version != VERSION:
            problem = f"was made by version {version} of the simulation, and this is version {VERSION}"
            raise InputError(f"{files[IMAGE]} {problem}; give another folder for simulated heads")
        items.append({"subject": name, "patient": name, "kind": "simulated", "simulation": version, **files})
    return items


@dataclass(frozen=True)
class StoredHead:
    """A head as arrays on the disk, of which only the parts that are used are read.

    Attributes:
        image: (X, Y, Z) in RAS order, int16 or float32.
        marks: (X, Y, Z), uint8; 1 is added in a vessel, 2 in the brain.
        vessels: flat indices of the vessel voxels.
        blocks: bool, the blocks that hold more than air; see `head_blocks`.
        black: the smallest intensity of the image.
        has_mask: whether the scan has a brain mask.
    """

    image: np.ndarray
    marks: np.ndarray
    vessels: np.ndarray
    blocks: np.ndarray
    black: float
    has_mask: bool


class HeadSource(Dataset):
    """Data set of heads, each item a `StoredHead`: the scans of a cohort's split, simulated heads, or both.

    Each head is read once and kept as plain arrays in the folder `cache`, from which windows are cut in milliseconds.
    A head is read again if the content of its files or the transform has changed. The attribute `digest` identifies the
    heads and the transform: 16 hexadecimal digits for the cohort's scans, 16 for `simulated`, and a plus sign between
    them if there are both. The attribute `provenance` lists the kinds of data with the numbers of patients; `n_own` is
    the number of the cohort's scans, which are the first items.

    Args:
        dataset_dir: the folder of a cohort (or its cohort.json), a list of items, or None.
        transform: function from an item of the cohort to the volumes `image`, `label` and, if the item has one, `mask`,
            each (1, X, Y, Z) in RAS order.
        cache: the folder for the arrays; several training runs may share it.
        split: the split of the cohort, `training`, `validation` or `test`; ignored if `dataset_dir` is a list.
        simulated: items of simulated heads, which are added; see `simulated_items`.

    Raises:
        InputError: there is no head, a scan has no label, or a scan cannot be read.
    """

    def __init__(
        self,
        dataset_dir: str | os.PathLike | Sequence[Item] | None,
        transform: Callable[[Item], Mapping[Any, Any]],
        cache: str | os.PathLike,
        *,
        split: str = "training",
        simulated: Sequence[Item] = (),
    ) -> None:
        given = [] if dataset_dir is None else dataset_dir
        own = read_cohort(given, split, labelled=True) if isinstance(given, str | os.PathLike) else list(given)
        items = [*own, *simulated]
        if not items:
            raise InputError(f"there is no head for {split}; give a dataset_dir with this split, or simulated heads")
        with first_goes_ahead():  # rank 0 reads the scans, and the other ranks find the arrays
            names = [fingerprint([item], transform) for item in items]
            folders = [Path(cache) / f"{_FORMAT}-{name[:32]}" for name in names]
            new = {folder: item for item, folder in zip(items, folders, strict=True) if not folder.exists()}
            for folder, item in tqdm(new.items(), "reading", unit="head", disable=None if new else True):
                _store(transform(item), folder)
        self.heads, self.n_own = [_opened(folder) for folder in folders], len(own)
        groups = (names[: len(own)], names[len(own) :])
        self.digest = "+".join(hashlib.sha256("".join(group).encode()).hexdigest()[:16] for group in groups if group)
        self.provenance = _provenance(items)

    def __len__(self) -> int:
        return len(self.heads)

    def __getitem__(self, index: int) -> StoredHead:
        return self.heads[index]


class HeadSampler(WeightedRandomSampler):
    """Sampler that draws heads with replacement, a share of them from the simulated heads that were added to a cohort.

    Args:
        heads: the heads.
        num_samples: number of heads that are drawn in an epoch.
        simulated_share: expected share of the added heads, if there are both these and a cohort's scans (which may be
            simulated, too). None draws all heads equally often.
    """

    def __init__(self, heads: HeadSource, num_samples: int, simulated_share: float | None = None) -> None:
        n_own, n_added = heads.n_own, len(heads) - heads.n_own
        weights = [1.0] * len(heads)
        if simulated_share is not None and n_own and n_added:
            weights = [(1 - simulated_share) / n_own] * n_own + [simulated_share / n_added] * n_added
        super().__init__(weights, num_samples)


def _provenance(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Returns the kinds of data among items, each with its number of patients, and the versions of the simulation."""
    patients = Counter(kind for kind, _ in {(kind_of(item), item.get("patient", item[IMAGE])) for item in items})
    versions = sorted({item.get("simulation", 1) for item in items if kind_of(item) == "simulated"})
    more = {"simulated": {"simulation": versions}}
    return [{"kind": kind, "patients": patients[kind], **more.get(kind, {})} for kind in KINDS if patients[kind]]


def _store(volumes: Mapping[Any, Any], folder: Path) -> None:
    """Writes the arrays of a head into a folder, which then exists whole or not at all."""
    image, label = (np.asarray(volumes[key][0]) for key in (IMAGE, LABEL))
    mask = volumes.get(MASK)
    marks = _VESSEL * (label > 0).astype(np.uint8)
    if mask is not None:
        marks += _BRAIN * (np.asarray(mask[0]) > 0).astype(np.uint8)
    whole = image.astype(np.int16) if np.abs(image).max() < 2**15 else image
    black = float(image.min())
    volume = torch.as_tensor(image)[None, None]
    arrays = {
        "image": whole if (whole == image).all() else image,
        "marks": marks,
        "vessels": np.flatnonzero(label > 0).astype(np.int32),
        "blocks": head_blocks(volume, black, tissue_level(volume, black))[0, 0].numpy(),
    }
    with written_whole(folder) as temporary:
        temporary.mkdir(exist_ok=True)
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", np.ascontiguousarray(array))
        told = {"black": black, "has_mask": mask is not None}
        (temporary / "head.json").write_text(json.dumps(told), encoding="utf-8")


def _opened(folder: Path) -> StoredHead:
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("image", "marks", "vessels")}
    told = json.loads((folder / "head.json").read_text("utf-8"))
    return StoredHead(**arrays, **told, blocks=np.load(folder / "blocks.npy"))
