"""clDice and Betti numbers, which measure whether a predicted vessel tree is connected in the same way as the true one.

The DSC hardly changes if a vessel is cut or if two vessels are fused, but a neurologist notices. clDice is 1 if both
volumes are empty, and 0 if only one volume is empty. The Betti numbers of an empty volume are 0, so the errors of Betti
numbers need no rule for empty volumes.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.measure import euler_number

from tofgan_monai.metrics.segmentation.overlap import Volume, binary_pair, bounding_box
from tofgan_monai.metrics.segmentation.thinning import thin

TOUCHING = np.ones((3, 3, 3), bool)  # vessel voxels touch by faces, edges or corners; background voxels by faces


def cl_dice(prediction: Volume, truth: Volume) -> float:
    """Centreline Dice of two binary volumes (X, Y, Z); 0 to 1, higher is better.

    clDice is the harmonic mean of two fractions: the fraction of the prediction's centreline that lies in the true
    vessels, and the fraction of the true centreline that lies in the predicted vessels. The function finds the
    centrelines by thinning with cubic voxels; it ignores the spacing.

    >>> truth, prediction = np.zeros((2, 20, 9, 9))
    >>> truth[:, 3:6, 3:6] = prediction[:, 2:7, 2:7] = 1
    >>> cl_dice(prediction, truth)
    1.0

    Raises:
        InputError: shapes that differ or are not three-dimensional, or values other than 0 and 1.

    Source: Shit et al. 2021, CVPR, arXiv:2003.07311, eq. 1 to 3.
    """
    prediction, truth = binary_pair(prediction, truth)
    if not prediction.any() or not truth.any():
        return float(prediction.any() == truth.any())
    precision = _share_inside(thin(prediction), truth)
    sensitivity = _share_inside(thin(truth), prediction)
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def betti_numbers(volume: Volume) -> tuple[int, int, int]:
    """Tuple of the numbers of components, loops and cavities of a binary volume (X, Y, Z).

    Two vessel voxels are connected if they share a face, an edge or a corner.

    >>> ring = np.zeros((9, 9, 9))
    >>> ring[2:7, 2:7, 4] = 1
    >>> ring[3:6, 3:6, 4] = 0
    >>> betti_numbers(ring)
    (1, 1, 0)

    Raises:
        InputError: not three-dimensional, or values other than 0 and 1.

    Source: Hatcher 2002, Algebraic Topology, theorem 2.44: the Euler number is components - loops + cavities.
    """
    vessels, _ = binary_pair(volume, volume)
    if not vessels.any():
        return 0, 0, 0
    vessels = np.pad(vessels[bounding_box(vessels)], 1)
    components = ndimage.label(vessels, TOUCHING)[1]
    cavities = ndimage.label(~vessels)[1] - 1  # the whole outside is one piece of background
    return components, components + cavities - int(euler_number(vessels, connectivity=3)), cavities


def betti_errors(prediction: Volume, truth: Volume) -> tuple[int, int, int]:
    """Absolute differences between two volumes in the numbers of components, loops and cavities; 0 is best.

    Raises:
        InputError: see `cl_dice`.
    """
    pairs = zip(*map(betti_numbers, binary_pair(prediction, truth)), strict=True)
    components, loops, cavities = (abs(a - b) for a, b in pairs)
    return components, loops, cavities


def _share_inside(line: np.ndarray, volume: np.ndarray) -> float:
    return float((line & volume).sum() / line.sum())
