"""Average distances in mm between a predicted and a true vessel tree; `overlap` has the table for empty volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.metrics import compute_average_surface_distance
from scipy.spatial import KDTree

from tofgan_monai.metrics.segmentation.overlap import (
    Volume,
    as_batches,
    binary_pair,
    bounding_box,
    distance_if_empty_mm,
)


def average_surface_distance_mm(prediction: Volume, truth: Volume, *, spacing_mm: Sequence[float]) -> float:
    """Mean distance in mm from the surface voxels of each volume to the surface of the other volume; lower is better.

    MONAI computes this symmetric average surface distance. If only one volume is empty, the result is the length of
    the volume's diagonal; if both are empty, it is 0.

    >>> truth, prediction = np.zeros((2, 9, 9, 9))
    >>> truth[2, 4, 4] = prediction[5, 4, 4] = 1
    >>> average_surface_distance_mm(prediction, truth, spacing_mm=(0.5, 0.5, 0.7))
    1.5

    Args:
        prediction: (X, Y, Z), vessels as 1 or True.
        truth: the true vessels as 1 or True, of the same shape.
        spacing_mm: the edges of a voxel along X, Y and Z.

    Raises:
        InputError: shapes that differ or are not three-dimensional, or values other than 0 and 1.
    """
    one, other = binary_pair(prediction, truth, spacing_mm)
    if (distance := distance_if_empty_mm(one, other, spacing_mm)) is not None:
        return distance
    pair, edges = as_batches(one, other), [float(edge) for edge in spacing_mm]
    return float(compute_average_surface_distance(*pair, include_background=True, symmetric=True, spacing=edges))


def average_hausdorff_mm(prediction: Volume, truth: Volume, *, spacing_mm: Sequence[float]) -> float:
    """Average Hausdorff distance in mm between two binary volumes; lower is better.

    For each vessel voxel of the prediction, the function takes the distance to the nearest vessel voxel of the truth,
    and averages these distances. It does the same from the truth to the prediction, and returns the larger of the two
    means. If only one volume is empty, the result is the length of the volume's diagonal; if both are empty, it is 0.

    >>> truth, prediction = np.zeros((2, 9, 9, 9))
    >>> truth[2, 4, 4] = prediction[5, 4, 4] = 1
    >>> average_hausdorff_mm(prediction, truth, spacing_mm=(0.5, 0.5, 0.7))
    1.5

    Args:
        prediction: (X, Y, Z), vessels as 1 or True.
        truth: the true vessels as 1 or True, of the same shape.
        spacing_mm: the edges of a voxel along X, Y and Z.

    Raises:
        InputError: shapes that differ or are not three-dimensional, or values other than 0 and 1.

    Source: Taha and Hanbury 2015, BMC Medical Imaging 15:29; the literature on vessel segmentation calls it AVD.
    """
    one, other = binary_pair(prediction, truth, spacing_mm)
    if (distance := distance_if_empty_mm(one, other, spacing_mm)) is not None:
        return distance
    box = bounding_box(one | other)
    points = [np.argwhere(volume[box]) * np.asarray(spacing_mm, float) for volume in (one, other)]  # (n, 3) in mm
    trees = [KDTree(cloud) for cloud in points]
    return max(float(tree.query(cloud)[0].mean()) for cloud, tree in zip(points, reversed(trees), strict=True))
