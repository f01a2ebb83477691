"""Measures on whole labelled volumes what overlapping windows of the shipped half U-Net cost and how they score.

    python scripts/measure_overlap.py PREPARED [PREPARED ...] [--overlaps 0 0.25 0.5]

PREPARED are folders with a cohort.json, as written by `tofgan prepare`. The script prints a table of the number of
windows, the seconds by the clock, the seconds of processor time (which other work on the machine affects less), and the
DSC and 95HD of the vessels. Vessels are voxels with a probability above 0.5.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from nibabel.affines import voxel_sizes
from torch import Tensor

from tofgan_monai import BrainWindowInferer, HalfUNet, read_cohort, start_from
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.metrics.segmentation.overlap import overlap as overlap_of
from tofgan_monai.volumes.volume import load_volume, to_ras

WEIGHTS = bundle_path("tof_mra_vessel_segmentation") / "models" / "model.pt"


@torch.inference_mode()
def segment(image: Tensor, overlap: float) -> tuple[Tensor, str]:
    """Segments an image (X, Y, Z); returns its vessels (X, Y, Z), bool, and table cells with the cost.

    The cost is the number of windows, the seconds by the clock and the seconds of processor time.
    """
    network, n_windows = start_from(HalfUNet(), WEIGHTS).eval().to(memory_format=torch.channels_last), 0

    def counted(windows: Tensor) -> Tensor:
        nonlocal n_windows
        n_windows += len(windows)
        return network(windows)

    began, worked = time.perf_counter(), time.process_time()
    logits = BrainWindowInferer(overlap)(image[None, None], counted)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    return logits[0, 0] > 0, f"{n_windows} | {seconds:.1f} | {cpu:.1f}"


def main(folders: list[Path], overlaps: list[float]) -> None:
    """Segments each volume in the folders with each overlap, and prints a table of cost, DSC and 95HD."""
    print(f"{torch.get_num_threads()} threads\n")
    print("| volume | overlap | windows | s | CPU s | DSC | 95HD mm |\n|---|---|---|---|---|---|---|")
    for item in (item for folder in folders for item in read_cohort(folder, "all", labelled=True)):
        image, label = (to_ras(load_volume(item[key])) for key in ("image", "label"))
        spacing_mm = voxel_sizes(image.affine)
        for overlap in overlaps:
            found, cost = segment(torch.from_numpy(image.voxels).float(), overlap)
            score = overlap_of(found, label.voxels > 0, spacing_mm=spacing_mm)
            print(f"| {item['subject']} | {overlap:g} | {cost} | {score.dsc:.4f} | {score.hd95_mm:.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="PREPARED")
    parser.add_argument("--overlaps", type=float, nargs="+", default=[0, 0.25, 0.5])
    given = parser.parse_args()
    main(given.folders, given.overlaps)
