"""Compares measures of simulated heads with the arteries that the simulation drew.

    python scripts/compare_measures.py WORK [--heads 4] [--segment]

The heads are `tofgan phantom WORK/heads --site A --start 300`. The measures of each true label are compared with the
drawn arteries, cut to where their axis passes through voxels of the label. The volume of these arteries is the sum of
the fractions of voxels that they fill; where arteries overlap, the thicker one fills the voxel. Their length is that of
their axes. Their mean radius is the mean along the axes. The error "once" is that of a length without the parts of axes
that lie in the lumen of a thicker artery. With --segment, `tofgan segment` segments the whole heads, and its measures
stand below. docs/results/README.md holds the tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy.spatial import KDTree

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from tofgan_monai.metrics.segmentation.measures import Measures, vessel_measures  # noqa: E402
from tofgan_monai.metrics.segmentation.midline import find_midline  # noqa: E402
from tofgan_monai.phantom import SEEDS, head_name, write_heads  # noqa: E402
from tofgan_monai.phantom.head import CIRCLE_MM, drawn_arteries  # noqa: E402
from tofgan_monai.phantom.raster import along, rasterise  # noqa: E402
from tofgan_monai.volumes.volume import load_volume  # noqa: E402

SITE, START = "A", 300
SIDES = {"left": -1, "right": 1}
ERRORS = "head | volume mm^3 | error | length mm | error | error, once | left, right | mean radius mm | error"
PLANES = "head | angle between the midlines, degrees | mm apart at the circle of Willis | length on the left"
SEGMENTED = "head | side | calibre | volume mm^3 | of the true label's | length mm | of the true label's"


class Drawn(NamedTuple):
    """What is known of the arteries within a label."""

    volume_mm3: float
    length_mm: float
    once_mm: float
    mean_radius_mm: float
    side_mm: dict[str, float]


def drawn_within(label: np.ndarray, seed: int) -> Drawn:
    """Returns the size of the drawn arteries, cut to where their axis passes through voxels of the label."""
    tree, grid = drawn_arteries(SITE, seed)
    rows = [along(np.column_stack([b.points_mm, b.radius_mm]), float(b.radius_mm.mean())) for b in tree]
    branch = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
    points_mm, radius_mm = np.concatenate(rows)[:, :3], np.concatenate(rows)[:, 3]
    voxels = np.rint(apply_affine(np.linalg.inv(grid.affine), points_mm)).astype(int)
    there = ((voxels >= 0) & (voxels < label.shape)).all(axis=1)
    there[there] = label[tuple(voxels[there].T)]

    steps = np.flatnonzero(branch[1:] == branch[:-1])
    weight = np.linalg.norm(points_mm[steps + 1] - points_mm[steps], axis=1) * (there[steps] / 2 + there[steps + 1] / 2)
    middle_mm, radii = (points_mm[steps] + points_mm[steps + 1]) / 2, (radius_mm[steps] + radius_mm[steps + 1]) / 2
    right = middle_mm[:, 0] >= 0

    order = np.argsort(-radius_mm, kind="stable")  # as in the simulation, thick arteries come first
    _, filled = rasterise(
        grid.to_scanner(points_mm[order]) - grid.corner_mm,
        radius_mm[order],
        there[order].astype(float),
        shape=grid.shape,
        spacing_mm=grid.spacing_mm,
    )
    return Drawn(
        float(filled.sum() * np.prod(grid.spacing_mm)),
        float(weight.sum()),
        float(weight[~_covered(middle_mm, radii, branch[steps])].sum()),
        float(np.average(radii, weights=weight)),
        {side: float(weight[right == (sign > 0)].sum()) for side, sign in SIDES.items()},
    )


def _covered(middle_mm: np.ndarray, radius_mm: np.ndarray, branch: np.ndarray) -> np.ndarray:
    """Whether each step of an axis lies in the lumen of a thicker artery, or of an equally thick one before it."""
    held = KDTree(middle_mm).query_ball_point(middle_mm, radius_mm)
    outer, inner = np.repeat(np.arange(len(held)), [len(those) for those in held]), np.concatenate(held).astype(int)
    first = (radius_mm[outer] > radius_mm[inner]) | (radius_mm[outer] == radius_mm[inner]) & (
        branch[outer] < branch[inner]
    )
    covered = np.zeros(len(middle_mm), bool)
    covered[inner[first & (branch[outer] != branch[inner])]] = True
    return covered


def compared(found: dict[tuple[str, str], Measures], drawn: Drawn, voxel_mm: float) -> list[str]:
    """Returns the cells of the first table after the name: the measures of a true label against the drawn arteries."""
    total = found["total", "all"]
    assert total.mean_radius_mm is not None
    sides = ", ".join(percent(found[side, "all"].length_mm, drawn.side_mm[side]) for side in SIDES)
    error_mm = total.mean_radius_mm - drawn.mean_radius_mm
    return [
        f"{total.volume_mm3:,.0f}",
        percent(total.volume_mm3, drawn.volume_mm3),
        f"{total.length_mm:,.0f}",
        percent(total.length_mm, drawn.length_mm),
        percent(total.length_mm, drawn.once_mm),
        sides,
        f"{total.mean_radius_mm:.3f}",
        f"{error_mm:+.3f} ({error_mm / voxel_mm:+.2f} voxels)",
    ]


def percent(value: float, reference: float) -> str:
    """Returns the relative difference of a value from a reference as text."""
    return f"{100 * (value / reference - 1):+.1f} %"


def table(header: str, rows: list[list[str]]) -> str:
    """Returns a table as Markdown; the header has a | between two columns."""
    lines = [header, "---|" * header.count("|") + "---", *(" | ".join(cells) for cells in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def main(work: Path, n_heads: int, *, segment: bool) -> None:
    """Simulates the heads, measures them and prints the tables."""
    seeds = SEEDS["demo"][START : START + n_heads]
    write_heads(work / "heads", SITE, seeds)
    if segment:
        command = [sys.executable, "-m", "tofgan_monai", "segment", work / "heads", work / "segmented"]
        subprocess.run([*map(str, command)], check=True)
    rows, planes, segmented = [], [], []
    for seed in seeds:
        name = head_name(SITE, seed)
        label, image = (load_volume(work / "heads" / name / f"{kind}.nii.gz") for kind in ("label", "image"))
        true = vessel_measures(label.voxels, label.affine)  # the true midline is the plane x = 0
        drawn = drawn_within(label.voxels > 0, seed)
        rows.append([name, *compared(true, drawn, float(voxel_sizes(label.affine).min()))])
        plane = find_midline(image.voxels, image.affine).plane
        own = vessel_measures(label.voxels, label.affine, midline=plane)
        degrees, away_mm = np.degrees(np.arccos(plane[0])), abs(np.dot(plane, (*CIRCLE_MM, 1)))
        change = percent(own["left", "all"].length_mm, true["left", "all"].length_mm)
        planes.append([name, f"{degrees:.1f}", f"{away_mm:.1f}", change])
        if segment:
            found = json.loads((work / "segmented" / f"{name}_measures.json").read_text("utf-8"))["measures"]
            segmented += [[name, *cells(line, true[line["side"], line["calibre"]])] for line in found]
    print(table(ERRORS, rows))
    print(table(PLANES, planes))
    if segment:
        print(table(SEGMENTED, segmented))


def cells(line: dict, true: Measures) -> list[str]:
    """Returns cells of the third table: a line of measures.json, beside the same measures of the true label."""
    sizes = [(line["volume_mm3"], true.volume_mm3), (line["length_mm"], true.length_mm)]
    return [line["side"], line["calibre"], *(text for own, of in sizes for text in (f"{own:,.0f}", percent(own, of)))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--segment", action="store_true")
    given = parser.parse_args()
    main(given.work, given.heads, segment=given.segment)
