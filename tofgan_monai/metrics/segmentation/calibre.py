"""Functions for the calibre (the diameter) of the true vessels, and for the Dice (DSC) of small and large vessels.

Large vessels hold most of the voxels, so they decide the DSC of a whole tree. But networks miss small vessels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.overlap import Volume, binary_pair, bounding_box, diagonal_mm, dice
from tofgan_monai.metrics.segmentation.simple_voxels import OFFSETS
from tofgan_monai.metrics.segmentation.thinning import thin

EDGES_MM = (1.5,)
BEYOND = 0.5  # how far the middle of the nearest background voxel lies beyond the surface, in edges of a voxel


def calibre_mm(truth: Volume, spacing_mm: Sequence[float]) -> np.ndarray:
    """Volume (X, Y, Z), float32, that holds at each voxel the diameter in mm of the nearest true vessel.

    The nearest vessel is the one with the nearest voxel of the centreline. The diameter is twice the radius that
    `radii_mm` measures there.

    The remaining error was measured with digital cylinders of 1 to 4 mm diameter in every direction and voxels of 0.5 x
    0.7 x 0.7 mm. The mean error is below 0.25 mm for each diameter. The error of a single cylinder is up to 0.6 mm (a
    voxel), because the results come in steps: 1.0, 1.4, 1.7, 2.0 mm. The smallest result is twice the shortest edge of
    a voxel: for example, a vessel of 0.6 mm measures 1.0 mm.

    >>> vessel = np.zeros((20, 9, 9))
    >>> vessel[:, 3:6, 3:6] = 1
    >>> float(calibre_mm(vessel, (0.5, 0.5, 0.5))[10, 4, 4])
    2.0

    Args:
        truth: vessels as 1 or True. If the volume is empty, the calibre is 0 everywhere. If the volume has no
            background, the calibre is the length of the volume's diagonal everywhere.
        spacing_mm: the edges of a voxel along X, Y and Z.

    Raises:
        InputError: not a binary volume of three dimensions with three positive spacings.
    """
    vessels, _ = binary_pair(truth, truth, spacing_mm)
    if not vessels.any():
        return np.zeros(vessels.shape, np.float32)
    if vessels.all():
        return np.full(vessels.shape, diagonal_mm(vessels.shape, spacing_mm), np.float32)
    line = thin(vessels, spacing_mm)
    calibre = np.zeros(vessels.shape, np.float32)
    calibre[line] = 2 * radii_mm(vessels, line, spacing_mm)
    nearest = ndimage.distance_transform_edt(~line, sampling=spacing_mm, return_distances=False, return_indices=True)
    return calibre[tuple(nearest)]


def radii_mm(vessels: np.ndarray, line: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Radius of the vessel in mm at each voxel of its centreline, (n,), in the order of `np.argwhere(line)`.

    The radius is the larger of two. The first is the distance from the deepest of the 3 x 3 x 3 voxels round the
    centreline voxel to the middle of the nearest background voxel. Two errors of about half a voxel cancel: the middle
    of the background voxel lies beyond the surface, and the deepest voxel lies beside the axis. So nothing is
    subtracted. But where the axis passes between voxels, this radius can be too small by 0.7 voxels. The second is the
    distance from the deepest point on a grid of half voxels round that voxel, less half of the mean edge of a voxel.

    Args:
        vessels: the label (X, Y, Z), bool. If it has no background, the radius is the length of the volume's diagonal.
        line: its centreline, bool.
        spacing_mm: the edges of a voxel along X, Y and Z.
    """
    if not line.any():
        return np.zeros(0)
    # A depth depends only on the box and one voxel of background round it, or on the volume's border.
    box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in bounding_box(vessels))
    vessels, line = vessels[box], line[box]
    walls = np.argwhere(ndimage.binary_dilation(vessels) & ~vessels)  # a tenth of the time of a distance transform
    if not len(walls):
        return np.full(line.sum(), diagonal_mm(vessels.shape, spacing_mm))
    nearest_wall = KDTree(walls * spacing_mm)
    depth_mm = np.zeros(vessels.shape)
    depth_mm[vessels] = nearest_wall.query(np.argwhere(vessels) * spacing_mm)[0]
    last = np.array(vessels.shape) - 1
    around = (np.argwhere(line)[:, None] + OFFSETS).clip(0, last)  # (n, 27, 3)
    depths_mm = depth_mm[tuple(np.moveaxis(around, -1, 0))]
    deepest = np.take_along_axis(around, depths_mm.argmax(axis=1)[:, None, None], axis=1)
    between_mm = nearest_wall.query((deepest + OFFSETS / 2).clip(0, last) * spacing_mm)[0]
    return np.maximum(depths_mm.max(axis=1), between_mm.max(axis=1) - BEYOND * np.mean(spacing_mm))


def dsc_by_calibre(
    prediction: Volume, truth: Volume, spacing_mm: Sequence[float], edges_mm: Sequence[float] = EDGES_MM
) -> tuple[float | None, ...]:
    """Tuple of the DSC for each class of calibre, smallest calibres first; None for a class without true voxels.

    Each vessel voxel of the prediction or the truth belongs to the class of its nearest true vessel (`calibre_mm`). So
    a false positive lowers the DSC of the class of the nearest vessel, however far away this vessel is.

    The default limit of 1.5 mm separates the circle of Willis, its feeding arteries and its first branches (carotid and
    basilar artery, M1, M2, A1, A2, P1, P2) from the rest. In small simulated heads of the simulated sites A and B
    (seeds 20000 and 20001), the large class then holds 47 to 66 % of the vessel voxels. It holds at least 97 % of the
    voxels of arteries that were simulated with a diameter of 2 mm or more, and at most 7 % of the voxels of arteries
    below 1.25 mm. Arteries with a diameter between, such as the posterior communicating arteries, can be in either
    class. The limit lies between two steps of the calibre (1.4 and 1.7 mm at the voxels of these heads), so that a
    slightly different limit changes nothing.

    Args:
        prediction: vessels as 1 or True.
        truth: the true vessels as 1 or True, of the same shape.
        spacing_mm: the edges of a voxel along X, Y and Z.
        edges_mm: the limits between the classes, ascending; a calibre equal to a limit belongs to the upper class.

    Raises:
        InputError: shapes that differ, values other than 0 and 1, or edges that do not ascend.
    """
    prediction, truth = binary_pair(prediction, truth, spacing_mm)
    require_ascending(edges_mm)
    if not truth.any():
        return (None,) * (len(edges_mm) + 1)
    # A calibre depends only on the box and one voxel of background round it, or on the volume's border.
    box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in bounding_box(prediction | truth))
    prediction, truth = prediction[box], truth[box]
    vessels = prediction | truth
    classes = np.digitize(calibre_mm(truth, spacing_mm)[vessels], edges_mm)
    predicted, true = prediction[vessels], truth[vessels]
    members = [classes == index for index in range(len(edges_mm) + 1)]
    return tuple(dice(predicted[those], true[those]) if true[those].any() else None for those in members)


def require_ascending(edges_mm: Sequence[float]) -> None:
    """Raises InputError unless limits between classes of calibre are finite and ascend."""
    if not np.isfinite(edges_mm).all() or not (np.diff(edges_mm) > 0).all():
        raise InputError(
            f"edges_mm {tuple(edges_mm)} do not ascend or are not finite; give finite numbers in ascending order"
        )
