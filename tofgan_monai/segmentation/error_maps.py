"""Error maps, which are pictures that colour the right and wrong voxels of a segmentation as in the paper's Fig. 4.

The paper is Kossen et al. 2021. The true label is called truth.
"""

from __future__ import annotations

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, io_orientation

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole

TRUE_POSITIVE = (214, 48, 39)  # red
FALSE_POSITIVE = (46, 204, 64)  # green
FALSE_NEGATIVE = (255, 221, 0)  # yellow
ERROR_COLOURS = {
    "true positive": TRUE_POSITIVE,
    "false positive": FALSE_POSITIVE,
    "false negative": FALSE_NEGATIVE,
}
COLOURS = np.array(list(ERROR_COLOURS.values()), dtype=np.uint8)


def error_map(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns a slice as an RGB picture (H, W, 3), uint8, in which colours mark the vessels of prediction and truth.

    True positives are red, false positives green and false negatives yellow. Black is the image's minimum, and white is
    the 99.5th percentile of the image.

    Args:
        image: slice of the image, (H, W).
        prediction: predicted label, (H, W), with vessels above 0.
        truth: true label, (H, W), with vessels above 0.

    Raises:
        InputError: the three arrays differ in shape.
    """
    if not image.shape == prediction.shape == truth.shape:
        shapes = f"image {image.shape}, prediction {prediction.shape}, truth {truth.shape}"
        raise InputError(f"the shapes differ ({shapes}); resample the three volumes to the same grid")
    rgb = _grey(image)
    for colour, voxels in zip(COLOURS, _classes(prediction, truth), strict=True):
        rgb[voxels] = colour
    return rgb


def projected_error_map(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns the maximum intensity projection of a volume along Z as RGB (X, Y, 3), in the colours of `error_map`.

    A pixel has the colour of the most frequent class along its ray (true positive, false positive or false negative).
    If two classes are equally frequent, false negatives come first, then false positives.

    Args:
        image: volume (X, Y, Z).
        prediction: predicted label of the same shape, with vessels above 0.
        truth: true label of the same shape, with vessels above 0.
    """
    rgb = _grey(image.max(axis=2))
    counts = np.stack([voxels.sum(axis=2) for voxels in _classes(prediction, truth)][::-1])
    hit = counts.any(axis=0)
    rgb[hit] = COLOURS[::-1][counts.argmax(axis=0)[hit]]
    return rgb


def save_error_map(
    path: str | os.PathLike,
    image: np.ndarray,
    *,
    prediction: np.ndarray,
    truth: np.ndarray,
    affine: np.ndarray | None = None,
    title: str = "",
) -> None:
    """Writes a PNG with two error maps and a legend: the axial slice with most true vessel voxels, and a projection.

    Args:
        path: the path of the picture; it ends in `.png`.
        image: the TOF-MRA volume, (X, Y, Z).
        prediction: predicted label of the same shape, binary.
        truth: true label of the same shape, binary.
        affine: the affine (4, 4) of the three volumes. With it, the volumes are turned so that slices are axial,
            anterior is up and the patient's left is on the right. None stands for axes right, anterior, superior and
            voxels that are cubes.
        title: text that is stored in the file's metadata; a report uses it as the caption. It must not be a patient's
            name.

    Raises:
        InputError: the shapes differ, or the file cannot be written.
    """
    affine = np.eye(4) if affine is None else np.asarray(affine, dtype=float)
    turns = io_orientation(affine)
    volumes = [apply_orientation(np.asarray(volume), turns) for volume in (image, prediction, truth)]
    best = int(volumes[2].sum(axis=(0, 1)).argmax())
    pictures = {
        f"slice {best + 1} of {volumes[2].shape[2]}": error_map(*(volume[:, :, best] for volume in volumes)),
        "projection of all slices": projected_error_map(*volumes),
    }
    x_mm, y_mm = voxel_sizes(affine)[np.argsort(turns[:, 0])][:2]
    height, width = volumes[2].shape[1] * y_mm, volumes[2].shape[0] * x_mm
    figure = Figure(figsize=(6, 3 * min(max(height / width, 0.5), 2) + 0.5), dpi=150, layout="constrained")
    for axis, (name, rgb) in zip(figure.subplots(1, 2), pictures.items(), strict=True):
        axis.imshow(radiological(rgb), aspect=y_mm / x_mm, interpolation="nearest")
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    save_with_legend(figure, path, title)


def save_with_legend(figure: Figure, path: str | os.PathLike, title: str = "") -> None:
    """Adds the legend of the colours to a figure, and writes it as a PNG with a title in the file's metadata."""
    key = [Patch(color=colour / 255, label=name) for colour, name in zip(COLOURS, ERROR_COLOURS, strict=True)]
    figure.legend(handles=key, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    with written_whole(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None, "Title": title or None})


def error_classes(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns an array of the same shape, uint8: 1 true positive, 2 false positive, 3 false negative, 0 elsewhere."""
    return sum(
        (value * voxels.astype(np.uint8) for value, voxels in enumerate(_classes(prediction, truth), start=1)),
        np.zeros(np.shape(truth), np.uint8),
    )


def radiological(slice_rgb: np.ndarray) -> np.ndarray:
    """Returns an axial slice (X, Y, ...) in RAS order as rows and columns, with anterior up and left on the right."""
    return np.rot90(slice_rgb[::-1])


def _grey(image: np.ndarray) -> np.ndarray:
    image = np.nan_to_num(np.asarray(image, dtype=np.float32))
    low, high = float(image.min()), float(np.percentile(image, 99.5))
    if high <= low:
        high = float(image.max())
    scaled = np.clip((image - low) / (high - low if high > low else 1.0), 0, 1)
    return np.repeat((scaled * 255).astype(np.uint8)[..., None], 3, axis=-1)


def _classes(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    prediction, truth = np.asarray(prediction) > 0, np.asarray(truth) > 0
    return prediction & truth, prediction & ~truth, ~prediction & truth
