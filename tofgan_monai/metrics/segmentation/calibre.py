"""The calibre of the true vessels, and the Dice (DSC) of small and of large ones.

The DSC of a whole tree is that of its large vessels, which hold most of the voxels; small ones are what networks miss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import skeletonize

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.overlap import as_binary, bounding_box, check_geometry, diagonal_mm, dice

EDGES_MM = (1.5,)
CUBE = np.ones((3, 3, 3))


def calibre_mm(truth: np.ndarray | torch.Tensor, spacing_mm: Sequence[float]) -> np.ndarray:
    """The diameter in mm of the true vessel that is nearest to each voxel, as a volume (X, Y, Z) in float32.

    The nearest vessel is that of the nearest voxel of the centreline. The diameter there is twice the distance from the
    centre of the vessel to the nearest background voxel, and the centre is the deepest of the 3 x 3 x 3 voxels about
    the centreline's. Nothing is subtracted, as two errors of about half a voxel cancel: the background voxel's middle
    lies beyond the surface, by up to half of its edge on average, and the deepest voxel lies beside the axis. (A
    centreline's own voxel lies farther beside it: 0.2 to 0.3 mm too little at voxels of 0.5 x 0.7 x 0.7 mm. Less half a
    voxel on either side it would be 0.8 to 1 mm.)

    What remains, by digital cylinders of 1 to 4 mm in every direction at voxels of 0.5 x 0.7 x 0.7 mm: a mean error
    within 0.25 mm for each diameter, and single cylinders up to 0.6 mm (a voxel) off, as the values come in steps: 1.0,
    1.4, 1.7, 2.0 mm. Nothing is thinner than twice the shortest edge of a voxel: a vessel of 0.6 mm measures 1.0 mm.

    Args:
        truth: vessels as 1 or True; of an empty one the calibre is 0 everywhere, of one without background the
            volume's diagonal.
        spacing_mm: the edges of a voxel along X, Y and Z.

    Raises:
        InputError: not a binary volume of three dimensions with three positive spacings.
    """
    vessels = as_binary(truth, "truth")
    check_geometry(vessels.shape, vessels.shape, spacing_mm)
    if not vessels.any():
        return np.zeros(vessels.shape, np.float32)
    if vessels.all():
        return np.full(vessels.shape, diagonal_mm(vessels.shape, spacing_mm), np.float32)
    depth_mm = ndimage.distance_transform_edt(vessels, sampling=spacing_mm).astype(np.float32)
    deepest_mm = ndimage.maximum_filter(depth_mm, size=3, mode="constant")  # of the 3 x 3 x 3 voxels
    centreline = _skeleton(vessels, ridge=depth_mm == deepest_mm)
    nearest = ndimage.distance_transform_edt(
        ~centreline, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    return 2 * deepest_mm[tuple(nearest)]


def dsc_by_calibre(
    prediction: np.ndarray | torch.Tensor,
    truth: np.ndarray | torch.Tensor,
    spacing_mm: Sequence[float],
    edges_mm: Sequence[float] = EDGES_MM,
) -> tuple[float | None, ...]:
    """DSC of the vessels of each class of calibre, the smallest first; None for a class without true voxels.

    A voxel of the prediction or the truth counts in the class of its nearest true vessel (`calibre_mm`), so a false
    positive counts against the vessel it lies next to, however far that is.

    The default edge of 1.5 mm parts the circle of Willis with what feeds it and its first branches (carotid and basilar
    artery, M1, M2, A1, A2, P1, P2) from the rest. In simulated heads of sites A and B (seeds 20000 and 20001, small)
    the large ones then hold 47 to 66 % of the vessel voxels. Of arteries that were drawn with 2 mm and more, at least
    97 % of the voxels are called large, of those below 1.25 mm at most 7 %; those between, such as the posterior
    communicating ones, fall on either side. The edge lies between two of the steps in which calibres come (1.4 and
    1.7 mm at those heads' voxels): moving it a little changes nothing.

    Args:
        prediction: vessels as 1 or True.
        truth: the same, of the same shape.
        spacing_mm: the edges of a voxel along X, Y and Z.
        edges_mm: between the classes, ascending; a vessel of an edge's own calibre is in the upper class.

    Raises:
        InputError: shapes differ, values other than 0 and 1, or edges that do not ascend.
    """
    prediction, truth = as_binary(prediction, "prediction"), as_binary(truth, "truth")
    check_geometry(prediction.shape, truth.shape, spacing_mm)
    if not np.isfinite(edges_mm).all() or not (np.diff(edges_mm) > 0).all():
        raise InputError(f"edges {tuple(edges_mm)} mm; give finite numbers that ascend")
    if not truth.any():
        return (None,) * (len(edges_mm) + 1)
    # With one voxel of background about it, or the volume's border, the box holds all that a calibre depends on.
    box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in bounding_box(prediction | truth))
    prediction, truth = prediction[box], truth[box]
    vessels = prediction | truth
    classes = np.digitize(calibre_mm(truth, spacing_mm)[vessels], edges_mm)
    predicted, true = prediction[vessels], truth[vessels]
    members = [classes == index for index in range(len(edges_mm) + 1)]
    return tuple(dice(predicted[those], true[those]) if true[those].any() else None for those in members)


def _skeleton(vessels: np.ndarray, *, ridge: np.ndarray) -> np.ndarray:
    """The skeleton, and the ridge of pieces that skimage thins away to nothing, such as a beam of 2 x 2 voxels."""
    skeleton = skeletonize(vessels) > 0
    pieces, n = ndimage.label(vessels, CUBE)
    has_skeleton = np.zeros(n + 1, bool)
    has_skeleton[pieces[skeleton]] = has_skeleton[0] = True
    return skeleton | (ridge & ~has_skeleton[pieces])
