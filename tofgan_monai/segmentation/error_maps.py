"""Pictures of where a segmentation is right and wrong, in the colours of the paper's Fig. 4."""

from __future__ import annotations

import os

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole

TRUE_POSITIVE = (214, 48, 39)  # red
FALSE_POSITIVE = (46, 204, 64)  # green
FALSE_NEGATIVE = (255, 221, 0)  # yellow
COLOURS = np.array([TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE], dtype=np.uint8)


def error_map(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A slice (H, W) as uint8 RGB (H, W, 3): true positives red, false positives green, false negatives yellow.

    Grey runs from the image's minimum to its 99.5th percentile.

    Raises:
        InputError: the three differ in shape.
    """
    if not image.shape == prediction.shape == truth.shape:
        raise InputError(
            f"image {image.shape}, prediction {prediction.shape}, truth {truth.shape}: shapes must be equal"
        )
    rgb = _grey(image)
    for colour, voxels in zip(COLOURS, _classes(prediction, truth), strict=True):
        rgb[voxels] = colour
    return rgb


def projected_error_map(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Maximum intensity projection of a volume (X, Y, Z) along Z as RGB (X, Y, 3), coloured as in `error_map`.

    A pixel takes the colour of the class that is most frequent along its ray; of equals, the error.
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
    """Writes a PNG: the axial slice with most true vessel voxels, and the projection of the whole volume, with a key.

    Args:
        path: ends in `.png`.
        image: the volume (X, Y, Z); anything from which vessels can be told.
        prediction: binary, of the same shape.
        truth: binary, of the same shape.
        affine: turns the volume so that slices are axial, anterior is up and the patient's left is on the right; by
            default the axes are taken as right, anterior, superior, and voxels as cubes.
        title: kept in the file's metadata, from where a report takes the caption; no patient's name.

    Raises:
        InputError: shapes differ, or the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    affine = np.eye(4) if affine is None else np.asarray(affine, dtype=float)
    volumes = [_canonical(np.asarray(volume), affine) for volume in (image, prediction, truth)]
    best = int(volumes[2].sum(axis=(0, 1)).argmax())
    pictures = {
        f"slice {best + 1} of {volumes[2].shape[2]}": error_map(*(volume[:, :, best] for volume in volumes)),
        "projection of all slices": projected_error_map(*volumes),
    }
    x_mm, y_mm = _canonical_spacing(affine)[:2]
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
    """A slice (X, Y, ...) of a volume in RAS order as rows and columns: anterior up, left on the right."""
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


def _canonical(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    from nibabel.orientations import apply_orientation, io_orientation

    return apply_orientation(volume, io_orientation(affine))


def _canonical_spacing(affine: np.ndarray) -> np.ndarray:
    from nibabel.orientations import io_orientation

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    canonical = np.empty(3)
    canonical[io_orientation(affine)[:, 0].astype(int)] = spacing
    return canonical
