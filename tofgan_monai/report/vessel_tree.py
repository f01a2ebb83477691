"""The vessels of a label as surfaces in millimetres, which a page shows so that a reader can turn them.

The surfaces are a patient's data, as the label is: the shape of a vessel tree can tell one patient from another. Only
pages that stay where the scans may be seen have them. `audit_for_sharing.html` never has: no page of an audit reads
`VesselTree`, and the Content-Security-Policy of these pages lets no script run. plotly and fast-simplification draw the
surfaces (the extra `page`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from markupsafe import Markup
from nibabel.affines import apply_affine
from skimage.measure import marching_cubes

from tofgan_monai.installation import install_command, missing_packages
from tofgan_monai.metrics.segmentation.overlap import bounding_box

_logger = logging.getLogger(__name__)

MOST_TRIANGLES = 80_000
"""Of all surfaces of a page. With the 4.8 MB of plotly's script, the page has less than 8 MB."""
FEWEST_TRIANGLES = 1000
"""Of a surface that has as many, even if those of the page are more than MOST_TRIANGLES: a small part is not lost."""
VESSELS = {"vessels": (255, 85, 51)}
Surface = tuple[np.ndarray, np.ndarray]
"""Points (n, 3) in RAS mm, float32, and triangles (m, 3), int32, which name their corners among the points."""
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True)
class Part:
    """One surface of a vessel tree.

    Attributes:
        name: what it shows, such as "false positive".
        colour: its red, green and blue, each from 0 to 255.
        volume_mm3: volume of its voxels.
    """

    name: str
    colour: tuple[int, int, int]
    volume_mm3: float


@dataclass(frozen=True)
class VesselTree:
    """What the template `vessel_tree.html` draws.

    Attributes:
        parts: the surfaces, in the order of the figure's traces.
        size_mm: extent of all surfaces from left to right, from back to front, and from foot to head.
        n_found: number of the triangles of all surfaces.
        n_drawn: number of those that are drawn.
        figure: the figure for plotly, as JSON.
    """

    parts: list[Part]
    size_mm: tuple[float, float, float]
    n_found: int
    n_drawn: int
    figure: Markup

    @property
    def script(self) -> Markup:
        """The script of plotly.js, of which a page needs one copy."""
        return _script()


@dataclass(frozen=True)
class View:
    """A vessel tree that a page shows, or what the page says in its place.

    Attributes:
        title: heading of the view.
        tree: the vessel tree, or None.
        why: a sentence that says why there is no tree; empty if there is one.
    """

    title: str
    tree: VesselTree | None
    why: str


def why_nothing_turns() -> str:
    """Returns a sentence if the extra `page` is not installed, and logs it; returns an empty text if it is."""
    missing = missing_packages("page")
    if not missing:
        return ""
    extra = f"the extra page is not installed ({', '.join(missing)} not found); run {install_command('page')}"
    why = f"The vessels on the page do not turn: {extra}."
    _logger.warning(why)
    return why


def view_of(
    title: str, label: np.ndarray, affine: np.ndarray, colours: Mapping[str, tuple[int, int, int]] = VESSELS
) -> View:
    """Returns a view of a label, or of a sentence if no voxel of the label is a vessel.

    Args:
        title: heading of the view.
        label: array (X, Y, Z); see `vessel_tree`, as for the other arguments.
        affine: matrix (4, 4) from voxel indices to RAS millimetres.
        colours: dict from the name of each part to its colour.

    Raises:
        ImportError: the extra `page` is not installed; see `why_nothing_turns`.
    """
    tree = vessel_tree(label, affine, colours)
    return View(title, tree, "" if tree else "There are no vessels to turn here: the label is empty.")


def vessel_tree(
    label: np.ndarray, affine: np.ndarray, colours: Mapping[str, tuple[int, int, int]] = VESSELS
) -> VesselTree | None:
    """Returns the surfaces of a label for a page; None if the label is empty.

    The surfaces are those of marching cubes, in RAS millimetres. If they have more than MOST_TRIANGLES triangles
    together, quadric edge collapse (Garland and Heckbert 1997) removes the same share of each; FEWEST_TRIANGLES of each
    remain.

    Args:
        label: array (X, Y, Z) of whole numbers. The voxels of value k, from 1 on, belong to the k-th part.
        affine: matrix (4, 4) from voxel indices to RAS millimetres.
        colours: dict from the name of each part to its colour. A part without voxels is left out.

    Raises:
        ImportError: the extra `page` is not installed; see `why_nothing_turns`.
    """
    import plotly.graph_objects as go

    masks = {name: label == value for value, name in enumerate(colours, start=1)}
    surfaces = {name: _surface(mask, affine) for name, mask in masks.items() if mask.any()}
    if not surfaces:
        return None
    n_found = _n_triangles(surfaces.values())
    if n_found > MOST_TRIANGLES:
        surfaces = {name: _simplified(*surface, MOST_TRIANGLES / n_found) for name, surface in surfaces.items()}
    corners = np.array([end for points, _ in surfaces.values() for end in (points.min(0), points.max(0))])
    low, high = corners.min(0), corners.max(0)
    traces = [_mesh(name, *surfaces[name], colours[name]) for name in surfaces]
    figure = go.Figure([*(go.Mesh3d(trace) for trace in traces), go.Scatter3d(_letters(low, high))], _layout(low, high))
    voxel_mm3 = abs(np.linalg.det(affine[:3, :3]))
    parts = [Part(name, colours[name], float(masks[name].sum() * voxel_mm3)) for name in surfaces]
    x, y, z = (high - low).tolist()
    return VesselTree(parts, (x, y, z), n_found, _n_triangles(surfaces.values()), Markup(figure.to_json()))


@cache
def _script() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def _surface(mask: np.ndarray, affine: np.ndarray) -> Surface:
    """Returns the surface of a mask."""
    box = bounding_box(mask)  # a head is mostly empty
    points, triangles, *_ = marching_cubes(np.pad(mask[box], 1).astype(np.float32), 0.5)
    points_mm = apply_affine(affine, points + [side.start - 1 for side in box])
    if np.linalg.det(affine[:3, :3]) < 0:
        triangles = triangles[:, ::-1]  # a mirrored surface would be lit from inside
    return points_mm.astype(np.float32), np.ascontiguousarray(triangles, np.int32)


def _n_triangles(surfaces: Iterable[Surface]) -> int:
    return sum(len(triangles) for _, triangles in surfaces)


def _simplified(points_mm: np.ndarray, triangles: np.ndarray, share: float) -> Surface:
    """Returns a surface with this share of its triangles, or with FEWEST_TRIANGLES."""
    import fast_simplification

    n = max(int(share * len(triangles)), FEWEST_TRIANGLES)
    if n >= len(triangles):
        return points_mm, triangles
    return fast_simplification.simplify(points_mm, triangles, target_count=n)


def _mesh(name: str, points_mm: np.ndarray, triangles: np.ndarray, colour: tuple[int, int, int]) -> dict[str, Any]:
    index = np.uint16 if len(points_mm) <= 2**16 else np.int32  # a page has two bytes a corner in place of four
    return {
        "name": name,
        **dict(zip("xyz", points_mm.T.astype(np.float32), strict=True)),
        **dict(zip("ijk", triangles.T.astype(index), strict=True)),
        "color": f"rgb{colour}",
        "hoverinfo": "skip",
        "lighting": {"ambient": 0.45, "diffuse": 0.8, "specular": 0.25, "roughness": 0.6},
    }


def _letters(low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """Returns a trace of the letters of the patient's sides, a little outside the box between two corners (3,)."""
    middle, away = (low + high) / 2, _margin(low, high) / 2
    ends = [[(low[axis] - away, low), (high[axis] + away, high)] for axis in range(3)]
    points = np.array([[*middle[:axis], end, *middle[axis + 1 :]] for axis in range(3) for end, _ in ends[axis]])
    return {
        "mode": "text",
        **dict(zip("xyz", points.T.astype(np.float32), strict=True)),
        "text": [letter for letters in _LETTERS for letter in letters],
        "textfont": {"color": "#d7dde2", "size": 15},
        "hoverinfo": "skip",
    }


def _margin(low: np.ndarray, high: np.ndarray) -> float:
    """Returns how far the box between two corners (3,) is from the walls of the scene, in mm."""
    return float((high - low).max() * 0.12)


def _layout(low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """Returns the layout: the same scale along all axes, seen from the front, black as the projections are."""
    low, high = low - _margin(low, high), high + _margin(low, high)
    shares = ((high - low) / (high - low).max()).tolist()
    axis = {"showbackground": False, "showspikes": False, "gridcolor": "#2c3238", "zeroline": False}
    axis |= {"color": "#aeb8c0", "nticks": 5, "title": {"text": ""}}
    axes = {
        f"{name}axis": {**axis, "range": ends} for name, *ends in zip("xyz", low.tolist(), high.tolist(), strict=True)
    }
    camera = {"eye": {"x": 0, "y": 1.5, "z": 0.2}, "up": {"x": 0, "y": 0, "z": 1}}
    scene = {"aspectmode": "manual", "aspectratio": dict(zip("xyz", shares, strict=True)), "camera": camera}
    return {
        "scene": {**scene, "dragmode": "orbit", **axes},
        "paper_bgcolor": "#000",
        "margin": dict.fromkeys("lrtb", 0),
        "showlegend": False,
        "template": None,
    }
