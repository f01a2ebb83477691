"""Compares `thin` of this package with scikit-image's `skeletonize` on 500 random tubes and trees and on a head.

    python scripts/measure_thinning.py [--n 500] [--first 0]

The axis of each tube or tree is known. The head is simulated; only `thin` runs on it. The script prints two tables as
Markdown; docs/results/README.md holds them. In the first table, "length" is the length of the centreline divided by the
length of the axis. For recall, half of the object is left out of the prediction. For precision, the prediction has the
object twice, once in a wrong place. The right value of both is 0.5. "calibre error" is the error of the radius that
`calibre_mm` measures on round tubes, divided by the longest edge of a voxel.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage
from skimage.morphology import skeletonize

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from tests.helpers.tubes import TOUCHING, Tree, length_mm, n_ends, random_tree  # noqa: E402
from tofgan_monai.metrics.segmentation.calibre import radii_mm  # noqa: E402
from tofgan_monai.metrics.segmentation.thinning import thin  # noqa: E402
from tofgan_monai.phantom import simulate_head  # noqa: E402

Thinning = Callable[[np.ndarray, tuple[float, ...]], np.ndarray]
THINNINGS: dict[str, Thinning] = {"skeletonize": lambda label, spacing_mm: skeletonize(label), "thin": thin}
COLUMNS = [
    "emptied", "cut or joined", "ends lost or added", "length, lowest", "median", "highest", "recall", "precision",
    "calibre error, largest",
]  # fmt: skip
VOXELS = (1, 1, 1)  # clDice thins in voxels


def main() -> None:
    """Computes and prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=500, help="number of tubes and trees")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    options = parser.parse_args()
    trees = [random_tree(options.first + index) for index in range(options.n)]
    for line in table(trees):
        print(line, flush=True)
    print()
    for line in head_table():
        print(line, flush=True)


def table(trees: list[Tree]) -> Iterator[str]:
    """Yields the rows of the first table: the header, and one row for each thinning function."""
    yield "| | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 1)
    for name, thinning in THINNINGS.items():
        rows = np.array([measured(tree, thinning) for tree in trees])
        emptied, components, ends, length, recall, precision, calibre = rows.T
        shares = [f"{100 * value.mean():.1f} %" for value in (emptied, components, ends)]
        lengths = [f"{value:.3f}" for value in (length.min(), np.median(length), length.max())]
        ranges = [f"{np.nanmin(value):.3f} to {np.nanmax(value):.3f}" for value in (recall, precision)]
        yield f"| `{name}` | " + " | ".join([*shares, *lengths, *ranges, f"{np.nanmax(calibre):.2f}"]) + " |"


def measured(tree: Tree, thinning: Thinning) -> tuple[float, ...]:
    """Tuple of the figures of one tube or tree, in the order of `table`; NaN if an empty centreline has no figure."""
    line = thinning(tree.label, tree.spacing_mm)
    n = [ndimage.label(volume, TOUCHING)[1] for volume in (tree.label, line)]
    in_voxels = thinning(tree.label, VOXELS)
    twins = thinning(np.concatenate([tree.label] * 2), VOXELS)
    recall, precision = (
        inside.sum() / whole.sum() if whole.any() else np.nan
        for inside, whole in ((in_voxels & tree.half(), in_voxels), (twins[: len(tree.label)], twins))
    )
    length = length_mm(line, tree.spacing_mm) / tree.length_mm
    return (
        n[1] == 0, n[0] != n[1], n_ends(line) != tree.n_ends, length, recall, precision, calibre_error(tree, line),
    )  # fmt: skip


def calibre_error(tree: Tree, line: np.ndarray) -> float:
    """Error of a round tube's measured radius, in longest voxel edges; NaN for trees, square tubes and empty lines.

    The measured radius is the median over the centreline of the radius from which `calibre_mm` takes its diameter.
    """
    if not tree.is_round or tree.n_ends != 2 or not line.any():
        return np.nan
    radius_mm = np.median(radii_mm(tree.label, line, tree.spacing_mm))
    return abs(radius_mm - tree.radius_mm) / max(tree.spacing_mm)


def head_table() -> Iterator[str]:
    """Yields the rows of the second table: the header, and a row for each of three labels of a whole simulated head.

    The first label is the head's own; the other two are dilated by one and by two voxels.
    """
    head = simulate_head("A", 20000)
    spacing_mm = tuple(voxel_sizes(head.affine).tolist())
    yield f"| vessels of {' x '.join(map(str, head.label.shape))} voxels | processor seconds | objects | centrelines |"
    yield "|---|---|---|---|"
    for n in range(3):
        label = ndimage.binary_dilation(head.label > 0, iterations=n) if n else head.label > 0
        start = time.process_time()
        line = thin(label, spacing_mm)
        seconds = time.process_time() - start
        counts = [ndimage.label(volume, TOUCHING)[1] for volume in (label, line)]
        yield f"| {100 * label.mean():.2f} % | {seconds:.1f} | {counts[0]:,} | {counts[1]:,} |"


if __name__ == "__main__":
    main()
