"""What is written beside the label of each segmented scan: measures of its vessels, and a picture.

These files stay in the hospital, as the labels do. Of a patient they hold the name of the scan, as it is in their own
names, the name of the label's file, the measures and the picture; nothing of a DICOM header, and no path.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ignite.engine import Engine, Events
from monai.utils import CommonKeys, ImageMetaKey

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_json, written_whole
from tofgan_monai.metrics.segmentation.measures import Measures, vessel_measures
from tofgan_monai.metrics.segmentation.midline import find_midline
from tofgan_monai.segmentation.progress import Progress
from tofgan_monai.segmentation.projections import save_projections
from tofgan_monai.volumes.reading import read_scan
from tofgan_monai.volumes.scans import SEGMENTED
from tofgan_monai.volumes.volume import Volume
from tofgan_monai.volumes.writing import label_file, output_name

_DIGITS = {"volume_mm3": 2, "length_mm": 2, "mean_radius_mm": 4, "max_radius_mm": 4, "tortuosity": 4}
_TABLE = "measures.csv"
_ENDS = [f"{SEGMENTED}.{kind}" for kind in ("jpg", "html", "dcm")]  # picture, page, DICOM SEG


class SegmentedScan(NamedTuple):
    """A scan and the label that was found in it.

    Attributes:
        name: the name of the scan in the names of the written files.
        image: the scan.
        label: the found vessels (X, Y, Z), bool, on the scan's grid.
        label_file: path of the label's file.
        folder: the folder for what is written of the scan, beside its label.
    """

    name: str
    image: Volume
    label: np.ndarray
    label_file: Path
    folder: Path


def write_picture(scan: SegmentedScan) -> None:
    """Writes NAME_vessels.jpg; see `save_projections`."""
    save_projections(scan.folder / f"{scan.name}_{SEGMENTED}.jpg", scan.image, scan.label)


def write_measures(scan: SegmentedScan) -> None:
    """Writes NAME_measures.json with the measures of each side and class of calibre; see `vessel_measures`."""
    midline = find_midline(scan.image.voxels, scan.image.affine)
    found = vessel_measures(scan.label, scan.image.affine, midline=midline.plane)
    content = {
        "scan": scan.name,
        "label": scan.label_file.name,
        "midline": {"plane": [round(value, 5) for value in midline.plane], "symmetry": round(midline.symmetry, 3)},
        "measures": [
            {"side": side, "calibre": calibre} | _rounded(measures) for (side, calibre), measures in found.items()
        ],
    }
    write_json(_measures_path(scan.folder, scan.name), content)


WRITERS: dict[str, Callable[[SegmentedScan], None]] = {"measures": write_measures, "picture": write_picture}
"""The kinds of companions. A further kind is a function here, and its name in `companions` of a configuration."""


class CompanionWriter:
    """Ignite handler that writes companions beside the label of each scan, and measures.csv of all scans at the end.

    The evaluator's batch and output must be lists of dictionaries (decollated). A dictionary of the batch may have the
    `subject`. One of the output holds `pred`, the binary prediction (1, X, Y, Z) in the voxel order of the scan's file,
    and `image`, whose metadata have the path of this file. The handler stands before `progress` in the list of
    handlers, so that a stopped run writes again what is missing. What lies beside a label that is made anew, and is not
    written anew, is deleted, as it would be of another label.

    Args:
        output_dir: the folder of the labels.
        kinds: names of companions, among those in `WRITERS`; none by default.
        progress: the `Progress` of the evaluator; its items are the scans in measures.csv.

    Raises:
        InputError: there is no such companion.
    """

    def __init__(self, output_dir: str | os.PathLike, *, kinds: Sequence[str], progress: Progress) -> None:
        if unknown := [kind for kind in kinds if kind not in WRITERS]:
            raise InputError(f"companions {', '.join(unknown)}: unknown; choose among {', '.join(WRITERS)}")
        self.folder, self.kinds, self.progress = Path(output_dir), kinds, progress

    def attach(self, engine: Engine) -> None:
        """Adds this handler to the evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.write_table)

    def write(self, engine: Engine) -> None:
        """Writes the companions of the scans of one iteration."""
        state: Any = engine.state
        for item, output in zip(state.batch, state.output, strict=True):
            source = Path(output[CommonKeys.IMAGE].meta[ImageMetaKey.FILENAME_OR_OBJ])
            file, name = self.folder / label_file(item, source), output_name(item, source)
            for earlier in (_measures_path(file.parent, name), *(file.parent / f"{name}_{end}" for end in _ENDS)):
                earlier.unlink(missing_ok=True)
            if not self.kinds:
                continue
            image = read_scan({"image": source}, ("image",))["image"]  # whole: a bundle may have stripped the skull
            label = output[CommonKeys.PRED][0].cpu().numpy() > 0
            scan = SegmentedScan(name, image, label, file, file.parent)
            for kind in self.kinds:
                WRITERS[kind](scan)

    def write_table(self) -> None:
        """Writes measures.csv, with a row for each scan, side and class of calibre; none for a scan without measures.

        Rows of an earlier run about other scans stay, as long as the scans' labels lie in the folder.
        """
        labels = [self.folder / label_file(item, item["image"]) for item in self.progress.items]
        rows: list[Mapping[str, Any]] = []
        for item, label in zip(self.progress.items, labels, strict=True) if "measures" in self.kinds else ():
            name = output_name(item, item["image"])
            content = json.loads(_measures_path(label.parent, name).read_text("utf-8"))
            rows += [{"label": content["label"], **measures} for measures in content["measures"]]
        rows = [*self._earlier({label.name for label in labels}, list(rows[0]) if rows else None), *rows]
        if not rows:
            (self.folder / _TABLE).unlink(missing_ok=True)
            return
        with (
            written_whole(self.folder / _TABLE) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def _earlier(self, labels: Collection[str], columns: list[str] | None) -> list[dict[str, str]]:
        """Returns the rows of the measures.csv in the folder about other labels.

        Rows of labels that are no longer in the folder, and all if the table has other columns, are left out.
        """
        try:
            with open(self.folder / _TABLE, newline="", encoding="utf-8") as stream:
                earlier = list(csv.DictReader(stream))
        except FileNotFoundError:
            return []
        if earlier and columns not in (None, list(earlier[0])):
            return []
        others = {row["label"] for row in earlier} - {*labels}
        kept = {label for label in others if any(self.folder.rglob(escape(label)))}
        return [row for row in earlier if row["label"] in kept]


def _measures_path(folder: Path, name: str) -> Path:
    return folder / f"{name}_measures.json"


def _rounded(measures: Measures) -> dict[str, Any]:
    values = asdict(measures)
    return {key: value if value is None else round(value, _DIGITS.get(key, 0)) for key, value in values.items()}
