"""Writes the folder of a dataset: the pairs in two forms, the dataset card, croissant.json, a picture, checksums."""

from __future__ import annotations

import io
import json
import logging
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.exchange.dataset.card import Described, dataset_card
from tofgan_monai.exchange.dataset.citation import Citation, checked
from tofgan_monai.exchange.dataset.clearance import clear_stack
from tofgan_monai.exchange.dataset.croissant import mlcroissant, write_croissant
from tofgan_monai.exchange.leaks import leaks
from tofgan_monai.files import sha256, write_json, written_whole
from tofgan_monai.pairs.export import png_files, require_new, source_of
from tofgan_monai.pairs.stack import copy_pairs, open_stack
from tofgan_monai.volumes.kinds import kind_of

_logger = logging.getLogger(__name__)
_MADE_BY = ("kind", "bundle", "anatomy", "weights_sha256")
_KEPT = {  # entries of a manifest, by the kind of the pairs
    "synthetic": (*_MADE_BY, "seed", "label_threshold", "threads", "near_copies_dropped"),
    "simulated": ("kind", "simulation", "split", "seed", "volumes"),
}
_ADDED = ("n", "shape", "dtype")  # by the writer of a stack
_TITLE = "image-label pairs of brain angiographies (TOF-MRA)"
_N_SHOWN = 8  # pairs in the picture
STACK, CARD, CROISSANT, PICTURE, SUMS = "pairs.npy", "README.md", "croissant.json", "preview.png", "SHA256SUMS"
FIGURES = "audit.json"


def release_stack(
    stack: str | os.PathLike,
    folder: str | os.PathLike,
    citation: Citation,
    *,
    audit: str | os.PathLike | None = None,
    despite: str | None = None,
    bundle: str | os.PathLike | None = None,
) -> int:
    """Writes the dataset of a stack into a new folder, if its pairs may leave; returns the number of pairs.

    Args:
        stack: the `.npy` file of the stack.
        folder: the folder to write, whole or not at all.
        citation: what the user states about the dataset.
        audit: folder or audit.json of an audit of these pairs; see `clear_stack`.
        despite: reason of a person for a release without a passed audit.
        bundle: name or folder of the generator's bundle.

    Raises:
        InputError: the pairs may not leave, a statement of the user has another form, the manifest tells of this
            machine or of a patient, the folder exists or cannot be written, or mlcroissant is not installed.
    """
    folder = Path(os.path.abspath(folder))
    mlcroissant()  # refuses before any work
    pairs, manifest = open_stack(stack)
    citation = checked(replace(citation, title=citation.title or f"{kind_of(manifest).capitalize()} {_TITLE}"))
    clearance = clear_stack(stack, manifest, audit=audit, despite=despite, bundle=bundle)
    released = {key: manifest[key] for key in _KEPT[clearance.kind] if key in manifest}
    released |= {"audit": clearance.said} if clearance.said else {}
    if left_out := sorted(manifest.keys() - released.keys() - {*_ADDED}):
        _logger.info("%s: left out of the released manifest: %s", stack, ", ".join(left_out))
    told = leaks("pairs.json", json.dumps(released).encode())
    if problems := [f"{stack}: its manifest: {problem.what} {problem.could}" for problem in told]:
        raise InputError(problems)
    require_new(folder)
    described = Described(pairs, released, clearance, citation)
    with written_whole(folder) as temporary:
        temporary.mkdir()
        copy_pairs(pairs, temporary / STACK, released)
        archives = _write_archives(pairs, manifest, temporary)
        if clearance.audit is not None:
            write_json(temporary / FIGURES, clearance.audit.figures)
        (temporary / PICTURE).write_bytes(preview(pairs))
        sizes = {file.name: file.stat().st_size for file in sorted(temporary.iterdir())}
        (temporary / CARD).write_text(dataset_card(described, sizes, citation.license_address), encoding="utf-8")
        write_croissant(temporary / CROISSANT, described, archives)
        names = sorted(file.name for file in temporary.iterdir())
        (temporary / SUMS).write_text("".join(f"{sha256(temporary / name)}  {name}\n" for name in names), "utf-8")
    return len(pairs)


def preview(pairs: np.ndarray) -> bytes:
    """Draws eight pairs, spread evenly over a stack, into a PNG and returns its bytes; images above their labels."""
    from PIL import Image
    from skimage.util import montage

    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(_N_SHOWN, len(pairs))).astype(int))
    shown = np.asarray(pairs[chosen], np.float32)  # (8, 2, 96, 96)
    tiles = shown.transpose(1, 0, 2, 3).reshape(-1, *shown.shape[2:])  # all images, then all labels
    grey = np.clip((tiles + 1) * 127.5, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(montage(grey, fill=255, grid_shape=(2, len(chosen)), padding_width=4)).save(buffer, "PNG")
    return buffer.getvalue()


def _write_archives(pairs: np.ndarray, manifest: dict[str, Any], folder: Path) -> dict[str, str]:
    """Writes all images into one archive and all labels into another; returns their names.

    A name ends with the beginning of the archive's SHA-256; see `tofgan_monai.exchange.dataset.croissant`.
    """
    kinds, names = ("images", "labels"), {}
    with ExitStack() as open_files:
        archives = {kind: open_files.enter_context(ZipFile(folder / kind, "w")) for kind in kinds}
        for path, content in png_files(source_of(pairs, manifest)):
            kind, name = path.split("/")
            archives[kind].writestr(ZipInfo(name), content)  # a fixed date; PNG is compressed already
    for kind in kinds:
        names[kind] = f"{kind}_{sha256(folder / kind)[:12]}.zip"
        (folder / kind).rename(folder / names[kind])
    return names
