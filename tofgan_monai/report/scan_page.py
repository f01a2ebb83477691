"""Writes a page of each segmented scan: its vessels as surfaces that turn, its projections and its measures.

The page stays where the scan may be seen, as the label does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.report.pictures import data_uri
from tofgan_monai.report.rendering import write_page
from tofgan_monai.report.tables import Cell, Row, Table, fixed
from tofgan_monai.report.vessel_tree import VESSELS, View, view_of, why_nothing_turns
from tofgan_monai.segmentation.error_maps import ERROR_COLOURS, error_classes
from tofgan_monai.volumes.kinds import kind_of
from tofgan_monai.volumes.reading import IMAGE, LABEL, read_scan
from tofgan_monai.volumes.scans import SEGMENTED
from tofgan_monai.volumes.writing import label_file, output_name

_SIDES = {"total": "Both sides", "left": "Left", "right": "Right"}
_COLUMNS = {  # key in NAME_measures.json -> (heading, digits)
    "volume_mm3": ("volume, mm³", 0),
    "length_mm": ("length, mm", 0),
    "mean_radius_mm": ("mean radius, mm", 2),
    "max_radius_mm": ("largest radius, mm", 2),
    "tortuosity": ("tortuosity", 2),
    "branch_points": ("branch points", 0),
}


def write_scan_pages(items: Iterable[Mapping[str, Any]], output_dir: Path) -> list[Path]:
    """Writes NAME_vessels.html beside the label, picture and measures of each scan, and returns the paths.

    If an item has a true label, the surfaces are those of true positive, false positive and false negative voxels.

    Args:
        items: items of a cohort that `tofgan segment` has segmented into `output_dir`.
        output_dir: the folder with the label of each item, and beside it NAME_vessels.jpg and NAME_measures.json.

    Raises:
        InputError: some pages could not be written; the others are written.
    """
    paths, problems, why = [], [], why_nothing_turns()
    for item in items:
        name = output_name(item, item[IMAGE])
        label = output_dir / label_file(item, item[IMAGE])
        path = label.with_name(f"{name}_{SEGMENTED}.html")
        try:
            measures = json.loads(label.with_name(f"{name}_measures.json").read_text("utf-8"))["measures"]
            write_page(
                path,
                "scan.html",
                name=name,
                is_simulated=kind_of(item) == "simulated",
                view=View("In three dimensions", None, why) if why else _view(item, label),
                picture=data_uri("jpeg", path.with_suffix(".jpg").read_bytes()),
                measures=_table(measures),
            )
            paths.append(path)
        except InputError as error:
            problems += error.problems
        except (OSError, ValueError, KeyError) as error:
            remedy = "segment the scan again, with its measures and its picture"
            problems.append(f"{path}: not written, as a file beside it cannot be read ({error}); {remedy}")
    if problems:
        raise InputError(problems)
    return paths


def _view(item: Mapping[str, Any], label: Path) -> View:
    """Returns the view of a label; if the item has a true label, a view of the errors."""
    has_truth = item.get(LABEL) is not None
    files = {IMAGE: label, **({LABEL: item[LABEL], "label_values": item.get("label_values")} if has_truth else {})}
    read = read_scan(files, (IMAGE, LABEL) if has_truth else (IMAGE,))
    found, affine = read[IMAGE].voxels > 0, read[IMAGE].affine
    if has_truth:
        return view_of("Against the true label", error_classes(found, read[LABEL].voxels), affine, ERROR_COLOURS)
    return view_of("In three dimensions", found.astype(np.uint8), affine, VESSELS)


def _table(measures: Iterable[Mapping[str, Any]]) -> Table:
    blocks: dict[str, list[Row]] = {}
    for one in measures:
        cells = [Cell(fixed(one[key], digits)) for key, (_, digits) in _COLUMNS.items()]
        row = Row("all calibres" if one["calibre"] == "all" else one["calibre"], cells)
        blocks.setdefault(_SIDES[one["side"]], []).append(row)
    return Table("Calibre", [heading for heading, _ in _COLUMNS.values()], blocks, is_wide=True)
