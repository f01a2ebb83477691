"""Pictures as data URIs, so that a page needs no other file."""

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
class Picture:
    """A picture and the words that stand for it where it cannot be seen."""

    uri: str
    alt: str


def pair_tile(pair: np.ndarray) -> np.ndarray:
    """A pair (2, H, W) in [-1, 1] as grey values (2 H + 3, W): the image, and its label below."""
    image, label = np.clip((np.asarray(pair, dtype=np.float32) + 1) * 127.5, 0, 255).astype(np.uint8)
    gap = np.full((3, image.shape[1]), 255, np.uint8)
    return np.concatenate([image, gap, label])


def tile_picture(tile: np.ndarray, alt: str) -> Picture:
    """Grey values (H, W) as a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "PNG", optimize=True)
    return Picture(_uri("image/png", buffer.getvalue()), alt)


def png_picture(path: Path, alt: str) -> Picture:
    """A PNG file as it is."""
    return Picture(_uri("image/png", path.read_bytes()), alt)


def svg_picture(svg: bytes, alt: str) -> Picture:
    """An SVG file as a picture."""
    return Picture(_uri("image/svg+xml", svg), alt)


def svg_bytes(figure: Figure) -> bytes:
    """A figure of matplotlib's as SVG; the same figure gives the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "report"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def loss_pictures(name: str, path: Path) -> list[Picture]:
    """The curves of a training's losses.jsonl as SVG; see `course_pictures`.

    Raises:
        InputError: the file cannot be read or holds no numbers.
    """
    pictures = course_pictures(name, _read_rows(path))
    if not pictures:
        raise InputError(f"{path}: no line with a number in it; train again, or remove the file")
    return pictures


def course_pictures(name: str, rows: Sequence[dict]) -> list[Picture]:
    """The course of a training as SVG: all losses in one, every other figure in its own; none without numbers."""
    rows = rows[:: -(-len(rows) // MAX_POINTS)] if rows else rows
    axis = next((key for key in ("epoch", "iteration") if all(key in row for row in rows)), "")
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in ("epoch", "iteration")]
    numeric = [key for key in keys if any(_is_number(row.get(key)) for row in rows)]
    losses = [key for key in numeric if "loss" in key]
    panels = ([losses] if losses else []) + [[key] for key in numeric if key not in losses]
    return [_curves(name, panel, rows, axis) for panel in panels]


def _read_rows(path: Path) -> list[dict]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON lines ({error}); train again, or remove the file") from error
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: every line needs to be a JSON object")
    return rows


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curves(name: str, keys: Sequence[str], rows: Sequence[dict], axis: str) -> Picture:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    x = [row[axis] if axis else index for index, row in enumerate(rows, start=1)]
    figure = Figure(figsize=(4.4, 2.6), layout="constrained")
    panel = figure.subplots()
    last = {}
    for key, colour in zip(keys, LINE_COLOURS * len(keys), strict=False):
        y = [float(row[key]) if _is_number(row.get(key)) else np.nan for row in rows]
        panel.plot(x, y, color=colour, linewidth=1.4, marker="." if len(x) < 40 else "", label=_words(key))
        last[_words(key)] = y[-1]
    panel.set_xlabel(axis or "line")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="#e3e6e8", linewidth=0.6)
    if len(keys) > 1:
        panel.legend(frameon=False, fontsize=9)
    else:
        panel.set_ylabel(_words(keys[0]))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ends = ", ".join(f"{key} {value:.3g}" for key, value in last.items())
    return svg_picture(svg_bytes(figure), f"{name}, by {axis or 'line'}; at the end: {ends}")


def _words(key: str) -> str:
    return {"val_dice": "validation Dice", "wasserstein": "Wasserstein estimate"}.get(key, key.replace("_", " "))


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
