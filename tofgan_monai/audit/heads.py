"""Reader of the data for an audit of a 3D segmentation network: folders of whole heads instead of stacks of pairs.

The audit cuts windows from each head as the training does. A window takes the place that a pair has in an audit of a 2D
network. Members are the training patients, non-members are held-out patients, references are further patients.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.attacks.canary import Repeated
from tofgan_monai.audit.cohorts import Cohort, Cohorts
from tofgan_monai.audit.target import SegmentationTarget, Target
from tofgan_monai.bundle_runs.runs import read_configs
from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import normalise_patch
from tofgan_monai.segmentation.heads import HeadSource
from tofgan_monai.segmentation.windows import FixedWindows, RandHeadWindow
from tofgan_monai.volumes.cohort import UNSPLIT, read_cohort, read_splits
from tofgan_monai.volumes.digests import voxels_digest
from tofgan_monai.volumes.kinds import kind_of
from tofgan_monai.volumes.reading import IMAGE

Item = Mapping[str, Any]
SPLITS = {"members": "training", "non-members": "test", "references": "validation"}


@dataclass(frozen=True)
class HeadReader:
    """Reads cohorts of heads as the training of one bundle does.

    Attributes:
        reading: transform that reads the volumes of a head.
        window: transform that cuts a random window from a head.
        cache: folder in which the heads are kept as plain arrays.
    """

    reading: Callable[[Item], Mapping[Any, Any]]
    window: RandHeadWindow
    cache: Path

    @property
    def drawn(self) -> list[Any]:
        """How windows are drawn, as JSON data: size, share of vessel-centred windows, share of stripped windows."""
        return [list(self.window.size), self.window.vessel_share, self.window.strip_share]

    def cohorts(
        self,
        members: str | os.PathLike,
        non_members: str | os.PathLike,
        references: str | os.PathLike,
        *,
        windows_per_patient: int,
    ) -> Cohorts:
        """Reads the three cohorts of an audit, and checks that no two of them share a volume.

        One folder may be given for all three. The check cannot recognise two scans of the same patient, because the
        voxels of two scans differ.

        Args:
            members: folder (or its cohort.json) whose split `training` has the members.
            non_members: folder whose split `test` has the non-members.
            references: folder whose split `validation` has the references. All scans of a folder without splits are
                taken.
            windows_per_patient: number of windows to cut from the heads of each patient.

        Raises:
            InputError: a cohort cannot be read, lacks the split or a label or has one patient only; or two cohorts
                share a volume.
        """
        paths = {"members": Path(members), "non-members": Path(non_members), "references": Path(references)}
        items, problems = {}, []
        for name, path in paths.items():
            try:
                items[name] = _items(path, SPLITS[name])
            except InputError as error:
                problems += [f"{problem} ({name})" for problem in error.problems]
        volumes = {name: frozenset(voxels_digest(item[IMAGE]) for item in found) for name, found in items.items()}
        for name, other in combinations(volumes, 2):
            if n := len(volumes[name] & volumes[other]):
                problems.append(
                    f"{paths[name]} and {paths[other]} share {n} volume{'s' * (n > 1)}, but {name} and {other} must be "
                    "different patients; give other patients"
                )
        if problems:
            raise InputError(problems)
        return Cohorts(*(self._cohort(items[name], volumes[name], windows_per_patient) for name in paths))

    def canary(self, path: Path, members: Cohort) -> Repeated:
        """Reads a cohort in which one patient's scans are repeated; see `plant_head_canary`.

        Args:
            path: folder of the cohort, or its cohort.json.
            members: the members of the audit; the cohort must have these patients and no others.

        Raises:
            InputError: no patient or several patients are repeated, or the other patients are not the members.
        """
        items = read_cohort(path, SPLITS["members"])
        once = list({item[IMAGE]: item for item in items}.values())
        times = Counter(map(_patient_of, items))
        scans = Counter(map(_patient_of, once))
        repeated = {patient: n // scans[patient] for patient, n in times.items() if n > scans[patient]}
        if len(repeated) != 1 or self._source(once).digest != members.digest:
            raise InputError(
                f"{path}: the cohort holds no canary of the members' cohort; make it from the members' cohort "
                "(`tofgan canary`)"
            )
        ((patient, n),) = repeated.items()
        return Repeated(self._source(items).digest, _patients(_asked(once)).index(patient), n)

    def _source(self, items: Sequence[Item]) -> HeadSource:
        return HeadSource(items, self.reading, self.cache)

    def _cohort(self, items: Sequence[Item], volumes: frozenset[str], n: int) -> Cohort:
        """Returns a cohort with `n` windows of each patient; see `_asked`."""
        asked = _asked(items)
        patients = _patients(asked)
        windows = [self._windows([item for item in asked if _patient_of(item) == one], n) for one in patients]
        indices = np.repeat(np.arange(len(patients)), n)
        return Cohort(np.concatenate(windows), indices, kind_of(asked[0]), self._source(items).digest, volumes)

    def _windows(self, items: Sequence[Item], n: int) -> np.ndarray:
        """Cuts `n` windows from one patient's heads, which take turns; returns them as (n, 2, X, Y, Z) in float16."""
        drawn = FixedWindows(self._source(items), self.window, n)
        cut = [drawn[index] for index in range(n)]
        pairs = [(window["image"][0].numpy(), window["label"][0].numpy()) for window in cut]
        scaled = [normalise_patch(image.reshape(1, -1)).reshape(image.shape) for image, _ in pairs]
        labels = [2 * label - 1 for _, label in pairs]
        return np.stack([np.stack(scaled), np.stack(labels)], axis=1).astype(np.float16)


def head_reader(target: Target, cache: Path) -> HeadReader | None:
    """Returns the reader of heads for an audit of a 3D segmentation network; None for any other target.

    Args:
        target: the audited stack, generator or segmentation network.
        cache: folder in which the heads will be kept as plain arrays.

    Raises:
        InputError: the train.yaml of the target's bundle does not tell how heads are read and how windows are cut.
    """
    is_3d = isinstance(target, SegmentationTarget) and any(part.ndim == 5 for part in target.network.parameters())
    if not isinstance(target, SegmentationTarget) or not is_3d:
        return None
    path = target.bundle / "configs" / "train.yaml"
    try:
        parser = read_configs(target.bundle, ["train.yaml"])
        window = RandHeadWindow(parser["window"], parser["vessel_share"], parser["strip_share"])
        return HeadReader(parser.get_parsed_content("reading"), window, cache)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: cannot be read as the training of a 3D network ({error}); an audit needs its reading, window, "
            "vessel_share and strip_share"
        ) from error


def _items(path: Path, split: str) -> list[dict[str, Any]]:
    """Returns the labelled scans of a split of a cohort, or all its scans if the cohort has no splits."""
    items = read_cohort(path, UNSPLIT if [*read_splits(path)] == [UNSPLIT] else split, labelled=True)
    if (n := len(_patients(_asked(items)))) < 2:
        raise InputError(f"{path}: the cohort has {n} patients in {split}; give two or more")
    return items


def _asked(items: Sequence[Item]) -> list[Item]:
    """Returns the scans of real patients; or all scans if all heads are simulated, as in a trial."""
    return [item for item in items if kind_of(item) == "real"] or list(items)


def _patients(items: Sequence[Item]) -> list[str]:
    """Returns the names of the patients in the order of their first scans."""
    return list(dict.fromkeys(map(_patient_of, items)))


def _patient_of(item: Item) -> str:
    return str(item.get("patient", item[IMAGE]))
