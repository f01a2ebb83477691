"""A cohort: every volume of a folder validated, split by patient, listed in cohort.json.

cohort.json is a MONAI datalist, `{"format": 1, "training": [...], "validation": [...], "test": [...]}`, or with
`"unsplit"` alone. An item has `subject`, `patient`, `image` and, where there are any, `label`, `mask` and
`label_values` (a mapping for `binary_label`). Paths are relative to the folder of cohort.json where
they lie below it. It holds patients' names as the files have them: it stays where the volumes stay.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_json
from tofgan_monai.volumes.checks import check_scan
from tofgan_monai.volumes.scans import Scan, find_scans
from tofgan_monai.volumes.splits import (
    SPLITS,
    Split,
    split_by_counts,
    split_by_fractions,
    split_by_lists,
    with_patients,
)
from tofgan_monai.volumes.volume import is_simulated, parse_label_values

FRACTIONS = (0.6, 0.15, 0.25)
UNSPLIT = "unsplit"

_FILES = ("image", "label", "mask")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """What `check_cohort` wrote: the file, scans and patients per split, and what was odd without being wrong."""

    path: Path
    n_scans: dict[str, int]
    n_patients: dict[str, int]
    warnings: list[str] = field(default_factory=list)


def check_cohort(
    folder: str | os.PathLike,
    output: str | os.PathLike,
    *,
    image: str | None = None,
    label: str | None = None,
    mask: str | None = None,
    label_values: str | Sequence[str] = (),
    patient_pattern: str | None = None,
    n_vessel: int = 500,
    seed: int = 0,
    fractions: Sequence[float] | None = None,
    counts: Sequence[int] | None = None,
    training: str | os.PathLike | Sequence[str] | None = None,
    validation: str | os.PathLike | Sequence[str] | None = None,
    test: str | os.PathLike | Sequence[str] | None = None,
    no_split: bool = False,
) -> Report:
    """Writes cohort.json when every volume below the folder is fit for use.

    Args:
        folder: holds the subjects, in plain folders, a BIDS tree or DICOM series.
        output: cohort.json, or the folder it shall lie in.
        image: pattern of the images, such as `{subject}_tof.nii.gz`; see `tofgan_monai.volumes.scans`.
        label: pattern of the vessel labels.
        mask: pattern of the brain masks.
        label_values: which values of the labels are vessels, such as `255=1`; see `parse_label_values`.
        patient_pattern: tells the patient from a subject's name; see `with_patients`.
        n_vessel: vessel-centred patches that each training and validation scan must be able to give.
        seed: of the shuffling before the split.
        fractions: of the patients, for training, validation and test; 0.6, 0.15, 0.25 if nothing else is given.
        counts: of patients, instead of fractions.
        training: patients, instead of both: names, names with commas between, or a file of them; see `split_by_lists`.
        validation: likewise.
        test: likewise.
        no_split: list the scans under "unsplit", with a label or without: a folder that is only to be segmented.

    Raises:
        InputError: everything that is wrong, by subject and file; nothing has been written then.
    """
    folder = Path(os.path.abspath(folder))
    mapping = parse_label_values(label_values)
    found = find_scans(folder, image=image, label=label, mask=mask)
    scans = with_patients(found.scans, folder, patient_pattern=patient_pattern)
    lists = {"training": training, "validation": validation, "test": test}
    if no_split:
        split = Split({UNSPLIT: scans}, [], [])
    else:
        split = _split(
            scans, seed, fractions, counts, {name: given for name, given in lists.items() if given is not None}
        )
    used = [(name, scan) for name, members in split.scans.items() for scan in members]
    missing_labels, missing = _missing_files([scan for _, scan in used], folder, needs_labels=not no_split)
    problems = [*found.problems, *split.problems, *missing_labels]
    warnings = [*found.warnings, *split.warnings, *missing]
    seen: dict[str, Scan] = {}
    for done, (name, scan) in enumerate(sorted(used, key=lambda pair: pair[1].subject), start=1):
        n_patches = n_vessel if name in ("training", "validation") else 0
        findings = check_scan(scan, folder=folder, label_values=mapping, n_vessel=n_patches)
        problems += findings.problems
        warnings += findings.warnings
        if findings.digest:
            twin = seen.setdefault(findings.digest, scan)
            if twin is not scan:
                problems.append(
                    f"{scan.subject}: {_shown(scan.image, folder)}: the same scan as {_shown(twin.image, folder)} of "
                    f"{twin.subject}, voxel by voxel; remove one of the two"
                )
        logger.info("%d of %d scans checked", done, len(used))
    if problems:
        raise InputError(problems)
    path = write_cohort(
        output, {name: [_item(scan, mapping) for scan in members] for name, members in split.scans.items()}
    )
    return Report(
        path,
        {name: len(members) for name, members in split.scans.items()},
        {name: len({scan.patient for scan in members}) for name, members in split.scans.items()},
        warnings,
    )


def _split(
    scans: Sequence[Scan],
    seed: int,
    fractions: Sequence[float] | None,
    counts: Sequence[int] | None,
    lists: dict[str, str | os.PathLike | Sequence[str]],
) -> Split:
    if sum([fractions is not None, counts is not None, bool(lists)]) > 1:
        raise InputError(
            "the split is given twice; use one of --fractions, --counts, and the lists --training, --validation, --test"
        )
    if lists:
        return split_by_lists(scans, lists)
    if counts is not None:
        return split_by_counts(scans, counts, seed)
    return split_by_fractions(scans, FRACTIONS if fractions is None else fractions, seed)


def _missing_files(scans: Sequence[Scan], folder: Path, *, needs_labels: bool) -> tuple[list[str], list[str]]:
    """Labels that are missing, as problems if they are needed, and what else is missing where other scans have it."""
    unlabelled = [scan.subject for scan in scans if scan.label is None]
    unmasked = [scan.subject for scan in scans if scan.mask is None]
    problems, warnings = [], []
    if needs_labels and len(unlabelled) == len(scans):
        problems.append(
            f"{folder}: no label found for any of {len(scans)} scans; name the labels, as in "
            '--label "{subject}_vessels.nii.gz", or use --no-split if the scans are only to be segmented'
        )
    elif needs_labels:
        problems = [
            f"{name}: label missing where other subjects have one; add it or move the subject away"
            for name in unlabelled
        ]
    elif len(unlabelled) < len(scans):
        warnings = [f"{name}: label missing where other subjects have one" for name in unlabelled]
    if len(unmasked) < len(scans):
        warnings += [f"{name}: mask missing where other subjects have one" for name in unmasked]
    return problems, warnings


def _shown(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)


def _item(scan: Scan, mapping: Mapping[str, int]) -> dict[str, Any]:
    item: dict[str, Any] = {"subject": scan.subject, "patient": scan.patient}
    item |= {name: os.fspath(getattr(scan, name)) for name in _FILES if getattr(scan, name)}
    if is_simulated(scan.image):
        item["simulated"] = True
    if scan.label and mapping:
        item["label_values"] = dict(mapping)
    return item


def cohort_path(path: str | os.PathLike) -> Path:
    """The cohort.json meant by a path: itself, or the one in that folder."""
    path = Path(os.path.abspath(path))
    return path if path.suffix == ".json" else path / "cohort.json"


def write_cohort(path: str | os.PathLike, splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    """Writes a datalist, whole or not at all, and returns where.

    Args:
        path: cohort.json, or its folder.
        splits: items by split, with absolute paths; those below the folder of cohort.json become relative to it.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = cohort_path(path)
    content: dict[str, Any] = {"format": 1}
    for split, items in splits.items():
        content[split] = [
            {key: _relative(value, path.parent) if key in _FILES else value for key, value in item.items()}
            for item in items
        ]
    write_json(path, content)
    return path


def _relative(value: str | os.PathLike, folder: Path) -> str:
    path = Path(value)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else os.fspath(path)


def read_cohort(path: str | os.PathLike, split: str, *, labelled: bool = False) -> list[dict[str, Any]]:
    """The items of a split, with absolute paths, as MONAI's dictionary transforms take them.

    Args:
        path: cohort.json, or the folder that holds it.
        split: "training", "validation", "test", "unsplit", or "all".
        labelled: whether every item must have a label.

    Raises:
        InputError: no such cohort, no such split in it, or items without the label that is needed.
    """
    path = cohort_path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable cohort ({error}); make one with `tofgan check`") from error
    if not isinstance(content, dict) or content.get("format") != 1:
        raise InputError(f"{path}: not a cohort of format 1; make it again with `tofgan check`")
    present = [name for name in (*SPLITS, UNSPLIT) if name in content]
    if split != "all" and split not in present:
        raise InputError(f"{path}: has no split {split}, only {', '.join(present)}; choose one of these or all")
    items = [item for name in present if split in (name, "all") for item in content[name]]
    if bare := [item["subject"] for item in items if labelled and "label" not in item]:
        raise InputError(
            [f"{path}: {subject} has no label to score against; leave it out, or use segment" for subject in bare]
        )
    return [
        {key: os.fspath(path.parent / value) if key in _FILES else value for key, value in item.items()}
        for item in items
    ]
