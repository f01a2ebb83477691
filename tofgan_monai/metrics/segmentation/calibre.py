"""Functions for the calibre (the diameter) of the true vessels, and for the Dice (DSC) of small and large vessels.

Large vessels hold most of the voxels, so they decide the DSC of a whole tree. But networks miss small vessels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.overlap import Volume, binary_pair, bounding_box, diagonal_mm, dice
from tofgan_monai.metrics.segmentation.thinning import thin

EDGES_MM = (1.5,)


def calibre_mm(truth: Volume, spacing_mm: Sequence[float]) -> np.ndarray:
    """Volume (X, Y, Z), float32, that holds at each voxel the diameter in mm of the nearest true vessel.

    The nearest vessel is the one with the nearest voxel of the centreline. The centre of the vessel is the deepest of
    the 3 x 3 x 3 voxels round this centreline voxel. The diameter is twice the distance from the centre to the middle
    of the nearest background voxel. Two errors of about half a voxel cancel: the middle of the background voxel lies
    beyond the surface, by up to half of the voxel's edge on average, and the deepest voxel lies beside the axis. So
    nothing is subtracted. (The centreline voxel itself lies farther from the axis. Measured there, with voxels of 0.5 x
    0.7 x 0.7 mm, the diameter would be 0.2 to 0.3 mm too small. If half a voxel were also subtracted on either side,
    the diameter would be 0.8 to 1 mm too small.)

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
    depth_mm = ndimage.distance_transform_edt(vessels, sampling=spacing_mm).astype(np.float32)
    deepest_mm = ndimage.maximum_filter(depth_mm, size=3, mode="constant")  # of the 3 x 3 x 3 voxels
    centreline = thin(vessels, spacing_mm)
    nearest = ndimage.distance_transform_edt(
        ~centreline, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    return 2 * deepest_mm[tuple(nearest)]


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
    if not np.isfinite(edges_mm).all() or not (np.diff(edges_mm) > 0).all():
        raise InputError(
            f"edges_mm {tuple(edges_mm)} do not ascend or are not finite; give finite numbers in ascending order"
        )
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
