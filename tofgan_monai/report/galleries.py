"""Some pairs of a stack, drawn at random and not chosen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.pairs.stack import open_stack
from tofgan_monai.report.pictures import Picture, pair_tile, tile_picture

N_PAIRS_SHOWN = 8
SEED = 0
GAP = 6


@dataclass(frozen=True, eq=False)
class Gallery:
    """Some pairs of a stack, each the grey values of its image above its label."""

    caption: str
    details: str
    indices: list[int]
    tiles: list[np.ndarray]

    @property
    def pairs(self) -> list[Picture]:
        """A picture a pair."""
        return [
            tile_picture(tile, f"{self.caption}: image and label of pair {index}")
            for index, tile in zip(self.indices, self.tiles, strict=True)
        ]


def read_gallery(caption: str, path: Path) -> Gallery:
    """Pairs of the stack, the same at every call.

    Raises:
        InputError: no readable stack.
    """
    pairs, manifest = open_stack(path)
    chosen = np.sort(np.random.default_rng(SEED).choice(len(pairs), min(N_PAIRS_SHOWN, len(pairs)), replace=False))
    tiles = [pair_tile(pairs[index]) for index in chosen]
    return Gallery(caption, _details(len(pairs), manifest), chosen.tolist(), tiles)


def mosaic(galleries: Sequence[Gallery]) -> bytes:
    """All galleries below each other as one PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 2.4 * len(galleries)), dpi=110, layout="constrained")
    for axis, gallery in zip(figure.subplots(len(galleries), squeeze=False)[:, 0], galleries, strict=True):
        white = np.full((gallery.tiles[0].shape[0], GAP), 255, np.uint8)
        strips = [strip for tile in gallery.tiles for strip in (white, tile)]
        axis.imshow(np.concatenate(strips[1:], axis=1), cmap="gray", vmin=0, vmax=255)
        axis.set_title(gallery.caption, fontsize=10, loc="left")
        axis.set_axis_off()
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _details(n: int, manifest: dict[str, Any]) -> str:
    known = {"bundle": "bundle", "seed": "seed", "label_threshold": "label threshold"}
    details = [f"{n:,} pairs"]
    for key, word in known.items():
        value = manifest.get(key)
        if isinstance(value, str | int | float):
            details.append(f"{word} {value:.3g}" if isinstance(value, float) else f"{word} {value}")
    return " · ".join(details)
