"""Functions that check a cohort, split it by patient, and write and read its list of scans, the file cohort.json.

A cohort is a folder of scans. cohort.json is a MONAI datalist, `{"format": 1, "training": [...], "validation": [...],
"test": [...]}`, or has `"unsplit"` alone. An item has `subject`, `patient`, `image`, `kind` (see
`tofgan_monai.volumes.kinds`), `black` (the image's smallest intensity) and, where they exist, `label`, `mask` and
`label_values` (a mapping for `binary_label`). The paths of files below the folder of cohort.json are relative to this
folder. cohort.json holds the names of patients as they occur in the names of the files. So keep cohort.json as private
as the volumes.
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
from tofgan_monai.volumes.volume import classes_remedy, parse_label_values, simulation_version

FRACTIONS = (0.6, 0.15, 0.25)
UNSPLIT = "unsplit"
FILES = ("image", "label", "mask")

logger = logging.getLogger(__name__)

Item = Mapping[str, Any]
Names = str | os.PathLike | Sequence[str]


@dataclass(frozen=True)
class Report:
    """Result of `check_cohort`.

    Attributes:
        path: the path of cohort.json.
        n_scans: dict from split to number of scans.
        n_patients: dict from split to number of patients.
        used: text with the numbers of scans, patients and sessions, and with the source of the patients' names.
        warnings: one line for each warning.
    """

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
    """Checks every volume of a cohort, writes cohort.json if there are no problems, and returns a report.

    Args:
        folder: the folder that holds the subjects, as plain folders, a BIDS tree or DICOM series.
        output: the path of cohort.json, or the folder for this file.
        image: pattern of the images, such as `{subject}_tof.nii.gz`; see `tofgan_monai.volumes.patterns`.
        label: pattern of the vessel labels.
        mask: pattern of the brain masks.
        label_values: texts that say which values of the labels are vessels, such as `255=1`; see `parse_label_values`.
        patient_pattern: regular expression that finds the patient's name in the subject's name; see `with_patients`.
        n_vessel: the number of vessel-centred patches that will be cut from each training and validation scan.
        seed: seed for the shuffling of the patients before the split.
        fractions: fractions of the patients for training, validation and test; 0.6, 0.15, 0.25 by default.
        counts: numbers of patients for training, validation and test; give either `fractions` or `counts`.
        training: the names of the training patients, if the split is given by names: a list of names, a text with
            commas between the names, or a file; see `split_by_lists`.
        validation: the names of the validation patients.
        test: the names of the test patients.
        no_split: list all scans under "unsplit", with or without a label. Use this for a folder that will only be
            segmented.

    Raises:
        InputError: there are problems; the message lists all of them by subject and file. cohort.json is not written.
            The warnings are logged.
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
            problems.append(f"{scan.subject}: {one} is the {same} as {other} of {twin.subject}; remove one of the two")
        logger.info("%d of %d scans checked", done, len(used))
    problems += [f"{line}; {classes_remedy(classes, mapping)}" for line in unmapped]
    if problems:
        for warning in warnings:  # a warning may name the cause of a problem
            logger.warning("warning: %s", warning)
        raise InputError(problems)
    splits = split.scans.items()
    path = write_cohort(
        output, {name: [item_of(scan, black[scan.subject], mapping) for scan in members] for name, members in splits}
    )
    n_patients = {name: len({scan.patient for scan in members}) for name, members in splits}
    n_scans = {name: len(members) for name, members in splits}
    return Report(path, n_scans, n_patients, f"{_census([scan for _, scan in used], folder)}; {source}", warnings)


def _census(scans: Sequence[Scan], folder: Path) -> str:
    """Returns a text with the numbers of scans, patients, sessions of each patient, and links of a cohort.

    Scans of a patient without the name of a session count as one session.
    """
    sessions: dict[str, set[str]] = {}
    for scan in scans:
        sessions.setdefault(scan.patient, set()).add(scan.session)
    n_links = sum(scan.image.resolve() != folder.resolve() / scan.image.relative_to(folder) for scan in scans)
    told = f"{_counted(len(scans), 'scan')} of {_counted(len(sessions), 'patient')}"
    if any(scan.session for scan in scans):
        least, *_, most = sorted(map(len, [*sessions.values(), *sessions.values()]))
        told += f", {f'{least} to ' if least < most else ''}{_counted(most, 'session')} each"
    return told + (f", {_counted(n_links, 'scan')} by links" if n_links else "")


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _split(
    scans: Sequence[Scan],
    seed: int,
    fractions: Sequence[float] | None,
    counts: Sequence[int] | None,
    lists: dict[str, Names],
) -> Split:
    if sum([fractions is not None, counts is not None, bool(lists)]) > 1:
        raise InputError("the split is given in two ways; use only --fractions, --counts or lists such as --training")
    if lists:
        return split_by_lists(scans, lists)
    if counts is not None:
        return split_by_counts(scans, counts, seed)
    return split_by_fractions(scans, FRACTIONS if fractions is None else fractions, seed)


def _missing_files(scans: Sequence[Scan], folder: Path, *, needs_labels: bool) -> tuple[list[str], list[str]]:
    """Returns problems and warnings about missing labels and masks.

    A missing label is a problem if `needs_labels`. Otherwise a missing label, like a missing mask, is a warning, and
    only if other scans have one.
    """
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


def item_of(scan: Scan, black: float | None, mapping: Mapping[str, int]) -> dict[str, Any]:
    """Returns the item of a scan; `black` is the image's smallest intensity, `mapping` the label's `label_values`."""
    item: dict[str, Any] = {"subject": scan.subject, "patient": scan.patient}
    item |= {name: os.fspath(getattr(scan, name)) for name in FILES if getattr(scan, name)}
    version = simulation_version(scan.image)
    item |= {"kind": "simulated", "simulation": version} if version else {"kind": "real"}
    item["black"] = black
    return item | ({"label_values": dict(mapping)} if scan.label and mapping else {})


def cohort_path(path: str | os.PathLike) -> Path:
    """Returns the absolute path of cohort.json; `path` is this file or the folder that holds it."""
    path = Path(os.path.abspath(path))
    return path if path.suffix == ".json" else path / "cohort.json"


def write_cohort(path: str | os.PathLike, splits: Mapping[str, Sequence[Item]]) -> Path:
    """Writes cohort.json, whole or not at all, and returns its path.

    Args:
        path: the path of cohort.json, or the folder for this file.
        splits: dict from split to items with absolute paths. Paths below the folder of cohort.json are written relative
            to this folder.

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
    """Returns a dict from split to the items of this split in cohort.json, with absolute paths.

    The order of the splits is that of `SPLITS`.

    Args:
        path: the path of cohort.json, or the folder that holds this file.

    Raises:
        InputError: the file does not exist or is not a cohort.
    """
    path = cohort_path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a cohort ({error}); make it with `tofgan check`") from error
    if not isinstance(content, dict) or content.get("format") != 1:
        raise InputError(f"{path} is not a cohort of format 1; make it again with `tofgan check`")
    present = [name for name in (*SPLITS, UNSPLIT) if name in content]
    return {name: _with_paths(content[name], lambda value: os.fspath(path.parent / value)) for name in present}


def read_cohort(path: str | os.PathLike, split: str, *, labelled: bool = False) -> list[dict[str, Any]]:
    """Returns the items of a split in cohort.json, as dicts with absolute paths for MONAI's dictionary transforms.

    Args:
        path: the path of cohort.json, or the folder that holds this file.
        split: "training", "validation", "test", "unsplit" or "all".
        labelled: whether every item must have a label.

    Raises:
        InputError: the cohort or the split does not exist, or an item has no label although `labelled` is True.
    """
    path = cohort_path(path)
    splits = read_splits(path)
    if split != "all" and split not in splits:
        raise InputError(f"{path} has no split {split}, only {', '.join(splits)}; choose one of these, or 'all'")
    items = [item for name, members in splits.items() if split in (name, "all") for item in members]
    bare = [item["subject"] for item in items if labelled and "label" not in item]
    if bare:
        remedy = "has no label for the scores; omit this subject, or run `tofgan segment`"
        raise InputError([f"{path}: {subject} {remedy}" for subject in bare])
    return items


def _with_paths(items: Sequence[Item], convert: Any) -> list[dict[str, Any]]:
    return [{key: convert(value) if key in FILES else value for key, value in item.items()} for item in items]
