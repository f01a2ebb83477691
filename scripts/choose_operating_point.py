"""Chooses the vessel probability and the smallest piece of the 3D bundle on validation heads of source C alone.

    python scripts/choose_operating_point.py HEADS [--weights models/model.pt] [--n 12]

HEADS is the folder for the simulated heads, such as the training's `simulated_dir`. Each head is segmented whole and
stripped by its true mask. Prints the mean DSC of each pair of threshold and size, and the best one, which
configs/inference.yaml of the bundle then states. No head of another source is looked at.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from tofgan_monai import ReadScand, start_from
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.metrics.segmentation.overlap import dice
from tofgan_monai.segmentation.heads import simulated_items
from tofgan_monai.volumes.transforms.coarse_grid import voxel_edges_mm
from tofgan_monai.volumes.transforms.small_pieces import large_pieces

BUNDLE = bundle_path("tof_mra_vessel_segmentation_3d")
THRESHOLDS = tuple(np.arange(0.2, 0.85, 0.05).round(2).tolist())
SIZES_MM3 = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
"""Sizes of the smallest piece that is kept."""


@torch.inference_mode()
def main(heads: Path, weights: Path, n: int) -> None:
    """Segments the heads and prints the table."""
    parser = ConfigParser(ConfigParser.load_config_file(BUNDLE / "configs" / "inference.yaml"))
    network = start_from(parser.get_parsed_content("network_def"), weights).eval()
    inferer = parser.get_parsed_content("inferer")
    scores: dict[tuple[float, float], list[float]] = {(t, s): [] for t in THRESHOLDS for s in SIZES_MM3}
    for item in tqdm(simulated_items(heads, n, split="validation"), "heads"):
        volumes = ReadScand()(item)
        image, mask = volumes["image"], np.asarray(volumes["mask"]) > 0
        truth, voxel_mm3 = np.asarray(volumes["label"]) > 0, float(np.prod(voxel_edges_mm(image)))
        for strip in (False, True):
            seen = torch.as_tensor(np.where(mask, image, float(image.min())) if strip else np.asarray(image)).float()
            probability = inferer(seen[None], network).sigmoid()[0, 0].numpy()
            label = (truth & mask if strip else truth)[0]
            for threshold in THRESHOLDS:
                found = probability > threshold
                for size in SIZES_MM3:
                    kept = large_pieces(found, size / voxel_mm3) if size else found
                    scores[threshold, size].append(dice(kept, label))
    print("| probability | " + " | ".join(f"{size:g} mm^3" for size in SIZES_MM3) + " |")
    print("|---" * (len(SIZES_MM3) + 1) + "|")
    for threshold in THRESHOLDS:
        cells = " | ".join(f"{np.mean(scores[threshold, size]):.4f}" for size in SIZES_MM3)
        print(f"| {threshold:g} | {cells} |")
    threshold, size = max(scores, key=lambda pair: np.mean(scores[pair]))
    whole, stripped = (float(np.mean(scores[threshold, size][first::2])) for first in (0, 1))
    chosen = {"threshold": threshold, "min_piece_mm3": size, "dsc_whole": whole, "dsc_stripped": stripped, "n": n}
    print(json.dumps({name: round(value, 4) for name, value in chosen.items()}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path, metavar="HEADS")
    parser.add_argument("--weights", type=Path, default=BUNDLE / "models" / "model.pt")
    parser.add_argument("--n", type=int, default=12)
    given = parser.parse_args()
    main(given.heads, given.weights, given.n)
