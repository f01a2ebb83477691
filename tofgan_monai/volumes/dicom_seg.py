"""Writes a label as a DICOM SEG, so that an archive keeps it beside the series that was segmented.

A SEG is a DICOM object that holds a segmentation and refers to the images it belongs to.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from nibabel.affines import from_matvec

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_whole
from tofgan_monai.installation import require_extra
from tofgan_monai.volumes.dicom import series_files
from tofgan_monai.volumes.dicom_extra import as_bytes
from tofgan_monai.volumes.digests import array_digest
from tofgan_monai.volumes.reading import onto_grid
from tofgan_monai.volumes.volume import Volume, load_volume

if TYPE_CHECKING:
    from pydicom import Dataset

PURPOSE = "research only, not for diagnosis"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


class Algorithm(NamedTuple):
    """What made a label.

    Attributes:
        name: name of the algorithm, such as that of a bundle.
        version: version of the algorithm.
        weights_digest: SHA-256 of the network's weights, 64 hexadecimal digits.
    """

    name: str
    version: str
    weights_digest: str


def write_seg_beside(label: str | os.PathLike, series: str | os.PathLike, algorithm: Algorithm) -> Path:
    """Writes the label in a NIfTI file as a DICOM SEG beside this file; returns the path of the SEG.

    Args:
        label: the file, as `WriteLabeld` writes it, on the grid of the series.
        series: folder of the DICOM series that was segmented.
        algorithm: what made the label.

    Raises:
        InputError: as of `write_seg`.
    """
    volume = load_volume(label)
    path = Path(label).with_name(Path(label).name.removesuffix(".gz").removesuffix(".nii") + ".dcm")
    write_seg(path, volume.voxels, volume.affine, series=series, algorithm=algorithm)
    return path


def write_seg(
    path: str | os.PathLike,
    label: np.ndarray,
    affine: np.ndarray,
    *,
    series: str | os.PathLike,
    algorithm: Algorithm,
) -> None:
    """Writes a label as a DICOM SEG: binary, all frames, one segment, coded as artery (SNOMED CT).

    The SEG has the identifiers of the patient and the study that its source has, and refers to every source image. It
    says that it is for research only and not for diagnosis. The same label of the same series, by the same algorithm,
    has the same UIDs, so that an archive keeps it once.

    Args:
        path: the file to write; it is written whole or not at all.
        label: (X, Y, Z), voxels above 0 are artery.
        affine: (4, 4), from voxel indices to RAS mm; the axes may be in another order than those of the series.
        series: folder of the source series.
        algorithm: what made the label.

    Raises:
        InputError: the extra `dicom` is not installed, the series is faulty or lacks a UID, the label is on another
            grid, or the file cannot be written.
    """
    require_extra("dicom", "a DICOM SEG")
    import pydicom

    slices = [pydicom.dcmread(file, stop_before_pixels=True) for file in series_files(series)]
    lacking = [name for name in _NEEDED if not all(one.get(name) for one in slices)]
    if lacking:
        problem = f"the images have no {', '.join(lacking)}, by which a SEG refers to them"
        raise InputError(f"{series}: {problem}; export the series again with its UIDs, or take the NIfTI label")
    shape = (int(slices[0].Columns), int(slices[0].Rows), len(slices))
    grid = Volume(np.empty(shape, bool), _affine_of(slices))
    voxels = onto_grid(Volume(np.asarray(label) > 0, affine), grid).voxels
    try:
        content = as_bytes(_segmentation(voxels, slices, algorithm))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        problem = f"no DICOM SEG can refer to these images ({type(error).__name__}: {reason})"
        raise InputError(f"{series}: {problem}; export the series again, or take the NIfTI label") from error
    write_whole(path, content)


def _affine_of(slices: Sequence[Dataset]) -> np.ndarray:
    """Returns the affine (4, 4) from indices (column, row, slice) to RAS mm of slices that lie evenly."""
    along_row, along_column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, slices[0].PixelSpacing)
    first, last = (np.array(one.ImagePositionPatient, float) for one in (slices[0], slices[-1]))
    if len(slices) > 1:
        step = (last - first) / (len(slices) - 1)
    else:
        step = np.cross(along_row, along_column) * float(slices[0].get("SliceThickness") or 1)
    axes = np.column_stack([along_row * between_columns, along_column * between_rows, step])
    return _LPS_TO_RAS @ from_matvec(axes, first)


def _segmentation(voxels: np.ndarray, slices: Sequence[Dataset], algorithm: Algorithm) -> Dataset:
    """Returns the SEG of a label.

    Args:
        voxels: (X, Y, Z), bool, in the voxel order of the slices.
        slices: the source images without their pixels; an attribute that may be empty is added where it is missing.
        algorithm: what made the label.
    """
    import highdicom
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    logging.getLogger("highdicom").setLevel(logging.WARNING)  # it would show UIDs
    source = slices[0]
    for name in _MAY_BE_EMPTY:
        if name not in source:
            setattr(source, name, "")
    identification = highdicom.AlgorithmIdentificationSequence(
        algorithm.name,
        codes.DCM.ArtificialIntelligence,
        algorithm.version,
        parameters={"weights_sha256": algorithm.weights_digest},
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Artery",
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.Artery,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=identification,
        display_color=highdicom.color.CIELabColor.from_rgb(230, 60, 50),
    )
    segment.SegmentDescription = f"Arteries of a TOF-MRA; {PURPOSE}"
    seed = [source.SeriesInstanceUID, *algorithm, array_digest(voxels)]
    series_uid, instance_uid = (generate_uid(entropy_srcs=[*seed, kind]) for kind in ("series", "instance"))
    seg = highdicom.seg.Segmentation(
        slices,
        voxels.T,
        highdicom.seg.SegmentationTypeValues.BINARY,
        [segment],
        series_instance_uid=series_uid,
        series_number=1000 + int(source.get("SeriesNumber") or 0),
        sop_instance_uid=instance_uid,
        instance_number=1,
        manufacturer="tofgan_monai",
        manufacturer_model_name=algorithm.name,
        software_versions=algorithm.version,
        device_serial_number=algorithm.weights_digest,
        series_description=f"Arteries; {PURPOSE}",
        content_description=f"Arteries; {PURPOSE}",
        content_label="ARTERIES",
        content_qualification=highdicom.ContentQualificationValues.RESEARCH,
        omit_empty_frames=False,  # ITK takes a SEG with a gap for one of spacing 1
    )
    seg.ContentCreatorName = ""  # no person; the standard wants the attribute, and highdicom leaves it out
    return seg
