"""Reading of volumes through ITK, because labels and masks are often NRRD or MetaImage files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from nibabel.affines import from_matvec

from tofgan_monai.errors import InputError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_itk(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Reads a grey volume through ITK; returns its voxels (X, Y, Z), float32, and its affine (4, 4) to RAS millimetres.

    Raises:
        InputError: the file cannot be read, is not 3D, or has several values per voxel (as 3D Slicer writes overlapping
            segments).
    """
    import itk

    name = os.fspath(path)
    try:
        header = itk.ImageIOFactory.CreateImageIO(name, itk.CommonEnums.IOFileMode_ReadMode)
        if header is None:
            raise InputError("ITK cannot read a file of this type; convert the file to NIfTI (.nii.gz)")
        header.SetFileName(name)
        header.ReadImageInformation()
        n_axes, n_components = header.GetNumberOfDimensions(), header.GetNumberOfComponents()
        if (n_axes, n_components) != (3, 1):
            raise InputError(
                f"the file has {n_axes} axes and {n_components} values per voxel; export one 3D volume of whole numbers"
            )
        return as_ras(itk.imread(name, itk.F))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"unreadable or truncated ({reason}); copy or convert it again") from error


def as_ras(volume: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the voxels (X, Y, Z) of an ITK image and its affine (4, 4) to RAS millimetres."""
    import itk

    axes = itk.array_from_matrix(volume.GetDirection()) * np.array(volume.GetSpacing())
    affine = _LPS_TO_RAS @ from_matvec(axes, np.array(volume.GetOrigin()))
    return itk.array_from_image(volume).transpose(2, 1, 0), affine
