"""Checks of a scan's volumes; each file is read once, and the line about each problem names a remedy.

A problem is a line about a fault that must be corrected. A warning is a line about a doubt.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from scipy.ndimage import maximum_filter

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.digests import array_digest
from tofgan_monai.volumes.patch_grid import PATCH_SIZE, centre_box
from tofgan_monai.volumes.scans import Scan
from tofgan_monai.volumes.volume import (
    UnmappedLabelError,
    Volume,
    binary_label,
    by,
    geometry_differences,
    load_volume,
    mm,
    to_ras,
)

IN_PLANE_RANGE_MM = (0.4, 0.8)
SLICE_RANGE_MM = (0.5, 1.0)
MOST_HEIGHT_MM = 150.0
LEAST_CONTRAST = 4.0
LEAST_BRIGHT_SHARE = 0.1
_PATCH = f"{PATCH_SIZE}x{PATCH_SIZE}"


@dataclass
class Findings:
    """Result of `check_scan`, with the problems and warnings about one scan.

    Attributes:
        problems: one line for each problem.
        warnings: one line for each warning.
        digest: digest of the image's voxels, by which duplicates are found.
        black: smallest intensity of the image, which is the intensity of air.
        unmapped: line without a remedy about a label with values that no mapping makes vessel or background; None for
            any other label. The remedy depends on all scans of the cohort.
        classes: the values that need a mapping; 1 for a binary label that needs no mapping.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    digest: str | None = None
    black: float | None = None
    unmapped: str | None = None
    classes: Sequence[float] = ()


def check_scan(
    scan: Scan, *, folder: Path, label_values: Mapping[str, int] | None = None, n_vessel: int = 0
) -> Findings:
    """Checks a scan's image, label and mask; returns all problems and warnings.

    Args:
        scan: the scan; each file of the scan is read once.
        folder: the folder of the cohort; messages give paths relative to this folder.
        label_values: dict from value to 0 or 1 that makes the label binary; see `binary_label`.
        n_vessel: the number of vessel-centred patches that will be cut from this scan. If the label has fewer
            admissible centres, this is a problem.
    """
    findings = Findings()
    image = mask = None
    for name in ("image", "mask", "label"):
        path = getattr(scan, name)
        if path is None:
            continue
        prefix = f"{scan.subject}: {os.path.relpath(path, folder)}"
        volume, problems, warnings = _loaded(path)
        if volume is None:
            pass
        elif name == "image":
            image = volume
            low, high = volume.voxels.min(), volume.voxels.max()
            findings.black = float(low)
            if low == high:
                problems.append(f"constant image, every voxel is {low:g}; export it again")
            elif ((volume.voxels == low) | (volume.voxels == high)).all():
                problems.append(f"a label or mask, not an image: every voxel is {low:g} or {high:g}; give the scan")
            else:
                turned = to_ras(volume)
                warnings += _doubts_about(turned)
                warnings += [] if scan.label else _contrast_doubts(turned.voxels)
                findings.digest = array_digest(turned.voxels)
        elif name == "mask":
            wrong = [] if volume.voxels.any() else ["empty mask; give a mask of the brain, or leave it out"]
            wrong = wrong or _grid_problems(volume, image)
            mask = None if wrong or image is None else volume
            problems += wrong
        else:
            wrong = _grid_problems(volume, image)
            problems += wrong
            try:
                vessels = to_ras(volume._replace(voxels=binary_label(volume.voxels, label_values))).voxels > 0
            except UnmappedLabelError as error:
                findings.unmapped, findings.classes = f"{prefix}: {error.what}", error.classes
            except InputError as error:
                problems += error.problems
            else:
                findings.classes = () if label_values or not vessels.any() else (1.0,)
                problems += _label_problems(vessels, None if wrong else mask, n_vessel)
                warnings += [] if wrong or image is None else _vessel_doubts(to_ras(image).voxels, vessels)
        findings.problems += [f"{prefix}: {problem}" for problem in problems]
        findings.warnings += [f"{prefix}: {warning}" for warning in warnings]
    return findings


def _loaded(path: Path) -> tuple[Volume | None, list[str], list[str]]:
    """Reads a volume; returns the volume (None if it cannot be used), the problems and the warnings about the file."""
    if not path.exists():
        return None, [f"unreadable: a link to {os.readlink(path)}, which does not exist; copy or fetch that file"], []
    try:
        volume = load_volume(path)
    except InputError as error:
        return None, error.problems, []
    n_odd = volume.voxels.size - int(np.count_nonzero(np.isfinite(volume.voxels)))
    odd = [f"{n_odd} NaN or infinite voxels; replace them by numbers"] if n_odd else []
    return None if odd else volume, [*volume.problems, *odd], [*volume.warnings]


def _doubts_about(image: Volume) -> Iterator[str]:
    """Yields a warning for each way in which an image in RAS order differs from the training images.

    These are the spacing, the size of the axial slices and the height of the volume.
    """
    spacing = voxel_sizes(image.affine)
    ranges = np.array([IN_PLANE_RANGE_MM, IN_PLANE_RANGE_MM, SLICE_RANGE_MM])
    if ((spacing < ranges[:, 0] - 0.001) | (spacing > ranges[:, 1] + 0.001)).any():
        in_plane, between = (f"{low} to {high} mm" for low, high in (IN_PLANE_RANGE_MM, SLICE_RANGE_MM))
        yield (
            f"spacing {mm(spacing)} is outside the training range ({in_plane} in axial slices, {between} between "
            "them); nothing is resampled, so the networks see vessels larger or smaller than those they learnt from"
        )
    if min(image.voxels.shape[:2]) < PATCH_SIZE:
        yield f"axial slices of {by(image.voxels.shape[:2])} voxels; patches of {_PATCH} will be padded"
    height_mm = spacing[2] * image.voxels.shape[2]
    if height_mm > MOST_HEIGHT_MM:
        yield (
            f"covers {height_mm:.0f} mm from foot to head, more than a TOF-MRA usually does ({MOST_HEIGHT_MM:.0f} mm "
            "at most); make sure that this is a TOF-MRA, or crop it to the brain's arteries"
        )


def _contrast_doubts(voxels: np.ndarray) -> list[str]:
    """Returns a warning if an unlabelled image (X, Y, Z) lacks the few very bright voxels of flowing blood.

    Only the middle of the axial slices is used, without the scalp and without the black background. The criterion is
    the distance of the 99.9th percentile from the median, divided by the interquartile range. This value is 8 to 22 for
    simulated TOF-MRA, 2 for a T1-weighted head and 0.5 for a T1-weighted brain. The list is empty if there is no doubt.
    """
    middle = voxels[tuple(slice(n // 5, n - n // 5) for n in voxels.shape[:2])]
    inside = middle[middle > voxels.min()]
    if not inside.size:
        return []
    low, median, high, brightest = np.percentile(inside, (25, 50, 75, 99.9))
    if brightest - median >= LEAST_CONTRAST * (high - low):
        return []
    return [
        f"no vessels brighter than the brain: the brightest voxels lie {(brightest - median) / (high - low):.1f} "
        f"interquartile ranges above the median (TOF-MRA: more than {LEAST_CONTRAST:g}); make sure that it is a TOF-MRA"
    ]


def _vessel_doubts(voxels: np.ndarray, vessels: np.ndarray) -> list[str]:
    """Returns a warning if the labelled vessels of an image (X, Y, Z) are not brighter than the voxels around them."""
    around = maximum_filter(vessels, 11) & ~maximum_filter(vessels, 3)
    if not vessels.any() or not around.any():
        return []
    bright = float(np.percentile(voxels[around], 95))
    share = float((voxels[vessels] > bright).mean())
    if share > LEAST_BRIGHT_SHARE:
        return []
    return [
        f"the labelled vessels are not brighter than the brain: {share:.0%} of their voxels are brighter than 95% of "
        "those around them; make sure that the image is a TOF-MRA and that the label belongs to it"
    ]


def _grid_problems(volume: Volume, image: Volume | None) -> list[str]:
    """Returns a line for each difference between the grid of a label or mask and the image's grid.

    The order of the axes does not count. Without an image, the list is empty.
    """
    if image is None:
        return []
    volume, image = to_ras(volume), to_ras(image)
    one, other = ((volume.voxels.shape, volume.affine), (image.voxels.shape, image.affine))
    return [f"{difference}; bring both onto one grid" for difference in geometry_differences(one, other)]


def _label_problems(vessels: np.ndarray, mask: Volume | None, n_vessel: int) -> Iterator[str]:
    """Yields a problem if a label in RAS order is empty or has too few vessel voxels for `n_vessel` patches."""
    inside = vessels if mask is None else vessels & (to_ras(mask).voxels > 0)
    n_admissible = int(np.count_nonzero(inside[centre_box(vessels.shape)]))
    if not vessels.any():
        yield "empty label; segment the vessels or leave the subject out"
    elif not inside.any():
        yield f"empty label, none of its {vessels.sum()} vessel voxels lies in the mask; correct the label or the mask"
    elif n_admissible < n_vessel:
        yield (
            f"{n_vessel} vessel-centred patches were requested, but only {n_admissible} of {vessels.sum()} vessel "
            f"voxels can be the centre of a whole {_PATCH} patch; give a smaller --n-vessel, or correct the label"
        )
