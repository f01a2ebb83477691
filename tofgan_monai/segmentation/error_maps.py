"""Pictures that show where a segmentation is right and where it is wrong, in the colours of the paper's Fig. 4."""

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
COLOURS = np.array([TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE], dtype=np.uint8)


def error_map(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A slice as RGB (H, W, 3), uint8: true positives red, false positives green, false negatives yellow.

    The grey values reach from the image's minimum to its 99.5th percentile.

    Args:
        image: (H, W).
        prediction: (H, W), vessels above 0.
        truth: (H, W), vessels above 0.

    Raises:
        InputError: the three arrays differ in shape.
    """
    if not image.shape == prediction.shape == truth.shape:
        shapes = f"image {image.shape}, prediction {prediction.shape}, truth {truth.shape}"
        raise InputError(f"{shapes}: the three shapes must be equal; bring the volumes onto one grid")
    rgb = _grey(image)
    for colour, voxels in zip(COLOURS, _classes(prediction, truth), strict=True):
        rgb[voxels] = colour
    return rgb


def projected_error_map(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Maximum intensity projection of a volume (X, Y, Z) along Z as RGB (X, Y, 3), in the colours of `error_map`.

    A pixel has the colour of the most frequent class along its ray; errors win against equally frequent true positives.
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
    """Writes a PNG with the axial slice that has most true vessel voxels, the projection of the volume, and a legend.

    Args:
        path: ends in `.png`.
        image: the volume (X, Y, Z) in which vessels can be seen.
        prediction: binary, of the same shape.
        truth: binary, of the same shape.
        affine: (4, 4), turns the volume so that slices are axial, anterior is up and the patient's left is on the
            right; by default the axes are right, anterior, superior, and the voxels are cubes.
        title: stored in the file's metadata, where a report finds the caption; it must not be a patient's name.

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
    names = ("true positive", "false positive", "false negative")
    key = [Patch(color=colour / 255, label=name) for colour, name in zip(COLOURS, names, strict=True)]
    figure.legend(handles=key, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    with written_whole(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None, "Title": title or None})


def radiological(slice_rgb: np.ndarray) -> np.ndarray:
    """A slice (X, Y, ...) of a volume in RAS order as rows and columns, with anterior up and left on the right."""
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
