"""The record of a folder of segmentations: which scan each label is of, and with which settings it was made.

The record is the file scans.json in the folder. It is a cohort (see `tofgan_monai.volumes.cohort`) of the scans that
the last run had to segment. It also has `segmented`, a list with an entry for each label in the folder: `image`,
`label`, and once the run was complete `digest` (of the image) and `made_with` (the settings). As it holds the names and
paths of patients, it stays with the labels.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.cohort import read_splits, write_cohort
from tofgan_monai.volumes.digests import content_digest
from tofgan_monai.volumes.writing import label_file

_FILE, _ENTRIES = "scans.json", "segmented"
_NOT_OF_LABELS = ("split", "companions")  # settings that do not change a label
_REMEDY = "choose another output folder, or overwrite it with --restart"

Splits = Mapping[str, Sequence[Mapping[str, Any]]]


def unsegmented(folder: str | os.PathLike, splits: Splits, settings: Mapping[str, Any] | None) -> Splits:
    """Returns the items whose label, made with these settings, is not yet in a folder of segmentations.

    Args:
        folder: the folder for the labels.
        splits: dict from split to items of a cohort.
        settings: the settings that decide the output; None if they are not known, then all items are returned.

    Raises:
        InputError: the folder holds, under the name of an item's label, the label of another scan, such as
            `sub-02/image` after `sub-01/image`; or a label of this scan made with other settings.
    """
    entries, problems, changed = _read(Path(folder)), [], []
    left: dict[str, list[Mapping[str, Any]]] = {}
    for split, items in splits.items():
        left[split] = []
        for item in items:
            image, label = item["image"], _label(folder, item)
            entry = entries.get(label, {})
            before = entry.get("made_with")
            if entry and os.path.realpath(entry["image"]) != os.path.realpath(image):
                problems.append(f"{label}: is the label of {entry['image']}, not of {image}; {_REMEDY}")
            elif not before or not settings or entry["digest"] != content_digest(image):
                left[split].append(item)
            elif differ := _differing(before, settings):
                changed.append((label, differ))
            elif not {*settings.get("companions", ())} <= {*before.get("companions", ())}:
                left[split].append(item)
    if changed:
        label, differ = changed[0]
        more = f" and {len(changed) - 1} more labels" if changed[1:] else ""
        problems.append(f"{label}{more}: made with other settings ({differ}); {_REMEDY}")
    if problems:
        raise InputError(problems)
    return left


def require_new(folder: str | os.PathLike, splits: Splits) -> None:
    """Raises InputError if a folder of segmentations has the label of an item, of which no record is kept.

    Args:
        folder: the folder for the labels.
        splits: dict from split to items of a cohort.
    """
    labels = [_label(folder, item) for items in splits.values() for item in items]
    if problems := [f"{label}: is there already; {_REMEDY}" for label in labels if os.path.exists(label)]:
        raise InputError(problems)


def write_scans(folder: str | os.PathLike, splits: Splits, *, made_with: Mapping[str, Any] | None = None) -> Path:
    """Writes the record of a folder of segmentations, and returns its path. Entries of earlier runs stay.

    Args:
        folder: the folder for the labels.
        splits: dict from split to the items that a run has to segment.
        made_with: the settings of the run, if it is complete.

    Raises:
        InputError: the folder cannot be written to.
    """
    entries = _read(Path(folder))
    for item in (item for items in splits.values() for item in items):
        image, label = item["image"], _label(folder, item)
        entries[label] = {"image": image, "label": label}
        if made_with:
            entries[label] |= {"digest": content_digest(image), "made_with": made_with}
    return write_cohort(Path(folder) / _FILE, {**splits, _ENTRIES: [*entries.values()]})


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns a dict from path of label to entry, for all labels that are in the folder."""
    path = folder / _FILE
    if not path.is_file():
        return {}
    read_splits(path)  # refuses a file of another kind
    entries = json.loads(path.read_text("utf-8")).get(_ENTRIES, [])
    whole = [{**one, **{key: os.path.abspath(folder / one[key]) for key in ("image", "label")}} for one in entries]
    return {entry["label"]: entry for entry in whole if os.path.exists(entry["label"])}


def _label(folder: str | os.PathLike, item: Mapping[str, Any]) -> str:
    return os.path.abspath(Path(folder) / label_file(item, item["image"]))


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Returns the settings in which two labels of a scan differ, in words; "" if there are none."""
    names = [name for name in {**before, **now} if name not in _NOT_OF_LABELS and before.get(name) != now.get(name)]
    return ", ".join(f"{name} was {before.get(name)}, is {now.get(name)} now" for name in names)
