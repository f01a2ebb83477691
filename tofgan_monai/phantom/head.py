"""Simulates a head: anatomy, arteries, contrast and acquisition on the grid of the image.

A source is a simulated site, "A", "B" or "C", or the plain source "P", from whose ranges the parameters of a head are
drawn. The stretch of a head is the factor (3,) from template coordinates (a head of standard size, RAS mm) to the
head's own RAS mm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tofgan_monai.errors import InputError
from tofgan_monai.phantom import contrast
from tofgan_monai.phantom.acquisition import acquire
from tofgan_monai.phantom.anatomy import intracranial, outside, tissue
from tofgan_monai.phantom.fields import FieldOnGrid, SmoothField, WhenUsed
from tofgan_monai.phantom.grid import Grid
from tofgan_monai.phantom.growth import grow
from tofgan_monai.phantom.illness import add_aneurysms, fall_ill
from tofgan_monai.phantom.raster import along, rasterise
from tofgan_monai.phantom.sources import FULL_SHAPE, SMALL_SHAPE, draw_parameters, own_spacing
from tofgan_monai.phantom.trunks import Branch, circle_of_willis
from tofgan_monai.phantom.veins import face_vessels, scalp_arteries, veins

NUMBERS = {"A": 0, "B": 1, "C": 2, "P": 3}  # of the sources; a head's random numbers begin with its source's
CENTRE_MM = (0.0, -13.0, 4.0)  # centre of the full field of view, RAS
CIRCLE_MM = (0.0, -8.0, -17.0)  # centre of the field of view of a small head, near the circle of Willis
SCALES_MM = {"wide": 35.0, "small": 9.0, "fold": 5.6, "texture": 2.6, "bias": 42.0}


@dataclass
class Head:
    """A simulated TOF-MRA volume with its true label and brain mask.

    Attributes:
        image: (X, Y, Z), float32, with whole numbers as a scanner exports them.
        label: (X, Y, Z), uint8, 1 where arteries fill at least the fraction `label_fraction` of the voxel. This
            parameter is 0.5 at sources A and B. Voxels beside which nothing is as bright as `label_contrast`, and
            pieces smaller than the parameter `label_piece`, are left out.
        mask: (X, Y, Z), uint8, 1 in the brain and its vessels.
        affine: (4, 4), from voxel indices to RAS mm; a rotation, voxel sizes and an offset, without shear.
        parameters: dict from the names in `sources.PARAMETERS` to the values that were drawn for this head.
    """

    image: np.ndarray
    label: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    parameters: dict[str, float] = field(default_factory=dict)


def _grid(source: str, drawn: Mapping[str, float], rng: np.random.Generator, *, small: bool) -> Grid:
    """Draws the rotation and position of the field of view and returns its grid; `small` crops it."""
    spacing = np.array([drawn["spacing_x"], drawn["spacing_x"] * drawn["spacing_y_ratio"], drawn["spacing_z"]])
    if source in FULL_SHAPE:  # the field of view is the same in mm, whatever the voxel size
        shape = np.rint(np.array(FULL_SHAPE[source]) * (own_spacing(source) / spacing)).astype(int)
    else:  # as much of the head as a scanner would image
        shape = np.clip(np.rint(rng.uniform((150, 180, 60), (190, 200, 90)) / spacing), 192, 384).astype(int)
        shape[2] = min(int(drawn["coverage"] / spacing[2]), 160)
    angles = rng.uniform(-1, 1, 3) * drawn["tilt"]
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    centre = np.array(CENTRE_MM) + rng.normal(0, 1.5, 3) + (0, 0, drawn["height"])
    first = np.zeros(3, int)
    shift = rng.normal(0, 1.5, 3) if source in FULL_SHAPE else rng.uniform(-9, 9, 3)
    if small:
        middle = rotation.T @ (np.array(CIRCLE_MM) * drawn["head_size"] + shift - centre) / spacing + (shape - 1) / 2
        size = np.minimum(SMALL_SHAPE, shape)
        first = np.clip(np.rint(middle - size / 2).astype(int), 0, shape - size)
    else:
        size = shape
    axes = [(first[i] + np.arange(size[i]) - (shape[i] - 1) / 2) * spacing[i] for i in range(3)]
    return Grid((axes[0], axes[1], axes[2]), rotation, centre, spacing)


def _arteries(
    drawn: Mapping[str, float], stretch: np.ndarray, rng: np.random.Generator, illness: np.random.Generator
) -> list[Branch]:
    """Draws the arterial tree of a head and its illnesses; the points of its branches are in RAS mm of the patient."""
    named = circle_of_willis(drawn, rng)
    tree = grow(named, drawn, lambda points: intracranial(points.T), rng)
    add_aneurysms(tree, named, drawn["aneurysms"], rng)
    fall_ill(tree, drawn, lambda points: intracranial(points.T), illness)
    for branch in tree:
        branch.points_mm = branch.points_mm * stretch
    return tree


def _fresh(seed_parts: list[int], name: str) -> np.random.Generator:
    """Returns a random generator for one purpose of a head, so that further draws for one do not change the others.

    Args:
        seed_parts: number of the source and seed of the head.
        name: name of the purpose, such as "noise".
    """
    return np.random.default_rng([*seed_parts, *name.encode()])


def _blood(
    tree: list[Branch], grid: Grid, slabs: contrast.Slabs, drawn: Mapping[str, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes the signal of blood along the arterial tree.

    Returns:
        Points (n, 3) in mm along the axes of the scanner, radii (n,) in mm and signal (n,) in units of grey matter;
        points of thick vessels come first.
    """
    points = [grid.to_scanner(branch.points_mm) for branch in tree]
    times = contrast.transit_times(tree, [p[:, 2] for p in points], slabs, drawn, rng)
    rows = [
        along(np.column_stack([p, branch.radius_mm, t]), float(branch.radius_mm.mean()))
        for branch, p, t in zip(tree, points, times, strict=True)
    ]
    table = np.concatenate(rows)
    table = table[np.argsort(-table[:, 3], kind="stable")]
    position, radius = table[:, :3], table[:, 3]
    signal = contrast.blood_signal(table[:, 4], drawn, slabs.flip(position[:, 2]))
    return position, radius, signal * drawn["flow_loss"] / contrast.grey_unit(drawn)


def _others(
    grid: Grid, stretch: np.ndarray, slabs: contrast.Slabs, drawn: Mapping[str, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws the veins and the arteries of scalp and face, which are bright but not labelled.

    Returns:
        Points (n, 3) in mm along the axes of the scanner, radii (n,) in mm and signal (n,) in units of grey matter.
    """
    vein, vein_radius = veins(rng, lambda points: intracranial(points.T), round(drawn["cortical_veins"]))
    scalp, scalp_radius = scalp_arteries(rng, lambda points: outside(points.T))
    parts = [(False, vein, vein_radius), (True, scalp, scalp_radius)]
    if drawn["face_vessels"] > 0:
        parts += face_vessels(rng, drawn["face_vessels"])
    position = grid.to_scanner(np.concatenate([points for _, points, _ in parts]) * stretch)
    artery = np.concatenate([np.full(len(points), is_artery) for is_artery, points, _ in parts])
    level = np.full(len(position), drawn["veins"])
    level[artery] = contrast.blood_signal(np.full(artery.sum(), 0.3), drawn, slabs.flip(position[artery, 2])) * (
        drawn["flow_loss"] / contrast.grey_unit(drawn)
    )
    return position, np.concatenate([radius for *_, radius in parts]), level


def _posed(
    source: str, seed: int, *, small: bool, spacing_mm: Sequence[float] | None = None
) -> tuple[list[int], dict[str, float], np.random.Generator, np.ndarray, Grid]:
    """Draws the parameters, the stretch (3,) and the grid of a head.

    Returns:
        The number of the source and the seed, the parameters, the generator of the pose after these draws, the stretch
        and the grid.
    """
    if source not in NUMBERS or seed < 0:
        raise InputError(
            f"source {source!r}, seed {seed}: there is no such simulated head; choose the source A, B, C or P, and a "
            "seed of 0 or more"
        )
    parts = [NUMBERS[source], int(seed)]
    drawn = draw_parameters(source, _fresh(parts, "parameters"))
    if spacing_mm is not None:
        x, y, z = spacing_mm
        drawn |= {"spacing_x": x, "spacing_y_ratio": y / x, "spacing_z": z}
    pose = _fresh(parts, "pose")
    stretch = drawn["head_size"] * (1 + pose.uniform(-1, 1, 3) * drawn["head_shape"])
    return parts, drawn, pose, stretch, _grid(source, drawn, pose, small=small)


def drawn_arteries(source: str, seed: int, *, small: bool = False) -> tuple[list[Branch], Grid]:
    """Returns the arteries from which `simulate_head` draws a head, in RAS mm, and the grid of the head's image.

    The midline of the head is the plane x = 0. Arteries may leave the image.

    Args:
        source: the simulated site; see `simulate_head`.
        seed: 0 or more.
        small: True for the grid of a cropped head.

    Raises:
        InputError: the source is unknown or the seed is negative.
    """
    parts, drawn, _, stretch, grid = _posed(source, seed, small=small)
    return _arteries(drawn, stretch, _fresh(parts, "arteries"), _fresh(parts, "illness")), grid


def simulate_head(source: str, seed: int, *, small: bool = False, spacing_mm: Sequence[float] | None = None) -> Head:
    """Simulates a TOF-MRA head; the same source and seed always give the same bytes.

    Args:
        source: the simulated site: "A" and "B" stand for two hospitals, "C" is public and has much wider ranges; "P"
            has C's anatomy in a clean scan, and stands for no site. The parameters of the head are drawn from the
            ranges of this site in `sources.PARAMETERS`.
        seed: 0 or more; `sources.SEEDS` lists reserved ranges.
        small: True crops the head to at most 192 x 192 x 24 voxels around the circle of Willis, with the same voxel
            size.
        spacing_mm: voxel size (3,) instead of the source's own; all else that is drawn for this head stays the same.

    Raises:
        InputError: the source is unknown or the seed is negative.
    """
    parts, drawn, pose, stretch, grid = _posed(source, seed, small=small, spacing_mm=spacing_mm)
    slabs = contrast.Slabs(drawn, phase=pose.random(), rng=_fresh(parts, "slabs"))
    tree = _arteries(drawn, stretch, _fresh(parts, "arteries"), _fresh(parts, "illness"))
    blood = _blood(tree, grid, slabs, drawn, _fresh(parts, "flow"))
    other = _others(grid, stretch, slabs, drawn, _fresh(parts, "veins"))
    rasters = {
        name: rasterise(points - grid.corner_mm, radius, level, shape=grid.shape, spacing_mm=grid.spacing_mm)
        for name, (points, radius, level) in (("artery", blood), ("other", other))
    }
    fields = {name: SmoothField.random(_fresh(parts, name), scale) for name, scale in SCALES_MM.items()}
    fields["sleeve"] = SmoothField.density(blood[0], np.clip(blood[1] - 0.2, 0, 1), 2.0)
    signal, mask = _signal(grid, stretch, slabs, drawn, fields, rasters)
    if drawn["slab_step"] > 0:
        signal *= slabs.gain(grid.axes_mm[2])
    image = acquire(signal, grid.axes_mm, drawn, _fresh(parts, "noise"), _fresh(parts, "faults"))
    fraction, blood_total = rasters["artery"]
    label = fraction >= drawn["label_fraction"]
    if drawn["label_contrast"] > 0:  # a rater who sees a vessel's core outlines its dimmer surface, too
        label &= ndimage.maximum_filter(blood_total + (1 - fraction), 3) >= drawn["label_contrast"]
    if drawn["label_piece"]:
        pieces, _ = ndimage.label(label, np.ones((3, 3, 3)))
        piece = pieces[label]
        label[label] = (np.bincount(piece) * np.prod(grid.spacing_mm) >= drawn["label_piece"])[piece]
    return Head(image, label.astype(np.uint8), mask, grid.affine, drawn)


def _signal(
    grid: Grid, stretch: np.ndarray, slabs: contrast.Slabs, drawn: Mapping[str, float],
    fields: Mapping[str, SmoothField], rasters: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Computes the signal that the coils receive and the brain mask, in blocks.

    Args:
        grid: the grid of the image.
        stretch: (3,), the stretch of the head.
        slabs: the slabs of the acquisition.
        drawn: the parameters of the head.
        fields: smooth noise by name, and sleeve, the density of arteries, in which thick arteries weigh more.
        rasters: dict from "artery" and "other" (veins and scalp) to the two results of `rasterise`.

    Returns:
        The signal (X, Y, Z), float32, in units of grey matter, and the mask (X, Y, Z), uint8.
    """
    signal, mask = np.empty(grid.shape, np.float32), np.empty(grid.shape, np.uint8)
    levels = contrast.tissue_levels(drawn, slabs.flip(grid.axes_mm[2]))
    on_grid = {name: FieldOnGrid(f, grid.axes_mm) for name, f in fields.items()}
    for block in grid.blocks():
        values = WhenUsed({name: partial(f.block, block) for name, f in on_grid.items()})
        x, y, z = at = grid.template(block, stretch)
        still, inner = tissue(at, drawn, values, {name: level[block[2]] for name, level in levels.items()})
        for name in ("other", "artery"):
            fraction, total = (r[block] for r in rasters[name])
            if fraction.any():
                still *= 1 - fraction
                still += total
        if still.any():
            spread = (x * x + (y + 13) ** 2 + (z - 4) ** 2) / np.float32(90**2)
            coil = np.exp(values["bias"] * np.float32(drawn["bias"]))
            coil *= 1 + np.float32(drawn["coil_rim"]) * (spread - 0.3)
            still *= np.maximum(coil, np.float32(0.2))
        signal[block] = still
        near = (rasters["artery"][0][block] > 0) & (inner < 9) & (z > -38)
        mask[block] = (inner < np.float32(0.8) + values["small"] * np.float32(1.2)) | near
    return signal, mask
