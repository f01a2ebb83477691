"""Export of a stack into the folders and files that other programs read: nnU-Net's folders, NIfTI, PNG or HDF5.

A stack is a file of image-label pairs; see `tofgan_monai.pairs.stack`. `dataset.json` in the folder, or the attributes
of the HDF5 file, state what the values mean. In every form the first axis of a patch is x, which grows towards the
patient's right, and the second axis is y, which grows towards the front.
"""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.files import write_json, written_whole
from tofgan_monai.pairs.stack import open_stack
from tofgan_monai.volumes.kinds import kind_of

_logger = logging.getLogger(__name__)
_WHITE, _VESSEL = 65535, 255  # grey values of an image value of 1 and of a vessel, in PNG
PNG_VALUES = {
    "image": f"16 bits: value = grey / {_WHITE} * 2 - 1, in [-1, 1], scaled for each patch by itself",
    "label": f"8 bits: 0 background, {_VESSEL} vessel",
}
_VALUES = {"image": "float32 in [-1, 1], scaled for each patch by itself", "label": "0 background, 1 vessel"}
_AXES = "the first axis is x, towards the patient's right; the second axis is y, towards the front"
_DATASET = re.compile(r"Dataset[0-9]{3}_[A-Za-z0-9_-]+")
_MADE_WITH = ("bundle", "weights_sha256", "seed", "label_threshold", "simulation")
_BLOCK = 256  # pairs that are read at once


class Source(NamedTuple):
    """The pairs that are exported.

    Attributes:
        pairs: (n, 2, 96, 96), image in [-1, 1] and label in {-1, +1}.
        names: a name for each pair, with the index of its patient if the manifest of the stack states it.
        spacing_mm: edges of a voxel in mm, (n, 3); the third is the distance of slices.
        facts: entries that every form states about the pairs.
    """

    pairs: np.ndarray
    names: list[str]
    spacing_mm: np.ndarray
    facts: dict[str, Any]


def export_stack(
    stack: str | os.PathLike, folder: str | os.PathLike, form: str, *, spacing_mm: Sequence[float] | None = None
) -> int:
    """Writes the pairs of a stack into a new folder, and returns their number; a log line tells if they are real.

    Args:
        stack: the `.npy` file of the stack.
        folder: the folder to write, whole or not at all; for `nnunet` its name is DatasetNNN_NAME.
        form: a key of `FORMS`: `nnunet`, `nifti`, `png` or `hdf5`.
        spacing_mm: edges x and y of a pixel in mm; None takes those in the stack's manifest. Synthetic pairs have none
            there; 1 mm is then written, and a log line says so.

    Raises:
        InputError: the stack cannot be opened, the folder exists or cannot be written, the folder has no name for
            nnU-Net, the spacing is not two positive numbers, or h5py is not installed.
    """
    folder = Path(os.path.abspath(folder))
    pairs, manifest = open_stack(stack)
    if form == "nnunet" and not _DATASET.fullmatch(folder.name):
        raise InputError(f"{folder}: nnU-Net finds a dataset by its name; name the folder as in Dataset501_TOFpairs")
    require_new(folder)
    if form == "hdf5":
        _h5py()  # refuses before any work
    if spacing_mm is not None and (len(spacing_mm) != 2 or not all(0 < edge < np.inf for edge in spacing_mm)):
        given = ",".join(map(str, spacing_mm))
        raise InputError(
            f"--spacing {given}: not the two edges of a pixel in mm; give two positive numbers, as --spacing 0.5,0.5"
        )
    source = source_of(pairs, manifest)
    if spacing_mm is not None:
        source.spacing_mm[:, :2] = spacing_mm
    elif not _has_spacings(manifest, len(pairs)):
        _logger.warning("%s: the size of a pixel is not known and is written as 1 mm; give --spacing X,Y", stack)
    if kind_of(manifest) == "real":
        _logger.warning("%s holds pairs of real patients: %s must stay where their scans stay", stack, folder)
    with written_whole(folder) as temporary:
        temporary.mkdir()
        FORMS[form](source, temporary)
    return len(pairs)


def require_new(folder: Path) -> None:
    """Raises InputError if there is a file, or a folder that is not empty, at this path."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder} exists already; give a new folder")


def source_of(pairs: np.ndarray, manifest: dict[str, Any]) -> Source:
    """Returns the pairs of a stack with what its manifest says about each; an unknown size of a voxel is 1 mm.

    Args:
        pairs: the pairs (n, 2, 96, 96).
        manifest: the manifest of the stack.
    """
    n, volumes = len(pairs), _volumes_of_pairs(manifest, len(pairs))
    names = [f"pair_{index:06d}" for index in range(n)]
    spacing_mm = np.ones((n, 3))
    if volumes:
        names = [f"patient{volume['patient']:03d}_{name}" for volume, name in zip(volumes, names, strict=True)]
    if _has_spacings(manifest, n):
        spacing_mm = np.array([volume["spacing_mm"] for volume in volumes], float)
    made_with = {key: manifest[key] for key in _MADE_WITH if key in manifest}
    facts = {"kind": kind_of(manifest), "n": n, "axes": _AXES, "made_with": made_with}
    return Source(pairs, names, spacing_mm, facts)


def png_files(source: Source) -> Iterator[tuple[str, bytes]]:
    """Yields path and content of the PNG files, images/NAME.png and labels/NAME.png of each pair; see `PNG_VALUES`.

    An image value is stored with an error of at most 1 / 65535.
    """
    from PIL import Image

    for name, image, label, _ in _each(source):
        grey = np.rint((np.clip(image.astype(np.float64), -1, 1) + 1) / 2 * _WHITE).astype(np.uint16)
        for kind, pixels in (("images", grey), ("labels", label * np.uint8(_VESSEL))):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            yield f"{kind}/{name}.png", buffer.getvalue()


def _volumes_of_pairs(manifest: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """Returns the manifest's entry on the volume of each pair; an empty list if the manifest does not state them."""
    volumes = manifest.get("volumes", [])
    of_pairs = [volume for volume in volumes for _ in range(volume["n_vessel"] + volume["n_random"])]
    return of_pairs if len(of_pairs) == n else []


def _has_spacings(manifest: dict[str, Any], n: int) -> bool:
    volumes = _volumes_of_pairs(manifest, n)
    return bool(volumes) and all(len(volume.get("spacing_mm", ())) == 3 for volume in volumes)


def _each(source: Source) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields name, image (96, 96) float32, label (96, 96) uint8 in {0, 1} and spacing (3,) of each pair."""
    for index in tqdm(range(len(source.pairs)), desc="exporting", unit="pair", disable=None):
        image, label = source.pairs[index]
        yield source.names[index], image.astype(np.float32), (label > 0).astype(np.uint8), source.spacing_mm[index]


def _write_volumes(source: Source, folder: Path, image_path: str, label_path: str) -> None:
    """Writes each image and label as a NIfTI file of one axial slice, (96, 96, 1), with the same affine.

    Args:
        source: the pairs.
        folder: the folder.
        image_path: path of an image in the folder, with {} for the name of the pair.
        label_path: path of a label, likewise.
    """
    for path in (image_path, label_path):
        (folder / path).parent.mkdir()
    for name, image, label, spacing_mm in _each(source):
        affine = np.diag([*spacing_mm, 1.0])
        for path, voxels in ((image_path, image), (label_path, label)):
            volume = nibabel.Nifti1Image(voxels[..., None], affine)
            volume.header.set_xyzt_units("mm")
            volume.set_sform(affine, 1)
            volume.set_qform(affine, 1)  # some readers take the one, some the other
            nibabel.save(volume, folder / path.format(name))


def _write_nifti(source: Source, folder: Path) -> None:
    _write_volumes(source, folder, "images/{}.nii.gz", "labels/{}.nii.gz")
    write_json(folder / "dataset.json", {**source.facts, "values": _VALUES})


def _write_nnunet(source: Source, folder: Path) -> None:
    _write_volumes(source, folder, "imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz")
    layout = {
        "channel_names": {"0": "TOF-MRA"},
        "labels": {"background": 0, "vessel": 1},
        "numTraining": len(source.pairs),
        "file_ending": ".nii.gz",
    }
    write_json(folder / "dataset.json", {**layout, **source.facts, "values": _VALUES})


def _write_png(source: Source, folder: Path) -> None:
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for path, content in png_files(source):
        (folder / path).write_bytes(content)
    write_json(folder / "dataset.json", {**source.facts, "spacing_mm": _distinct(source), "values": PNG_VALUES})


def _write_hdf5(source: Source, folder: Path) -> None:
    n, size = len(source.pairs), source.pairs.shape[2:]
    with _h5py().File(folder / "pairs.h5", "w") as file:
        stored = {"chunks": (min(n, 16), *size), "compression": "gzip", "shuffle": True}
        images = file.create_dataset("image", (n, *size), np.float32, **stored)
        labels = file.create_dataset("label", (n, *size), np.uint8, **stored)
        for start in tqdm(range(0, n, _BLOCK), desc="exporting", disable=None):
            block = np.asarray(source.pairs[start : start + _BLOCK])
            images[start : start + len(block)] = block[:, 0]
            labels[start : start + len(block)] = block[:, 1] > 0
        file.create_dataset("name", data=source.names)
        file.create_dataset("spacing_mm", data=source.spacing_mm)
        for dataset, kind in ((images, "image"), (labels, "label")):
            dataset.attrs["values"] = _VALUES[kind]
        for key, value in {**source.facts, **source.facts["made_with"]}.items():
            if not isinstance(value, dict) and value is not None:
                file.attrs[key] = value


def _distinct(source: Source) -> list[list[float]]:
    """Returns the spacings that occur, as a list of (x, y, z) in mm."""
    return np.unique(source.spacing_mm, axis=0).tolist()


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise InputError("an HDF5 file needs h5py; run pip install 'tofgan-monai[release]'") from error
    return h5py


FORMS = {"nnunet": _write_nnunet, "nifti": _write_nifti, "png": _write_png, "hdf5": _write_hdf5}
"""The forms of an export. A further form is a function here."""
