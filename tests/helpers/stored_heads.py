"""One head, written in the ways in which clinics store a head: orientations, roundings, DICOM, intensities of air."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

KEYS = ("image", "label", "mask")
ORIENTATIONS = ("RAS", "LAS", "LPS", "RSP", "PIR", "SAL", "ARS", "IPL")
PIXDIM = {"exact": 6, "four digits": 4, "float32": None}
AIR = {
    "0": lambda v: v,
    "-1024": lambda v: v - 1024,
    "recentred": lambda v: v - 32768,  # uint16 stored as int16
    "z-scored": lambda v: (v - v.mean()) / v.std(),
}


def write_nifti(
    folder: Path,
    volumes: Mapping[str, np.ndarray],
    affine: np.ndarray,
    *,
    orientation: str = "RAS",
    pixdim: str = "exact",
) -> dict[str, str]:
    """Writes volumes of RAS order in another orientation, the sform exact and pixdim rounded; returns a cohort item."""
    turns = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(orientation)
    )
    folder.mkdir(parents=True, exist_ok=True)
    for key, volume in volumes.items():
        image = nibabel.Nifti1Image(volume.astype(np.float32), affine).as_reoriented(turns)
        image.set_sform(image.affine, 1)
        if PIXDIM[pixdim]:
            image.header["pixdim"][1:4] = np.round(image.header["pixdim"][1:4], PIXDIM[pixdim])
        nibabel.save(image, folder / f"{key}.nii.gz")
    return {"subject": folder.name, "patient": folder.name, **{k: str(folder / f"{k}.nii.gz") for k in volumes}}


def write_dicom(
    folder: Path, volume: np.ndarray, affine: np.ndarray, *, backwards: bool = False, slope_per_slice: bool = False
) -> str:
    """Writes a volume of RAS order as a series in DICOM's LPS order, and returns its folder.

    Args:
        folder: the new folder.
        volume: whole numbers are stored as they are without a slope a slice; other numbers in 4,095 steps.
        affine: affine (4, 4) of the volume to RAS mm.
        backwards: whether the names of the files run from the last slice to the first.
        slope_per_slice: whether each slice has a slope of its own. The lowest has the slope 1 if the numbers are whole;
            ITK's own reader then cuts off the decimals of all others (ITK 5.4.7).
    """
    folder.mkdir(parents=True)
    spacing_mm, n = voxel_sizes(affine), volume.shape[2]
    cosines = np.diag([-1, -1, 1]) @ affine[:3, :3] / spacing_mm  # of the axes right, anterior, superior in LPS
    intercept = float(f"{min(volume.min(), 0):.9g}")
    step = 1.0 if (volume == np.rint(volume)).all() else np.ptp(volume) / 4095
    for z in range(n):
        place = np.diag([-1, -1, 1, 1]) @ affine @ [volume.shape[0] - 1, volume.shape[1] - 1, z, 1]
        slope = float(f"{step / (1 + 0.3 * z * slope_per_slice):.9g}")
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = MRImageStorage
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{z + 1}"
        one.StudyInstanceUID, one.SeriesInstanceUID, one.Modality = "1.2.3", "1.2.3.4", "MR"
        one.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
        one.ImagePositionPatient = [f"{edge:.6f}" for edge in place[:3]]
        one.ImageOrientationPatient = [f"{cosine:.9f}" for cosine in (*-cosines[:, 0], *-cosines[:, 1])]
        one.PixelSpacing = [f"{spacing_mm[1]:.8f}", f"{spacing_mm[0]:.8f}"]
        one.SliceThickness = f"{spacing_mm[2]:.8f}"
        one.RescaleSlope, one.RescaleIntercept = f"{slope:.9g}", f"{intercept:.9g}"
        one.Columns, one.Rows = volume.shape[:2]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        one.PixelData = np.rint((volume[::-1, ::-1, z].T - intercept) / slope).astype(np.uint16).tobytes()
        one.save_as(folder / f"IM{n - z if backwards else z:03d}.dcm", enforce_file_format=True)
    return str(folder)
