"""Writes the image of a simulated head as a DICOM series, one file a slice, marked as simulated in its tags."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from nibabel.affines import voxel_sizes

from tofgan_monai.files import written_whole
from tofgan_monai.phantom.head import Head
from tofgan_monai.phantom.sources import VERSION
from tofgan_monai.volumes.dicom_extra import as_bytes
from tofgan_monai.volumes.volume import SIMULATED

if TYPE_CHECKING:
    from pydicom import Dataset

_FLIP = np.diag([-1.0, -1.0, 1.0])  # between RAS and LPS, and between this package's axes and a scanner's


def write_series(folder: str | os.PathLike, head: Head, name: str) -> None:
    """Writes the image of a head as a classic MR series FOLDER/IM0001.dcm ...; whole or not at all.

    Rows run to the patient's left and columns to the back, as a scanner stores axial slices, so the first two axes are
    flipped against the head's arrays. The same head and name always give the same files.

    Args:
        folder: folder to make for the slices.
        head: the simulated head.
        name: name of the head, such as sub-A10003; the patient's name and ID.

    Raises:
        InputError: the folder is not writable, or the disk is full.
        ImportError: pydicom is not installed; see `require_extra`.
    """
    from pydicom.uid import UID
    from pydicom.valuerep import format_number_as_ds

    pixels = np.ascontiguousarray(head.image[::-1, ::-1].T, "<u2")  # slices, rows, columns
    spacing = voxel_sizes(head.affine)
    directions = _FLIP @ (head.affine[:3, :3] / spacing) @ _FLIP  # columns: along a row, along a column, across slices
    corner = [head.image.shape[0] - 1, head.image.shape[1] - 1, 0, 1]
    first = _FLIP @ (head.affine @ corner)[:3]
    common = _common_tags(head, name, spacing)
    common.Rows, common.Columns = pixels.shape[1:]
    common.ImageOrientationPatient = [format_number_as_ds(x) for x in directions[:, :2].T.ravel()]
    with written_whole(folder) as temporary:
        temporary.mkdir()
        for number, slice_pixels in enumerate(pixels, start=1):
            position = first + directions[:, 2] * spacing[2] * (number - 1)
            common.InstanceNumber = number
            common.SOPInstanceUID = UID(f"{common.SeriesInstanceUID}.{number}")
            common.file_meta.MediaStorageSOPInstanceUID = common.SOPInstanceUID
            common.ImagePositionPatient = [format_number_as_ds(x) for x in position]
            common.PixelData = slice_pixels.tobytes()
            (temporary / f"IM{number:04d}.dcm").write_bytes(as_bytes(common))


def _common_tags(head: Head, name: str, spacing: np.ndarray) -> Dataset:
    """Returns a data set with the tags that all slices of a head share.

    Args:
        head: the simulated head.
        name: name of the head.
        spacing: (3,), voxel size in mm.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
    from pydicom.valuerep import format_number_as_ds

    simulated = f"{SIMULATED.decode()}, version {VERSION}"
    tags = Dataset()
    tags.file_meta = FileMetaDataset()
    tags.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    tags.file_meta.MediaStorageSOPClassUID = tags.SOPClassUID = MRImageStorage
    seed = [simulated, name, str(head.image.shape)]
    tags.StudyInstanceUID, tags.SeriesInstanceUID, tags.FrameOfReferenceUID = (
        generate_uid(entropy_srcs=[*seed, kind])[:58] for kind in ("study", "series", "frame of reference")
    )
    tags.PatientName, tags.PatientID = f"Simulated^{name}", name
    tags.PatientComments = tags.ImageComments = simulated
    tags.QualityControlSubject = tags.QualityControlImage = "YES"  # no patient, but a phantom
    tags.PatientBirthDate = tags.PatientSex = tags.StudyDate = tags.StudyTime = ""
    tags.AccessionNumber = tags.ReferringPhysicianName = tags.PositionReferenceIndicator = ""
    tags.StudyID, tags.SeriesNumber = "1", 1
    tags.StudyDescription, tags.SeriesDescription = "Simulated head", f"TOF-MRA, {simulated}"
    tags.Manufacturer, tags.ManufacturerModelName, tags.SoftwareVersions = "tofgan", "tofgan phantom", f"{VERSION}"
    tags.Modality, tags.BodyPartExamined, tags.PatientPosition = "MR", "HEAD", "HFS"
    tags.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    tags.ScanningSequence, tags.SequenceVariant, tags.ScanOptions = "GR", "SP", ""
    tags.MRAcquisitionType, tags.AngioFlag = "3D", "Y"
    tags.MagneticFieldStrength = round(head.parameters["field_strength"], 2)
    tags.RepetitionTime = round(head.parameters["repetition_time"], 2)
    tags.FlipAngle = round(head.parameters["flip_angle"], 2)
    tags.EchoTime, tags.EchoTrainLength = "", 1
    tags.SliceThickness = tags.SpacingBetweenSlices = format_number_as_ds(spacing[2])
    tags.PixelSpacing = [format_number_as_ds(spacing[1]), format_number_as_ds(spacing[0])]  # of rows, of columns
    tags.SamplesPerPixel, tags.PhotometricInterpretation = 1, "MONOCHROME2"
    tags.BitsAllocated, tags.BitsStored, tags.HighBit, tags.PixelRepresentation = 16, 16, 15, 0
    tags.BurnedInAnnotation, tags.LossyImageCompression = "NO", "00"
    tags.WindowCenter, tags.WindowWidth = _window(head.image)
    return tags


def _window(image: np.ndarray) -> tuple[int, int]:
    """Returns the centre and the width of a window from 0 to the intensity of bright arteries."""
    bright = max(2, int(np.percentile(image, 99.9)))
    return bright // 2, bright
