"""Draws slices and projections of one simulated head each of sites A and B into docs/explanation/phantoms.png.

python scripts/draw_phantoms.py [--output PNG]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from nibabel.affines import voxel_sizes

from tofgan_monai.phantom import SEEDS, simulate_head

SIZE_MM = (66.0, 66.0, 41.0)  # size of the cropped box: the pictures of both sites show the same amount of anatomy


def cropped(volume: np.ndarray, spacing_mm: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Crops a volume (X, Y, Z) to a box of SIZE_MM around the voxel `centre`."""
    half = np.rint(np.array(SIZE_MM) / spacing_mm / 2).astype(int)
    low = np.maximum(centre - half, 0)
    return volume[tuple(slice(a, a + 2 * h) for a, h in zip(low, half, strict=True))]


def rows_of(volume: np.ndarray, spacing_mm: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """List of four pictures of a volume (X, Y, Z), each with the ratio of a pixel's height to its width.

    The pictures are two axial slices, the axial and the coronal maximum intensity projection.
    """
    x, y, z = spacing_mm
    n = volume.shape[2]
    pictures = [volume[:, :, n // 4], volume[:, :, n // 2], volume.max(2)]
    return [(p.T, y / x) for p in pictures] + [(volume.max(1).T, z / x)]


def main() -> None:
    """Simulates one head of each site and writes the picture as a PNG file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/explanation/phantoms.png"))
    output = parser.parse_args().output
    columns: list[tuple[str, list[tuple[np.ndarray, float]], float]] = []
    seed = SEEDS["demo"][0]
    for source in "AB":
        head = simulate_head(source, seed)
        spacing = voxel_sizes(head.affine)
        top = float(np.percentile(head.image[head.label > 0], 80))
        stripped = head.image * head.mask
        n = head.image.shape[2]
        slices = [head.image[:, :, n // 3], head.image[:, :, 3 * n // 5], stripped.max(2)]
        whole = [(picture.T, spacing[1] / spacing[0]) for picture in slices]
        whole.append((stripped.max(1).T, spacing[2] / spacing[0]))
        columns.append((f"site {source}, whole (projections of the brain)", whole, top))
        circle = np.linalg.solve(head.affine, [0, -8, -12, 1])[:3].astype(int)
        columns.append(
            (f"site {source}, circle of Willis", rows_of(cropped(head.image, spacing, circle), spacing), top)
        )
    figure, axes = plt.subplots(4, len(columns), figsize=(3.2 * len(columns), 12.5), squeeze=False)
    for column, (title, pictures, top) in zip(axes.T, columns, strict=True):
        column[0].set_title(title, fontsize=9)
        for panel, (picture, aspect) in zip(column, pictures, strict=True):
            panel.imshow(picture, cmap="gray", origin="lower", vmin=0, vmax=top, aspect=aspect)
            panel.axis("off")
    figure.tight_layout(pad=0.4)
    figure.savefig(output, dpi=65)


if __name__ == "__main__":
    main()
