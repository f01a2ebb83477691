"""What is wrong with the volumes of a scan: one pass over each file, every problem named with its remedy."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.scans import Scan
from tofgan_monai.volumes.volume import Volume, binary_label, by, geometry_differences, load_volume, mm, to_ras

IN_PLANE_RANGE_MM = (0.4, 0.8)
SLICE_RANGE_MM = (0.5, 1.0)
PATCH_SIZE = 96


@dataclass
class Findings:
    """What is wrong or odd about one scan, and a digest of the image's voxels that tells the same scan twice."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    digest: str | None = None


def check_scan(
    scan: Scan, *, folder: Path, label_values: Mapping[str, int] | None = None, n_vessel: int = 0
) -> Findings:
    """Everything that is wrong or odd about a scan's image, label and mask.

    Args:
        scan: whose files are read, each once.
        folder: what the files' names are given relative to.
        label_values: how the label becomes binary; see `binary_label`.
        n_vessel: how many vessel-centred patches the scan must be able to give; 0 asks for none.
    """
    findings = Findings()
    image = _loaded(scan, scan.image, folder, findings)
    if image is not None:
        _check_image(image, _prefix(scan, scan.image, folder), findings)
    mask = _loaded(scan, scan.mask, folder, findings)
    if mask is not None:
        prefix = _prefix(scan, scan.mask, folder)
        if not mask.voxels.any():
            findings.problems.append(f"{prefix}: empty mask; give the brain's or leave it out")
            mask = None
        elif not _check_geometry(mask, image, scan, prefix, findings):
            mask = None
    label = _loaded(scan, scan.label, folder, findings)
    if label is not None:
        prefix = _prefix(scan, scan.label, folder)
        fits = _check_geometry(label, image, scan, prefix, findings)
        _check_label(label, mask if fits else None, prefix, findings, label_values, n_vessel)
    return findings


def _prefix(scan: Scan, path: Path | None, folder: Path) -> str:
    return f"{scan.subject}: {os.path.relpath(path or scan.image, folder)}"


def _loaded(scan: Scan, path: Path | None, folder: Path, findings: Findings) -> Volume | None:
    """The volume, unless it cannot be read or is not finite."""
    if path is None:
        return None
    prefix = _prefix(scan, path, folder)
    try:
        volume = load_volume(path)
    except InputError as error:
        findings.problems += [f"{prefix}: {problem}" for problem in error.problems]
        return None
    findings.problems += [f"{prefix}: {problem}" for problem in volume.problems]
    findings.warnings += [f"{prefix}: {warning}" for warning in volume.warnings]
    n_odd = volume.voxels.size - int(np.count_nonzero(np.isfinite(volume.voxels)))
    if n_odd:
        findings.problems.append(f"{prefix}: {n_odd} NaN or infinite voxels; replace them by numbers")
        return None
    return volume


def _check_image(image: Volume, prefix: str, findings: Findings) -> None:
    low, high = image.voxels.min(), image.voxels.max()
    if low == high:
        findings.problems.append(f"{prefix}: constant image, every voxel is {low:g}; export it again")
        return
    image = to_ras(image)
    voxels = np.ascontiguousarray(image.voxels)
    findings.digest = hashlib.blake2b(voxels.data, key=str(voxels.shape).encode(), digest_size=20).hexdigest()
    spacing = np.linalg.norm(image.affine[:3, :3], axis=0)
    ranges = np.array([IN_PLANE_RANGE_MM, IN_PLANE_RANGE_MM, SLICE_RANGE_MM])
    if ((spacing < ranges[:, 0] - 0.001) | (spacing > ranges[:, 1] + 0.001)).any():
        findings.warnings.append(
            f"{prefix}: spacing {mm(spacing)} is outside the training range ({_to(IN_PLANE_RANGE_MM)} mm in axial "
            f"slices, {_to(SLICE_RANGE_MM)} mm between them); nothing is resampled, so that vessels look larger or "
            "smaller to the networks than those they learnt from"
        )
    if min(voxels.shape[:2]) < PATCH_SIZE:
        findings.warnings.append(
            f"{prefix}: axial slices of {by(voxels.shape[:2])} voxels; patches of {PATCH_SIZE}x{PATCH_SIZE} will be "
            "padded"
        )


def _check_geometry(volume: Volume, image: Volume | None, scan: Scan, prefix: str, findings: Findings) -> bool:
    if image is None:
        return False
    if scan.image.is_dir():
        # Converters store the rows of a series in another order: the same grid once both are turned to RAS.
        volume, image = to_ras(volume), to_ras(image)
    grids = [(one.voxels.shape, one.affine) for one in (volume, image)]
    differences = geometry_differences(grids[0], grids[1], "the image's")
    findings.problems += [f"{prefix}: {difference}; bring both onto one grid" for difference in differences]
    return not differences


def _check_label(
    label: Volume,
    mask: Volume | None,
    prefix: str,
    findings: Findings,
    label_values: Mapping[str, int] | None,
    n_vessel: int,
) -> None:
    try:
        vessels = to_ras(label._replace(voxels=binary_label(label.voxels, label_values))).voxels > 0
    except InputError as error:
        findings.problems += [f"{prefix}: {problem}" for problem in error.problems]
        return
    if not vessels.any():
        findings.problems.append(f"{prefix}: empty label; segment the vessels or leave the subject out")
        return
    inside = vessels if mask is None else vessels & (to_ras(mask).voxels > 0)
    if not inside.any():
        findings.problems.append(
            f"{prefix}: empty label, none of its {vessels.sum()} vessel voxels lies in the mask; mend one"
        )
        return
    n_admissible = int(np.count_nonzero(inside[_centres(vessels.shape[0]), _centres(vessels.shape[1])]))
    if n_admissible < n_vessel:
        findings.problems.append(
            f"{prefix}: {n_vessel} vessel-centred patches asked for, but only {n_admissible} of {vessels.sum()} vessel "
            f"voxels can be the centre of a whole {PATCH_SIZE}x{PATCH_SIZE} patch; ask for "
            "fewer by --n-vessel, or mend the label"
        )


def _centres(edge: int) -> slice:
    """Where along an axis the centre of a patch may lie so that it fits; a shorter axis is padded, with one place."""
    first = PATCH_SIZE // 2 - max(PATCH_SIZE - edge, 0) // 2
    return slice(first, first + max(edge - PATCH_SIZE + 1, 1))


def _to(limits: tuple[float, float]) -> str:
    return f"{limits[0]} to {limits[1]}"
