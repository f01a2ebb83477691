"""Galleries for a page. A gallery shows a few pairs of a stack, drawn at random.

A pair is a patch of an image with the patch of its vessel label. A stack is a .npy file of pairs; its manifest is a
.json file that says how the stack was made.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tofgan_monai.pairs.stack import open_stack
from tofgan_monai.report.pictures import pair_tile, tile_uri

N_PAIRS_SHOWN = 8
SEED = 0
GAP = 6  # pixels between two neighbouring pairs of the mosaic


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures of a few pairs of a stack.

    Attributes:
        caption: name of the stack on the page.
        n: number of pairs in the stack.
        made_with: dict with the bundle, the seed and the label threshold, if the stack's manifest has them.
        tiles: dict from the index of a pair in the stack to its grey values, with the image above the label.
    """

    caption: str
    n: int
    made_with: dict[str, str]
    tiles: dict[int, np.ndarray]

    @property
    def pairs(self) -> dict[int, str]:
        """Dict from the index of a pair in the stack to the data URI of its picture, a PNG."""
        return {index: tile_uri(tile) for index, tile in self.tiles.items()}


def read_gallery(caption: str, path: Path) -> Gallery:
    """Draws N_PAIRS_SHOWN pairs of a stack at random and returns them as a gallery; every call draws the same pairs.

    Args:
        caption: name of the stack on the page.
        path: the stack, a .npy file.

    Raises:
        InputError: the stack cannot be read.
    """
    pairs, manifest = open_stack(path)
    chosen = np.sort(np.random.default_rng(SEED).choice(len(pairs), min(N_PAIRS_SHOWN, len(pairs)), replace=False))
    made_with = {
        key.replace("_", " "): f"{value:.3g}" if isinstance(value, float) else str(value)
        for key in ("bundle", "seed", "label_threshold")
        if isinstance(value := manifest.get(key), str | int | float)
    }
    return Gallery(caption, len(pairs), made_with, {int(index): pair_tile(pairs[index]) for index in chosen})


def mosaic(galleries: Sequence[Gallery]) -> bytes:
    """Draws all galleries into one PNG, one below the other, and returns the bytes of the PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 2.4 * len(galleries)), dpi=110, layout="constrained")
    for axis, gallery in zip(figure.subplots(len(galleries), squeeze=False)[:, 0], galleries, strict=True):
        tiles = list(gallery.tiles.values())
        white = np.full((len(tiles[0]), GAP), 255, np.uint8)
        strips = [strip for tile in tiles for strip in (white, tile)]
        axis.imshow(np.concatenate(strips[1:], axis=1), cmap="gray", vmin=0, vmax=255)
        axis.set_title(gallery.caption, fontsize=10, loc="left")
        axis.set_axis_off()
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
