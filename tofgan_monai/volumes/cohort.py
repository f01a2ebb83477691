"""A cohort: every volume of a folder validated, split by patient, and listed in cohort.json.

cohort.json is a MONAI datalist, `{"format": 1, "training": [...], "validation": [...], "test": [...]}`, or has
`"unsplit"` alone. An item has `subject`, `patient`, `image`, `kind` (see `tofgan_monai.volumes.kinds`), `black` (the
image's smallest intensity) and, where they exist, `label`, `mask` and `label_values` (a mapping for `binary_label`).
The paths of files below the folder of cohort.json are relative to it. The file holds the names of patients as the files
have them: keep it where the volumes are.
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
from tofgan_monai.volumes.volume import classes_remedy, is_simulated, parse_label_values

FRACTIONS = (0.6, 0.15, 0.25)
UNSPLIT = "unsplit"
FILES = ("image", "label", "mask")

logger = logging.getLogger(__name__)

Item = Mapping[str, Any]
Names = str | os.PathLike | Sequence[str]


@dataclass(frozen=True)
class Report:
    """What `check_cohort` wrote: the file, the numbers of scans and patients in each split, what it used, warnings."""

    path: Path
    n_scans: dict[str, int]
    n_patients: dict[str, int]
    used: str
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
    training: Names | None = None,
    validation: Names | None = None,
    test: Names | None = None,
    no_split: bool = False,
) -> Report:
    """Writes cohort.json if every volume below the folder is fit for use, and returns a report of it.

    Args:
        folder: holds the subjects, in plain folders, a BIDS tree or DICOM series.
        output: cohort.json, or the folder for it.
        image: pattern of the images, such as `{subject}_tof.nii.gz`; see `tofgan_monai.volumes.scans`.
        label: pattern of the vessel labels.
        mask: pattern of the brain masks.
        label_values: which values of the labels are vessels, such as `255=1`; see `parse_label_values`.
        patient_pattern: finds the patient's name in the subject's name; see `with_patients`.
        n_vessel: how many vessel-centred patches each training and validation scan must have room for.
        seed: of the shuffling before the split.
        fractions: shares of the patients for training, validation and test; 0.6, 0.15, 0.25 by default.
        counts: numbers of patients for training, validation and test, instead of fractions.
        training: the patients themselves, instead of both: names, names with commas between, or a file of them; see
            `split_by_lists`.
        validation: the same for validation.
        test: the same for the test.
        no_split: list all scans under "unsplit", with or without a label: for a folder that is only to be segmented.

    Raises:
        InputError: everything that is wrong, by subject and file; cohort.json has not been written then.
    """
    folder = Path(os.path.abspath(folder))
    mapping = parse_label_values(label_values)
    found = find_scans(folder, image=image, label=label, mask=mask)
    scans, source = with_patients(found.scans, folder, patient_pattern=patient_pattern)
    lists = {"training": training, "validation": validation, "test": test}
    given = {name: names for name, names in lists.items() if names is not None}
    split = Split({UNSPLIT: scans}, [], []) if no_split else _split(scans, seed, fractions, counts, given)
    used = [(name, scan) for name, members in split.scans.items() for scan in members]
    missing_labels, missing = _missing_files([scan for _, scan in used], folder, needs_labels=not no_split)
    problems = [*found.problems, *split.problems, *missing_labels]
    warnings = [*found.warnings, *split.warnings, *missing]
    seen: dict[str, Scan] = {}
    unmapped: list[str] = []
    classes: set[float] = set()
    black: dict[str, float | None] = {}
    for done, (name, scan) in enumerate(sorted(used, key=lambda pair: pair[1].subject), start=1):
        n_patches = n_vessel if name in ("training", "validation") else 0
        findings = check_scan(scan, folder=folder, label_values=mapping, n_vessel=n_patches)
        problems += findings.problems
        warnings += findings.warnings
        black[scan.subject] = findings.black
        unmapped += [findings.unmapped] if findings.unmapped else []
        classes.update(findings.classes)
        twin = seen.setdefault(findings.digest, scan) if findings.digest else scan
        if twin is not scan:
            one, other = (os.path.relpath(path, folder) for path in (scan.image, twin.image))
            same = "same file" if scan.image.samefile(twin.image) else "same scan"
            problems.append(f"{scan.subject}: {one}: the {same} as {other} of {twin.subject}; remove one of them")
        logger.info("%d of %d scans checked", done, len(used))
    problems += [f"{line}; {classes_remedy(classes, mapping)}" for line in unmapped]
    if problems:
        raise InputError(problems)
    splits = split.scans.items()
    path = write_cohort(output, {name: [_item(scan, mapping, black) for scan in members] for name, members in splits})
    n_patients = {name: len({scan.patient for scan in members}) for name, members in splits}
    n_scans = {name: len(members) for name, members in splits}
    return Report(path, n_scans, n_patients, f"{_census([scan for _, scan in used], folder)}; {source}", warnings)


def _census(scans: Sequence[Scan], folder: Path) -> str:
    """How many scans, patients, sessions and links a cohort has, in words."""
    n_patients = len({scan.patient for scan in scans})
    n_sessions = len({(scan.patient, scan.session) for scan in scans if scan.session})
    n_links = sum(scan.image.resolve() != folder.resolve() / scan.image.relative_to(folder) for scan in scans)
    sessions = f" in {n_sessions} sessions" if n_sessions else ""
    links = f", {n_links} scans by links" if n_links else ""
    return f"{len(scans)} scans of {n_patients} patients{sessions}{links}"


def _split(
    scans: Sequence[Scan],
    seed: int,
    fractions: Sequence[float] | None,
    counts: Sequence[int] | None,
    lists: dict[str, Names],
) -> Split:
    if sum([fractions is not None, counts is not None, bool(lists)]) > 1:
        raise InputError("the split is given twice; use --fractions, or --counts, or lists such as --training")
    if lists:
        return split_by_lists(scans, lists)
    if counts is not None:
        return split_by_counts(scans, counts, seed)
    return split_by_fractions(scans, FRACTIONS if fractions is None else fractions, seed)


def _missing_files(scans: Sequence[Scan], folder: Path, *, needs_labels: bool) -> tuple[list[str], list[str]]:
    """Problems about missing labels, if they are needed, and warnings about files that other scans have."""
    unlabelled, unmasked = (
        [f"{scan.subject}: {name} missing where other subjects have one" for scan in scans if not getattr(scan, name)]
        for name in ("label", "mask")
    )
    warnings = unmasked if len(unmasked) < len(scans) else []
    if not needs_labels:
        return [], [*(unlabelled if len(unlabelled) < len(scans) else []), *warnings]
    if len(unlabelled) < len(scans):
        return [f"{line}; add it or move the subject away" for line in unlabelled], warnings
    none_found = (
        f"{folder}: no label found for any of {len(scans)} scans; name the labels, as in "
        '--label "{subject}_vessels.nii.gz", or use --no-split if the scans are only to be segmented'
    )
    return [none_found], warnings


def _item(scan: Scan, mapping: Mapping[str, int], black: Mapping[str, float | None]) -> dict[str, Any]:
    item: dict[str, Any] = {"subject": scan.subject, "patient": scan.patient}
    item |= {name: os.fspath(getattr(scan, name)) for name in FILES if getattr(scan, name)}
    item["kind"] = "simulated" if is_simulated(scan.image) else "real"
    item["black"] = black[scan.subject]
    return item | ({"label_values": dict(mapping)} if scan.label and mapping else {})


def cohort_path(path: str | os.PathLike) -> Path:
    """The absolute path of a cohort.json, from its own path or from its folder's."""
    path = Path(os.path.abspath(path))
    return path if path.suffix == ".json" else path / "cohort.json"


def write_cohort(path: str | os.PathLike, splits: Mapping[str, Sequence[Item]]) -> Path:
    """Writes cohort.json, whole or not at all, and returns its path.

    Args:
        path: cohort.json, or its folder.
        splits: items by split, with absolute paths; paths below the folder of cohort.json become relative to it.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = cohort_path(path)

    def relative(value: str | os.PathLike) -> str:
        return (
            Path(value).relative_to(path.parent).as_posix() if Path(value).is_relative_to(path.parent) else str(value)
        )

    write_json(path, {"format": 1} | {split: _with_paths(items, relative) for split, items in splits.items()})
    return path


def read_splits(path: str | os.PathLike) -> dict[str, list[dict[str, Any]]]:
    """The items of each split in cohort.json, with absolute paths; the splits are in the order of `SPLITS`.

    Args:
        path: cohort.json, or the folder that holds it.

    Raises:
        InputError: no such cohort, or a file of another form.
    """
    path = cohort_path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable cohort ({error}); make one with `tofgan check`") from error
    if not isinstance(content, dict) or content.get("format") != 1:
        raise InputError(f"{path}: not a cohort of format 1; make it again with `tofgan check`")
    present = [name for name in (*SPLITS, UNSPLIT) if name in content]
    return {name: _with_paths(content[name], lambda value: os.fspath(path.parent / value)) for name in present}


def read_cohort(path: str | os.PathLike, split: str, *, labelled: bool = False) -> list[dict[str, Any]]:
    """The items of a split of cohort.json, with absolute paths, as MONAI's dictionary transforms take them.

    Args:
        path: cohort.json, or the folder that holds it.
        split: "training", "validation", "test", "unsplit", or "all".
        labelled: whether every item must have a label.

    Raises:
        InputError: no such cohort, no such split in it, or items without the label that is needed.
    """
    path = cohort_path(path)
    splits = read_splits(path)
    if split != "all" and split not in splits:
        raise InputError(f"{path}: has no split {split}, only {', '.join(splits)}; choose one of these or all")
    items = [item for name, members in splits.items() if split in (name, "all") for item in members]
    bare = [item["subject"] for item in items if labelled and "label" not in item]
    if bare:
        remedy = "has no label to score against; leave it out, or use segment"
        raise InputError([f"{path}: {subject} {remedy}" for subject in bare])
    return items


def _with_paths(items: Sequence[Item], convert: Any) -> list[dict[str, Any]]:
    return [{key: convert(value) if key in FILES else value for key, value in item.items()} for item in items]
