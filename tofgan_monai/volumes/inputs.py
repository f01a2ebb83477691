"""The scans that a user gives for segmentation: a file, a DICOM series, a folder of either, a BIDS tree or a cohort."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.checks import check_scan
from tofgan_monai.volumes.cohort import UNSPLIT, cohort_path, item_of, read_cohort, read_splits
from tofgan_monai.volumes.scans import Found, Scan, default_patient, find_images, is_dicom

logger = logging.getLogger(__name__)


class Chosen(NamedTuple):
    """Scans that can be segmented, and what is to be said about the others.

    Attributes:
        splits: dict from split to items of a cohort; "unsplit" alone if the input is no cohort.
        problems: one line for each problem; the scans with problems are not in `splits`.
        warnings: one line for each warning.
        n_refused: number of the scans with problems.
    """

    splits: dict[str, list[dict[str, Any]]]
    problems: list[str]
    warnings: list[str]
    n_refused: int


def is_cohort(path: str | os.PathLike) -> bool:
    """Whether a path is a cohort.json or the folder of one."""
    return cohort_path(path).is_file()


def choose_scans(path: str | os.PathLike, *, image: str | None = None, split: str = "all") -> Chosen:
    """Finds the scans of an input and checks their images by the rules of `check_scan`.

    The same scan under two names is a warning here.

    Args:
        path: a NIfTI file, the folder of a DICOM series, a folder of either, a BIDS tree, a cohort.json or its folder.
        image: pattern of the images below a folder; see `tofgan_monai.volumes.patterns`.
        split: the split of a cohort whose scans are chosen; "all" chooses all.

    Raises:
        InputError: there is no such path, no scan is found, or no scan is without a problem.
    """
    path = Path(os.path.abspath(path))
    if image is None and is_cohort(path):
        splits = read_splits(path) if split == "all" else {split: read_cohort(path, split)}
        found = Found([], [], [])
        items = {item["subject"]: item for members in splits.values() for item in members}
        scans = [Scan(name, item.get("patient", name), Path(item["image"])) for name, item in items.items()]
        folder = cohort_path(path).parent
    else:
        found = _found(path, image)
        scans, folder = found.scans, path if path.is_dir() else path.parent
        splits, items = {}, {}
    problems, warnings = [*found.problems], [*found.warnings]
    refused: set[str] = set()
    seen: dict[str, str] = {}
    for done, scan in enumerate(scans, start=1):
        findings = check_scan(scan, folder=folder)
        problems += findings.problems
        warnings += findings.warnings
        if findings.problems:
            refused.add(scan.subject)
        else:
            items.setdefault(scan.subject, item_of(scan, findings.black, {}))
            twin = seen.setdefault(str(findings.digest), scan.subject)
            if twin != scan.subject:
                warnings.append(f"{scan.subject}: the same scan as {twin}")
        logger.info("%d of %d scans checked", done, len(scans))
    if len(refused) == len(scans):
        raise InputError(problems or [f"{path}: the cohort has no scan; give another one"])
    splits = splits or {UNSPLIT: list(items.values())}
    kept = {name: [item for item in members if item["subject"] not in refused] for name, members in splits.items()}
    return Chosen(kept, problems, warnings, len(refused) + len(found.problems))


def _found(path: Path, image: str | None) -> Found:
    if path.is_dir() and (image is not None or not any(is_dicom(one) for one in path.iterdir() if one.is_file())):
        return find_images(path, image=image)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a NIfTI file, the folder of a DICOM series, or a folder of them")
    name = re.sub(r"(?i)\.nii(\.gz)?$", "", path.name)
    if path.is_file() and name == path.name:
        raise InputError(
            f"{path} is no NIfTI file (.nii, .nii.gz); convert it to NIfTI, or give the folder of a DICOM series"
        )
    return Found([Scan(name, default_patient(name), path)], [], [])
