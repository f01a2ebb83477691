"""Compares the time of a segmentation of a full-size simulated head, from loading to the written file.

    python scripts/benchmark.py --segmentation WEIGHTS --repetitions 5 [--threads 2]

The yardstick is the package at commit 3d53d7a, with the half U-Net and a computed brain mask. The script takes this
commit from git into a temporary folder. The other rows are this package's 3D network in each precision that this
machine can use; the script says which ones it cannot. Each run is a process of its own, so that its peak memory can be
told. The time is that of `evaluator.run()` in the process: it leaves out the start of Python, the reading of weights,
and the preparation of int8, which one run before makes. The rows take turns, and the table has their median times.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.phantom import SEEDS, simulate_head
from tofgan_monai.segmentation.precision import PRECISIONS, require_precision
from tofgan_monai.training.weights import load_weights

ROOT = Path(__file__).resolve().parents[1]
YARDSTICK = "3d53d7a"
SHAPE = (312, 384, 127)
RUN = """
import json, os, resource, sys, time
settings = json.loads(sys.argv[1])
import torch
torch.set_num_threads(settings.pop("threads"))
from monai.bundle import ConfigParser
parser = ConfigParser()
parser.read_config(settings["bundle_root"] + "/configs/inference.yaml")
parser.update(settings)
evaluator = parser.get_parsed_content("evaluator")
began = time.perf_counter()
evaluator.run()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print("\\n" + json.dumps({"seconds": time.perf_counter() - began, "gib": peak}))
"""


def write_head(path: Path) -> None:
    """Writes a simulated head of site A, mirrored at its borders or cropped to 312x384x127 voxels."""
    head = simulate_head("A", SEEDS["demo"][9000])
    image = head.image
    for axis, n in enumerate(SHAPE):
        short = max(n - image.shape[axis], 0)
        edges = [(short // 2, short - short // 2) if a == axis else (0, 0) for a in range(3)]
        start = max(image.shape[axis] - n, 0) // 2
        image = np.pad(image, edges, mode="reflect").take(range(start, start + n), axis)
    nib.save(nib.Nifti1Image(np.rint(image).astype(np.int16), head.affine), path)


def cohort(tree: Path, head: Path, folder: Path) -> str:
    """Makes a folder with a head and the cohort.json of the package in the folder `tree`; returns the folder."""
    folder.mkdir()
    (folder / "sub-01_tof.nii.gz").hardlink_to(head)
    command = [sys.executable, "-m", "tofgan_monai", "check", str(folder), "--no-split"]
    pattern = ["--image", "{subject}_tof.nii.gz"]
    subprocess.run([*command, *pattern], check=True, cwd=tree, env=environment(tree), stdout=subprocess.DEVNULL)
    return str(folder)


def environment(tree: Path, threads: int = 1) -> dict[str, str]:
    """Returns the environment of a process that uses the package in the folder `tree`."""
    return {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": str(threads)}


def run(tree: Path, threads: int, settings: dict[str, Any]) -> dict[str, float]:
    """Segments with the package in the folder `tree`; returns the seconds and the peak memory in GiB."""
    with tempfile.TemporaryDirectory() as output_dir:
        given = json.dumps({"threads": threads, "output_dir": output_dir, **settings})
        command = [sys.executable, "-W", "ignore", "-c", RUN, given]
        options = {"cwd": tree, "env": environment(tree, threads), "stdout": subprocess.PIPE, "text": True}
        done = subprocess.run(command, check=True, **options)
        assert any(Path(output_dir).rglob("*.nii.gz")), done.stdout
    return json.loads(done.stdout.splitlines()[-1])


def usable_precisions() -> list[str]:
    """Returns the precisions that this machine can use; prints the reason for each other one."""
    usable = []
    for name in PRECISIONS:
        try:
            require_precision(name)
            usable.append(name)
        except InputError as error:
            print(f"no row for {name}: {error}")
    return usable


def main(weights: Path, repetitions: int, threads: int) -> None:
    """Times each row `repetitions` times, in turn, and prints a table of median times."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        old = work / "yardstick"
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", YARDSTICK], check=True, stdout=subprocess.PIPE)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(old, filter="data")
        write_head(head := work / "head.nii.gz")
        yardstick = {
            "bundle_root": str(old / "bundles/tof_mra_vessel_segmentation"),
            "dataset_dir": cohort(old, head, work / "old"),
            "skull_strip": "computed",
        }
        whole = {
            "bundle_root": str(ROOT / "bundles/tof_mra_vessel_segmentation_3d"),
            "dataset_dir": cohort(ROOT, head, work / "new"),
            "weights": str(weights.resolve()),
            "width": len(load_weights(weights)["head.weight"][0]),
        }
        rows = {f"half U-Net at {YARDSTICK}, computed mask": (old, yardstick)}
        rows |= {f"3D network, {name}": (ROOT, {**whole, "precision": name}) for name in usable_precisions()}
        if "3D network, int8" in rows:
            run(ROOT, threads, rows["3D network, int8"][1])  # prepares int8
        turns = [{name: run(tree, threads, given) for name, (tree, given) in rows.items()} for _ in range(repetitions)]
    print(f"{SHAPE} voxels, {repetitions} runs in turn, {threads} threads; medians\n")
    print("| segmentation of a full-size head, load to written file | s | share | peak GiB |\n|---|---|---|---|")
    seconds = {name: statistics.median(turn[name]["seconds"] for turn in turns) for name in rows}
    for name in rows:
        peak = max(turn[name]["gib"] for turn in turns)
        print(f"| {name} | {seconds[name]:.1f} | {seconds[name] / next(iter(seconds.values())):.2f} | {peak:.1f} |")
