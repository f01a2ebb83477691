"""Average distances between a predicted and a true vessel tree in mm; empty cases are those of `metrics.overlap`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics import compute_average_surface_distance
from scipy.spatial import KDTree

from tofgan_monai.metrics.segmentation.overlap import as_binary, bounding_box, check_geometry, diagonal_mm

Volume = np.ndarray | torch.Tensor


def average_surface_distance_mm(prediction: Volume, truth: Volume, *, spacing_mm: Sequence[float]) -> float:
    """Mean distance of all surface voxels of either binary volume (X, Y, Z) to the other's surface; lower is better.

    MONAI's symmetric average surface distance, with this package's rule where one is empty: the volume's diagonal.

    Raises:
        InputError: shapes differ, are not three-dimensional, or values other than 0 and 1.
    """
    found = _cropped(prediction, truth, spacing_mm)
    if isinstance(found, float):
        return found
    one, other = (torch.from_numpy(volume)[None, None] for volume in found)
    edges = [float(edge) for edge in spacing_mm]
    return float(compute_average_surface_distance(one, other, include_background=True, symmetric=True, spacing=edges))


def average_hausdorff_mm(prediction: Volume, truth: Volume, *, spacing_mm: Sequence[float]) -> float:
    """Average Hausdorff distance (AVD) of two binary volumes (X, Y, Z); lower is better.

    Of each vessel voxel of one the distance to the nearest of the other, averaged; the same the other way round; the
    larger of the two. Where one is empty it is the volume's diagonal.

    Raises:
        InputError: shapes differ, are not three-dimensional, or values other than 0 and 1.

    Source: Taha and Hanbury 2015, BMC Medical Imaging 15:29, the AVD of the vessel segmentation literature.
    """
    found = _cropped(prediction, truth, spacing_mm)
    if isinstance(found, float):
        return found
    points = [np.argwhere(volume) * np.asarray(spacing_mm, float) for volume in found]  # (n, 3) in mm
    trees = [KDTree(cloud) for cloud in points]
    return max(float(tree.query(cloud)[0].mean()) for cloud, tree in zip(points, reversed(trees), strict=True))


def _cropped(prediction: Volume, truth: Volume, spacing_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray] | float:
    """Both within the box that holds them, or the distance that the empty-case rule gives."""
    prediction, truth = as_binary(prediction, "prediction"), as_binary(truth, "truth")
    check_geometry(prediction.shape, truth.shape, spacing_mm)
    if not prediction.any() or not truth.any():
        return 0.0 if prediction.any() == truth.any() else diagonal_mm(truth.shape, spacing_mm)
    box = bounding_box(prediction | truth)
    return np.ascontiguousarray(prediction[box]), np.ascontiguousarray(truth[box])
