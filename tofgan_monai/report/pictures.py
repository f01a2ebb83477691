"""Draws pictures and returns them as data URIs, so that a page needs no other file.

A pair is a patch of an image with the patch of its vessel label. A losses.jsonl has one JSON object for each epoch of a
training run.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tofgan_monai.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE_COLOURS = ("#1f4e79", "#b3541e", "#4b7a47", "#7a4b78")
MAX_POINTS = 600


@dataclass(frozen=True)
class Curves:
    """A picture with one or several curves of a training run.

    Attributes:
        uri: data URI of the picture, an SVG.
        axis: name of the x axis: "epoch", "iteration" or "line" (number of the line in the file).
        last: dict from the name of a curve to its last value.
    """

    uri: str
    axis: str
    last: dict[str, float]


def pair_tile(pair: np.ndarray) -> np.ndarray:
    """Turns a pair (2, H, W) in [-1, 1] into grey values (2 H + 3, W), uint8: the image with the label below it."""
    image, label = np.clip((np.asarray(pair, dtype=np.float32) + 1) * 127.5, 0, 255).astype(np.uint8)
    gap = np.full((3, image.shape[1]), 255, np.uint8)
    return np.concatenate([image, gap, label])


def tile_uri(tile: np.ndarray) -> str:
    """Turns grey values (H, W), uint8, into the data URI of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "PNG", optimize=True)
    return data_uri("png", buffer.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Returns a picture as a data URI; `kind` is the format in the media type: "png", "jpeg" or "svg+xml"."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def svg_bytes(figure: Figure) -> bytes:
    """Returns a matplotlib figure as the bytes of an SVG; the same figure always gives the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "report"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def read_curves(path: Path) -> list[Curves]:
    """Draws the curves of a losses.jsonl; see `training_curves`.

    Raises:
        InputError: the file cannot be read or holds no number.
    """
    curves = training_curves(_read_rows(path))
    if not curves:
        raise InputError(f"{path}: the file has no line with a number; train again, or remove the file")
    return curves


def training_curves(rows: Sequence[dict]) -> list[Curves]:
    """Draws the curves of a training run: all losses in one picture, and every other quantity in a picture of its own.

    Of the two times of an epoch only the wall time is drawn. The list is empty if no row holds a number. At most
    `MAX_POINTS` rows are drawn.

    Args:
        rows: the lines of a losses.jsonl, such as {"epoch": 1, "critic_loss": 0.2}.
    """
    rows = rows[:: -(-len(rows) // MAX_POINTS)] if rows else rows
    axis = next((key for key in ("epoch", "iteration") if all(key in row for row in rows)), "line")
    left_out = ("epoch", "iteration", "processor_seconds")  # the wall time, "seconds", is drawn
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in left_out]
    numeric = [key for key in keys if any(_is_number(row.get(key)) for row in rows)]
    losses = [key for key in numeric if "loss" in key]
    panels = ([losses] if losses else []) + [[key] for key in numeric if key not in losses]
    return [_curves(panel, rows, axis) for panel in panels]


def _read_rows(path: Path) -> list[dict]:
    """Reads the lines of a losses.jsonl; raises InputError if a line is no JSON object."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: the file cannot be read as JSON lines ({error}); train again, or remove the file"
        ) from error
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: some lines are not JSON objects; train again, or remove the file")
    return rows


def _is_number(value: object) -> bool:
    """Whether a value is an int or a float; True and False do not count as numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curves(keys: Sequence[str], rows: Sequence[dict], axis: str) -> Curves:
    """Draws one picture with a curve for each key; `axis` is the key of the x values."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    x = [row.get(axis, index) for index, row in enumerate(rows, start=1)]
    figure = Figure(figsize=(4.4, 2.6), layout="constrained")
    panel = figure.subplots()
    last = {}
    for key, colour in zip(keys, LINE_COLOURS * len(keys), strict=False):
        y = [float(row[key]) if _is_number(row.get(key)) else np.nan for row in rows]
        panel.plot(x, y, color=colour, linewidth=1.4, marker="." if len(x) < 40 else "", label=_words(key))
        last[_words(key)] = y[-1]
    panel.set_xlabel(axis)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="#e3e6e8", linewidth=0.6)
    if len(keys) > 1:
        panel.legend(frameon=False, fontsize=9)
    else:
        panel.set_ylabel(_words(keys[0]))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return Curves(data_uri("svg+xml", svg_bytes(figure)), axis, last)


def _words(key: str) -> str:
    """Returns the name of a curve for a reader, such as "validation Dice" for `val_dice`."""
    return {"val_dice": "validation Dice", "wasserstein": "Wasserstein estimate"}.get(key, key.replace("_", " "))
