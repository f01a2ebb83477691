"""Names and descriptions of the files of a BIDS tree, for the scans in it and for the segmentations made of them.

BIDS is the Brain Imaging Data Structure, https://bids-specification.readthedocs.io. A derivative is a folder with its
own dataset_description.json, whose files were made of those of the tree; it is often `derivatives/NAME` in the tree.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_json, write_whole
from tofgan_monai.installation import version_of

Splits = dict[str, list[dict[str, Any]]]

DERIVATIVE = Path("derivatives/tofgan")
"""Where the segmentations of a BIDS tree go if the user names no folder."""
_DESCRIPTION = "dataset_description.json"
_PROGRAM = "tofgan_monai"
_BIDS_VERSION = "1.10.0"
_SCAN = re.compile(r"sub-[^/]+/(?:ses-[^/]+/)?anat/(sub-[^/]+)_angio\.nii(?:\.gz)?")
_NOT_BIDS = ("*_vessels.jpg", "*_vessels.html", "*_measures.json", "measures.csv", "scans.json", "unfinished.jsonl")
_README = """Vessels of the brain, found in angiographies (TOF-MRA) by tofgan_monai.
For research only, not for diagnosis.

sub-*_label-vessel_mask.nii.gz: 1 is vessel, 0 is not. Beside it are a picture and measures of the vessels, which BIDS
does not know; .bidsignore names them.
"""


def is_bids_tree(path: str | os.PathLike) -> bool:
    """Whether a folder is a BIDS tree of scans: it has a dataset_description.json that describes no derivative."""
    description = _described(Path(path))
    return description is not None and description.get("DatasetType", "raw") == "raw"


def own_derivatives(tree: str | os.PathLike) -> list[str]:
    """Returns the paths, relative to a BIDS tree, of the folders in `derivatives` that this program has written."""
    folders = sorted(path.parent for path in Path(tree).glob(f"derivatives/*/{_DESCRIPTION}"))
    return [folder.relative_to(tree).as_posix() for folder in folders if _is_own(_described(folder))]


def label_path(image: str | os.PathLike, tree: str | os.PathLike) -> str | None:
    """Returns the path of the vessel label of a scan in a derivative, relative to it; None for a name that is not BIDS.

    >>> label_path("/bids/sub-01/anat/sub-01_acq-tof_angio.nii.gz", "/bids")
    'sub-01/anat/sub-01_acq-tof_label-vessel_mask.nii.gz'
    """
    scan = _SCAN.fullmatch(os.path.relpath(image, tree).replace(os.sep, "/"))
    return scan and f"{os.path.dirname(scan[0])}/{scan[1]}_label-vessel_mask.nii.gz"


def describe_derivative(
    folder: Path, tree: Path, items: Sequence[Mapping[str, Any]], made_by: tuple[str, str, str]
) -> None:
    """Writes what BIDS wants beside labels: dataset_description.json, README, .bidsignore, a JSON file for each label.

    Args:
        folder: folder of the derivative.
        tree: the BIDS tree of the scans.
        items: the segmented items, as `as_derivative` returns them.
        made_by: what made the labels: name and version of the bundle, and digest of the weights.

    Raises:
        InputError: the folder cannot be written to.
    """
    told = "bundle {} {}, weights {}".format(*made_by)
    source = {"URL": Path(os.path.relpath(tree, folder)).as_posix()}
    if doi := (_described(tree) or {}).get("DatasetDOI"):
        source["DOI"] = doi
    description = {
        "Name": "Vessels of the brain in TOF-MRA",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": _PROGRAM, "Version": version_of(_PROGRAM) or "unknown", "Description": told}],
        "SourceDatasets": [source],
        "DatasetLinks": {"raw": source["URL"]},
    }
    write_json(folder / _DESCRIPTION, description)
    for name, text in (("README", _README), (".bidsignore", "".join(f"{pattern}\n" for pattern in _NOT_BIDS))):
        write_whole(folder / name, text)
    for item in items:
        scan = f"bids:raw:{Path(item['image']).relative_to(tree).as_posix()}"
        entries = {
            "Type": "ROI",
            "Sources": [scan],
            "SpatialReference": scan,
            "Description": f"Vessels of the brain, found by {_PROGRAM}, {told}; for research only",
        }
        write_json(folder / item["segmentation"].replace(".nii.gz", ".json"), entries)


def default_output(path: str | os.PathLike) -> Path:
    """Returns the folder of the segmentations of a BIDS tree, `derivatives/tofgan` in it.

    Raises:
        InputError: the path is no BIDS tree.
    """
    if not is_bids_tree(path):
        raise InputError(
            f"{path} is no BIDS tree of scans, as it has no dataset_description.json or that of a derivative; add one, "
            "or give an output folder"
        )
    return Path(path) / DERIVATIVE


def as_derivative(path: Path, splits: Splits) -> tuple[Splits, Path | None]:
    """Returns the items of a cohort with the path of their label in a derivative, and the BIDS tree of their scans.

    If the scans are not in a BIDS tree, or not all have names of BIDS, the items are unchanged and the tree is None.

    Args:
        path: a BIDS tree, or a cohort.json in it.
        splits: dict from split to items.
    """
    tree = Path(os.path.abspath(path if path.is_dir() else path.parent))
    if not is_bids_tree(tree):
        return splits, None
    named = {
        name: [{**item, "segmentation": label_path(item["image"], tree)} for item in items]
        for name, items in splits.items()
    }
    is_whole = all(item["segmentation"] for items in named.values() for item in items)
    return (named, tree) if is_whole else (splits, None)


def _described(folder: Path) -> dict[str, Any] | None:
    try:
        description = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return description if isinstance(description, dict) else None


def _is_own(description: dict[str, Any] | None) -> bool:
    makers = (description or {}).get("GeneratedBy")
    return isinstance(makers, list) and any(isinstance(one, dict) and one.get("Name") == _PROGRAM for one in makers)
