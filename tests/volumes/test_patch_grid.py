"""Where the centre of a patch may lie: by trying every voxel."""

from __future__ import annotations

import numpy as np
import pytest

from tofgan_monai.volumes.patch_grid import centre_box, padding_of


@pytest.mark.parametrize("size", [96, 33])
@pytest.mark.parametrize("shape", [(100, 97, 3), (96, 60, 2), (33, 34, 1), (5, 130, 4)])
def test_a_patch_round_each_centre_in_the_box_and_no_other_fits_the_padded_slice(shape, size) -> None:
    padding = padding_of(shape, size)
    padded = [before + n + after for (before, after), n in zip(padding, shape, strict=True)]
    fits = np.zeros(shape, bool)
    for x, y in np.ndindex(*shape[:2]):
        corner = [x + padding[0][0] - size // 2, y + padding[1][0] - size // 2]
        fits[x, y] = all(0 <= c <= n - size for c, n in zip(corner, padded, strict=False))
    inside = np.zeros(shape, bool)
    inside[centre_box(shape, size)] = True
    np.testing.assert_array_equal(inside, fits)
