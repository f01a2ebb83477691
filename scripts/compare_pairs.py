"""A U-Net on real pairs beside one on each shipped GAN's: same size, budget and test heads of site A, two seeds.

    python scripts/compare_pairs.py FOLDER [--jobs 2]

Heads are simulated (site A, the range of seeds of the study): 16 training, 4 validation, 10 test. Prints a table, draws
pairs.png of all stacks, goes on where it was stopped. `--jobs 2` trains two at a time, a thread each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from tofgan_monai.evaluation import score_threshold
from tofgan_monai.monitor import pair_grid
from tofgan_monai.pairs import open_stack
from tofgan_monai.results import BASELINE_MODEL, read_results, summaries

UNET = "tof_mra_vessel_segmentation"
GANS = {"tof_mra_dcgan": "DCGAN", "tof_mra_wgan_gp": "WGAN-GP", "tof_mra_wgan_gp_sn": "WGAN-GP-SN"}
SEEDS = (0, 1)
N_PAIRS, EPOCHS, WIDTH = 8000, 1, 16
SPLIT = "16,4,10"


def tofgan(*words: object, done: Path | None = None) -> None:
    """Runs a verb, unless the file is there that it would leave."""
    if done is not None and done.exists():
        return
    command = [sys.executable, "-c", "from tofgan_monai.cli import main; main()", *map(str, words)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def compare(folder: Path, jobs: int) -> None:
    """Makes whatever is missing, then prints the table."""
    heads, prepared = folder / "heads", folder / "prepared"
    tofgan("phantom", heads, "--site", "A", "--n", 30, "--small", "--seeds", "study", "--workers", jobs)
    tofgan("check", heads, "--counts", SPLIT, "--n-vessel", 250, done=heads / "cohort.json")
    tofgan("prepare", heads, prepared, done=prepared / "cohort.json")
    stacks = {"real": folder / "real.npy"}
    counts = ("--n-vessel", 250, "--n-random", 250)
    tofgan("extract", prepared, stacks["real"], *counts, done=stacks["real"])
    validation = folder / "validation.npy"
    tofgan("extract", prepared, validation, "--split", "validation", *counts, done=validation)
    for bundle, name in GANS.items():
        stacks[name] = folder / f"{bundle}.npy"
        tofgan("generate", bundle, stacks[name], "--n", N_PAIRS, done=stacks[name])

    def one(model: str, stack: Path, seed: int) -> None:
        run = folder / f"unet_{model}_{seed}"
        options = ("--width", WIDTH, "--lr", 0.001, "--max_epochs", EPOCHS, "--seed", seed)
        tofgan("train", UNET, "--output-dir", run, "--pairs", stack, "--validation-pairs", validation, *options)
        scored = ("--weights", run / "best.pt", "--width", WIDTH, "--model", f"{model}, seed {seed}")
        for split in ("validation", "test"):
            out = run / split
            tofgan(
                "evaluate", prepared, out, *scored, "--cohort", "site A", "--split", split, done=out / "results.jsonl"
            )

    with ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(one, model, stack, seed) for seed in SEEDS for model, stack in stacks.items()]
        for run in runs:
            run.result()
    baseline = folder / "baseline" / "results.jsonl"
    if not baseline.exists():
        score_threshold(prepared, output=baseline, model=BASELINE_MODEL, cohort="site A")
    print_table(folder)
    draw({"Real": stacks["real"], **{name: stacks[name] for name in GANS.values()}}, folder / "pairs.png")


def print_table(folder: Path) -> None:
    """Mean and standard deviation over patients of each run, and which GAN's pairs come how near to real ones."""
    print("| U-Net on | split | DSC | 95HD mm | patients | empty |\n|---|---|---|---|---|---|")
    means: dict[tuple[str, str], list[float]] = {}
    for path in sorted(folder.glob("*/**/results.jsonl")):
        for (model, _, split), (dsc, distance) in summaries(read_results(path)).items():
            scores = f"{dsc.mean:.3f} ± {dsc.sd:.3f} | {distance.mean:.2f} ± {distance.sd:.2f}"
            print(f"| {model} | {split} | {scores} | {dsc.n} | {dsc.n_empty} |")
            means.setdefault((model.split(",")[0], split), []).append(dsc.mean)
    best = max(GANS.values(), key=lambda name: np.mean(means[name, "validation"]))
    real, synthetic = np.mean(means["real", "test"]), np.mean(means[best, "test"])
    print(f"\nBest by validation: {best}, on the test heads {synthetic:.3f} of {real:.3f}, {synthetic / real:.3f}")


def draw(stacks: dict[str, Path], path: Path, n: int = 8) -> None:
    """The first pairs of each stack, a row of images above their labels."""
    figure, rows = plt.subplots(len(stacks), figsize=(n, 2.3 * len(stacks)), layout="constrained")
    for axes, (name, stack) in zip(rows, stacks.items(), strict=True):
        pairs, _ = open_stack(stack)
        axes.imshow(pair_grid(pairs[:: len(pairs) // n][:n], n), cmap="gray", vmin=0, vmax=255)
        axes.set_title(name)
        axes.axis("off")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    compare(Path(sys.argv[1]), jobs=int(sys.argv[sys.argv.index("--jobs") + 1]) if "--jobs" in sys.argv else 1)
