"""A picture of a segmentation: maximum intensity projections (MIPs) of a scan with the outline of its label."""

from __future__ import annotations

import io
import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nibabel.affines import voxel_sizes
from scipy import ndimage

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_whole
from tofgan_monai.metrics.segmentation.overlap import bounding_box
from tofgan_monai.segmentation.error_maps import radiological
from tofgan_monai.volumes.volume import Volume, to_ras

MARGIN_MM = 4.0
"""How far from the found vessels the picture shows the scan, along each axis. The MIP of a whole head shows a face."""
MOST_BYTES = 200_000
_OUTLINE = "#ff5533"
_WIDTH_INCHES = 9.0
_VIEWS = (
    ("axial, left on the right", 2, (0, 1)),
    ("coronal, left on the right", 1, (0, 2)),
    ("sagittal, anterior on the left", 0, (1, 2)),
)


def save_projections(path: str | os.PathLike, image: Volume, label: np.ndarray) -> None:
    """Writes a JPEG of at most 200 kB with an axial, a coronal and a sagittal MIP and the outline of the label.

    The scan is shown within 4 mm of the found vessels alone. The patient's left is on the right; anterior is up, or on
    the left of the sagittal MIP.

    Args:
        path: the `.jpg` file to write.
        image: the scan.
        label: its label (X, Y, Z), bool, on the same grid.

    Raises:
        InputError: the shapes differ, or the file cannot be written.
    """
    if label.shape != image.voxels.shape:
        shapes = f"image {image.voxels.shape}, label {label.shape}"
        raise InputError(f"the shapes differ ({shapes}); give a label on the grid of the image")
    figure = Figure(figsize=(_WIDTH_INCHES, 3), facecolor="black", layout="constrained")
    if label.any():
        _draw(figure, image, label)
    else:
        figure.text(0.5, 0.5, "no vessel found", color="white", ha="center")
    write_whole(path, _jpeg(figure))


def _draw(figure: Figure, image: Volume, label: np.ndarray) -> None:
    image, vessels = to_ras(image), to_ras(image._replace(voxels=label)).voxels
    spacing_mm = voxel_sizes(image.affine)
    margin = np.ceil(MARGIN_MM / spacing_mm).astype(int)
    box = tuple(
        slice(max(side.start - n, 0), side.stop + n) for side, n in zip(bounding_box(vessels), margin, strict=True)
    )
    voxels, vessels = image.voxels[box], vessels[box]
    near = ndimage.maximum_filter(vessels, size=tuple(2 * margin + 1))
    low, high = np.percentile(voxels[near], (5, 99.9))
    shown = np.where(near, voxels, -np.inf)
    size_mm = voxels.shape * spacing_mm
    widths_mm, heights_mm = ([size_mm[axes[i]] for *_, axes in _VIEWS] for i in range(2))
    figure.set_figheight(min(_WIDTH_INCHES * max(heights_mm) / sum(widths_mm) + 0.4, 2 * _WIDTH_INCHES))
    panels = figure.subplots(1, 3, width_ratios=widths_mm)
    for panel, (name, axis, (across, up)) in zip(panels, _VIEWS, strict=True):
        projection = np.nan_to_num(shown.max(axis=axis), neginf=low)
        shape = {"aspect": spacing_mm[up] / spacing_mm[across], "interpolation": "nearest"}
        panel.imshow(radiological(projection), cmap="gray", vmin=low, vmax=max(high, low + 1e-6), **shape)
        panel.contour(radiological(vessels.max(axis=axis)).astype(float), [0.5], colors=_OUTLINE, linewidths=0.4)
        panel.set_title(name, color="white", fontsize=9)
        panel.set_axis_off()


def _jpeg(figure: Figure) -> bytes:
    """Returns a figure as JPEG, with the best quality that keeps it within MOST_BYTES."""
    canvas = FigureCanvasAgg(figure)
    for dpi, quality in ((150, 90), (150, 75), (110, 75), (80, 60)):
        figure.set_dpi(dpi)
        buffer = io.BytesIO()
        canvas.print_jpg(buffer, pil_kwargs={"quality": quality})
        if buffer.tell() <= MOST_BYTES:
            break
    return buffer.getvalue()
