"""The DICOM SEG of each segmented DICOM series: whether one is written, and what it says about its origin."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.installation import install_command, missing_packages
from tofgan_monai.training.weights import weights_file_digest
from tofgan_monai.volumes.dicom_seg import Algorithm, write_seg_beside
from tofgan_monai.volumes.writing import label_file

_logger = logging.getLogger(__name__)


def wants_seg(choice: bool | None, images: Iterable[str | Path]) -> bool:
    """Whether a run over these images writes DICOM SEGs.

    Args:
        choice: what the user chose by --dicom-seg or --no-dicom-seg; None: SEGs of DICOM series if the extra `dicom` is
            installed. If it is not, one line says that there will be none.
        images: paths of the scans; a folder is a DICOM series.

    Raises:
        InputError: the user wants SEGs, but no scan is a DICOM series.
    """
    has_series = any(Path(image).is_dir() for image in images)
    if choice is True and not has_series:
        raise InputError("--dicom-seg: no scan is a DICOM series, to which a DICOM SEG could refer; leave it out")
    if choice is not None or not has_series:
        return bool(choice)
    if missing := missing_packages("dicom"):
        told = "no DICOM SEG is written, as the extra dicom is not installed (%s): run %s, or give --no-dicom-seg"
        _logger.warning(told, ", ".join(missing), install_command("dicom"))
    return not missing


def seg_algorithm(bundle: Path, weights: str | Path | None = None) -> Algorithm:
    """Returns what a SEG says about the algorithm: name and version of the bundle, and digest of the weights.

    Args:
        bundle: folder of the segmentation bundle.
        weights: file of the weights; None for the bundle's own.
    """
    version = json.loads((bundle / "configs" / "metadata.json").read_text("utf-8"))["version"]
    return Algorithm(bundle.name, str(version), weights_file_digest(weights or bundle / "models" / "model.pt"))


def write_segs(items: Iterable[Mapping[str, Any]], output_dir: Path, algorithm: Algorithm) -> list[Path]:
    """Writes a DICOM SEG beside the label of each scan that is a DICOM series; returns their paths.

    Args:
        items: items of a cohort that were segmented into `output_dir`.
        output_dir: folder with the label of each item.
        algorithm: what made the labels.

    Raises:
        InputError: some SEGs could not be written; the others are written.
    """
    paths, problems = [], []
    for item in items:
        if not Path(item["image"]).is_dir():
            continue
        try:
            label = output_dir / label_file(item, item["image"])
            paths.append(write_seg_beside(label, item["image"], algorithm))
        except InputError as error:
            problems += [f"{item['subject']}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)
    return paths
