"""Measures what the labelled scans of one or a few patients add to the shipped weights of the 3D network.

    python scripts/measure_one_patient.py WORK [--patients 1 3 5] [--draws 2] [--heads 6]

WORK is a folder for everything; a script that was stopped goes on where it was. The patients are simulated heads of
source B, seeds of their own: some to train on, others to score. The arms are fine-tuning as shipped (`--pretrained
shipped`, half of the windows from simulated heads of C), fine-tuning on the patients alone, and training from scratch
on the patients alone, all with the same number of steps. Heads of C show what each arm has forgotten. Prints a table of
mean DSC on B and on C, and of the difference to training from scratch with its interval over draws and test patients.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tofgan_monai.metrics.bootstrap import hierarchical_difference

BUNDLE = "tof_mra_vessel_segmentation_3d"
STEPS = ["--steps_per_epoch", 50, "--max_epochs", 8, "--n_validation", 32, "--simulated_validation", 1]
ARMS = {
    "fine-tuned": ["--pretrained", "shipped"],
    "fine-tuned, patients alone": ["--pretrained", "shipped", "--simulated", 0],
    "from scratch": ["--simulated", 0, *STEPS, "--validate#heads#split", "training"],
}
SHIPPED, SCRATCH = "shipped", "from scratch"
TRAINING, TEST = 5000, 4000  # the first seeds, from the start of the demo's range


def tofgan(*words: object) -> None:
    """Runs a verb of the command line."""
    subprocess.run([sys.executable, "-m", "tofgan_monai", *map(str, words)], check=True)


def cohort(folder: Path, site: str, start: int, counts: tuple[int, int, int]) -> Path:
    """Simulates full-size heads and writes their cohort.json; returns the folder."""
    if not (folder / "cohort.json").exists():
        tofgan("phantom", folder, "--site", site, "-n", sum(counts), "--start", start)
        tofgan("check", folder, "--counts", ",".join(map(str, counts)))
    return folder


def scores(heads: Path, output: Path, weights: Path | None) -> list[float]:
    """Returns the DSC of each test patient, from an evaluation that is made if it is missing."""
    results = output / "results.jsonl"
    if not results.exists():
        tofgan("evaluate", heads, output, *(["--weights", weights] if weights else []), "--error_maps", "")
        for path in output.rglob("*.nii.gz"):
            path.unlink()
    lines = map(json.loads, results.read_text("utf-8").splitlines())
    return [line["dsc"] for line in lines if "dsc" in line]


def main(work: Path, patients: list[int], draws: int, n_heads: int) -> None:
    """Simulates, trains and scores what has no result yet, and prints the table."""
    heads = {
        "B": cohort(work / "test_B", "B", TEST, (0, 0, n_heads)),
        "C": cohort(work / "test_C", "C", TEST, (0, 0, n_heads)),
    }
    found = {(SHIPPED, 0): [{site: scores(heads[site], work / f"shipped_{site}", None) for site in heads}]}
    minutes: dict[tuple[str, int], list[float]] = {}
    for k in patients:
        for arm, options in ARMS.items():
            for draw in range(draws):
                name = f"{arm}_{k}_{draw}".replace(" ", "_").replace(",", "")
                seen = cohort(work / f"training_{k}_{draw}", "B", TRAINING + 100 * k + 10 * draw, (k, 0, 0))
                output, told = work / "runs" / name, work / "runs" / f"{name}.json"
                if not told.exists():
                    began = time.monotonic()
                    tofgan("train", BUNDLE, "--output-dir", output, "--dataset-dir", seen, "--simulated_dir",
                           work / "simulated", "--seed", draw, *options)  # fmt: skip
                    told.write_text(json.dumps({"minutes": (time.monotonic() - began) / 60}), "utf-8")
                    shutil.rmtree(output / "heads", ignore_errors=True)
                minutes.setdefault((arm, k), []).append(json.loads(told.read_text("utf-8"))["minutes"])
                found.setdefault((arm, k), []).append(
                    {site: scores(heads[site], work / f"{name}_{site}", output / "best.pt") for site in heads}
                )
    print("| arm | patients of B | DSC on B | DSC on C | minutes | minus scratch, on B |\n|---|---|---|---|---|---|")
    for (arm, k), runs in found.items():
        table = {site: np.array([run[site] for run in runs]) for site in heads}
        gain = ""
        if k and arm != SCRATCH:
            scratch = np.array([run["B"] for run in found[SCRATCH, k]])
            interval = hierarchical_difference((table["B"] - scratch)[:, None])
            gain = f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
        took = f"{np.median(minutes[arm, k]):.1f}" if k else ""
        print(f"| {arm} | {k} | {table['B'].mean():.3f} | {table['C'].mean():.3f} | {took} | {gain} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--patients", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--heads", type=int, default=6, help="number of heads that are scored, of B and of C each")
    given = parser.parse_args()
    main(given.work.resolve(), given.patients, given.draws, given.heads)
