"""Scores what segments whole heads, on full-size simulated heads that nothing was trained on or tuned on.

    python scripts/measure_whole_heads.py WORK [--sites A B] [--heads 8]

WORK is a folder for the heads, the evaluations and results.jsonl; a script that was stopped goes on where it was. The
heads are those of `tofgan phantom --start 9000`. The rows are the 3D network on whole heads without any mask and on
stripped ones, the half U-Net with the true and with the computed mask, the best single threshold and Frangi's filter.
Stripped heads are scored inside the mask. The last two get the true mask, and their threshold (Frangi's also its scale)
is the best one for these very heads, so they look better than they would be. Prints a table of means: DSC, 95HD in mm,
clDice, precision and recall.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from skimage.filters import frangi

from tofgan_monai import overlap, read_cohort
from tofgan_monai.metrics.segmentation.overlap import bounding_box, precision_and_recall
from tofgan_monai.metrics.segmentation.threshold_baseline import best_threshold
from tofgan_monai.volumes.volume import load_volume

NETWORKS = {
    "3D U-Net, whole head": ("tof_mra_vessel_segmentation_3d", None),
    "3D U-Net, true mask": ("tof_mra_vessel_segmentation_3d", "given"),
    "half U-Net, true mask": ("tof_mra_vessel_segmentation", "given"),
    "half U-Net, computed mask": ("tof_mra_vessel_segmentation", "computed"),
}
SIGMAS = (1.0, 1.5, 2.0)  # voxels; arteries have radii of 0.2 to 2.5 mm, voxels 0.5 to 0.7 mm
FRANGI, THRESHOLD = "Frangi's filter, true mask", "best threshold, true mask"


def tofgan(*arguments: object) -> None:
    """Runs a verb of the command line."""
    subprocess.run([sys.executable, "-m", "tofgan_monai", *map(str, arguments)], check=True)


def stripped(heads: Path, method: str) -> Path:
    """Returns the folder of a cohort's heads that are stripped by the true mask ("given") or a "computed" one."""
    prepared = heads.with_name(f"{heads.name}_{method}")
    if not (prepared / "cohort.json").exists():
        tofgan("prepare", heads, prepared, "--skull-strip", method)
    return prepared


def masked(item: dict, *, sigma: float = 0.0) -> np.ndarray:
    """Returns the image of a head inside its true brain mask, 0 outside; with a scale in voxels, its vesselness."""
    image, mask = load_volume(item["image"]).voxels.astype(np.float32), load_volume(item["mask"]).voxels > 0
    if not sigma:
        return image * mask
    box, found = bounding_box(mask), np.zeros_like(image)
    inside = np.where(mask[box], image[box], np.median(image[mask]))  # so that the mask's edge is no ridge
    found[box] = frangi(inside, sigmas=[sigma], black_ridges=False) * mask[box]
    return found


def classical_lines(items: list[dict], site: str, kept: Path) -> list[dict]:
    """Returns the results of the best threshold and of Frangi's filter at its best scale and threshold."""
    labels = [load_volume(item["label"]).voxels > 0 for item in items]
    images = {THRESHOLD: [masked(item) for item in items]}
    scales = {}
    for sigma in SIGMAS:
        path = kept / f"frangi_{site}_{sigma}.npz"
        if not path.exists():
            np.savez_compressed(path, *[masked(item, sigma=sigma).astype(np.float32) for item in items])
        with np.load(path) as stored:
            scales[sigma] = list(stored.values())
    best = max(scales, key=lambda sigma: np.mean(best_threshold(scales[sigma], labels).dsc))
    images[f"{FRANGI} (scale {best:g} voxels)"] = scales[best]
    lines = []
    for model, volumes in images.items():
        level = best_threshold(volumes, labels).threshold
        for index, (volume, label, item) in enumerate(zip(volumes, labels, items, strict=True)):
            score = overlap(volume >= level, label, spacing_mm=voxel_sizes(load_volume(item["image"]).affine))
            precision, recall = precision_and_recall(volume >= level, label)
            scores = {"dsc": score.dsc, "hd95_mm": score.hd95_mm, "precision": precision, "recall": recall}
            lines.append({"model": model, "cohort": site, "patient": index, **scores})
    return lines


def main(work: Path, sites: list[str], n: int) -> None:
    """Simulates, evaluates what has no result yet, and prints the table."""
    lines = []
    for site in sites:
        heads = work / site
        tofgan("phantom", heads, "--site", site, "-n", n, "--start", 9000)
        if not (heads / "cohort.json").exists():
            tofgan("check", heads, "--counts", f"0,0,{n}")
        for model, (bundle, strip) in NETWORKS.items():
            output = work / "evaluations" / f"{site} {model}".replace(" ", "_").replace(",", "")
            if not (output / "results.jsonl").exists():
                volumes = stripped(heads, strip) if strip else heads
                tofgan("evaluate", volumes, output, "--bundle", bundle, "--model", model, "--cohort", site)
            lines += map(json.loads, (output / "results.jsonl").read_text("utf-8").splitlines())
        classical = work / f"classical_{site}.json"
        if not classical.exists():
            items = read_cohort(heads, "test", labelled=True)
            classical.write_text(json.dumps(classical_lines(items, site, work)), "utf-8")
        lines += json.loads(classical.read_text("utf-8"))
    print("| site | model | n | DSC | 95HD mm | clDice | precision | recall |\n|---|---|---|---|---|---|---|---|")
    groups = dict.fromkeys((line["cohort"], line["model"]) for line in lines)
    for site, model in groups:
        rows = [line for line in lines if (line["cohort"], line["model"]) == (site, model)]
        means = [[row[k] for row in rows if k in row] for k in ("dsc", "hd95_mm", "cl_dice", "precision", "recall")]
        cells = " | ".join(f"{np.mean(values):.3f}" if values else "" for values in means)
        print(f"| {site} | {model} | {len(rows)} | {cells} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--sites", nargs="+", default=["A", "B"])
    parser.add_argument("--heads", type=int, default=8)
    given = parser.parse_args()
    main(given.work, given.sites, given.heads)
