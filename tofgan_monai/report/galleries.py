"""Galleries for a page: a few pairs of each stack, drawn at random."""

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
GAP = 6  # pixels between two pairs of the mosaic


@dataclass(frozen=True, eq=False)
class Gallery:
    """A few pairs of a stack.

    Attributes:
        caption: name of the stack on the page.
        n: number of pairs in the stack.
        made_with: bundle, seed and label threshold, as far as the stack's manifest names them.
        tiles: grey values of each pair by its index in the stack, the image above the label.
    """

    caption: str
    n: int
    made_with: dict[str, str]
    tiles: dict[int, np.ndarray]

    @property
    def pairs(self) -> dict[int, str]:
        """The data URI of each pair's picture, by the pair's index in the stack."""
        return {index: tile_uri(tile) for index, tile in self.tiles.items()}


def read_gallery(caption: str, path: Path) -> Gallery:
    """A gallery of a stack; every call draws the same pairs.

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
    """The bytes of a PNG that shows all galleries, one below the other."""
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
