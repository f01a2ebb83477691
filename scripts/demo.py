"""Runs the demo, from simulated heads of two sites to a report; each step is a `tofgan` verb and is printed as typed.

A finished step is skipped when the script runs again; a training that was interrupted continues.
"""

from __future__ import annotations

import hashlib
import logging
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tofgan_monai.errors import InputError

GANS = {"tof_mra_dcgan": "DCGAN", "tof_mra_wgan_gp": "WGAN-GP", "tof_mra_wgan_gp_sn": "WGAN-GP-SN"}
BEST = "tof_mra_wgan_gp"  # by validation, see docs/results
UNET = "tof_mra_vessel_segmentation"
SMALL_UNET = ("--width", "16")
N_TRAINING, N_VALIDATION, N_TEST = 8, 2, 4

ABOUT = (
    "All heads of this page are simulated: {n} of site A and {test} of site B, cropped round the circle of Willis at "
    "native spacing (192 or more voxels in plane, 24 slices). No patient was involved.",
    "The GANs called \"trained a little\" saw a minute of training, those called \"as shipped\" are the bundles' own: "
    "small networks (width 12 or 16), trained for about an hour each on other simulated heads of site A. The paper's "
    "networks have width 96 and were trained on GPUs.",
    "The U-Nets of this demo have width 16 and a minute or two of training each; the shipped one has the paper's "
    "width 32 and was trained on simulated heads of the public prior C alone, never on a head of A or B.",
)  # fmt: skip


def main(folder: Path) -> None:
    """Runs all steps of the demo that are not done yet."""
    from tofgan_monai.cli import app

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    steps = [[str(word) for word in words] for words in plan(folder)]
    write_about(folder / "report")
    began = time.monotonic()
    for number, words in enumerate(steps, start=1):
        command = shlex.join(["tofgan", *words])
        print(f"[{number}/{len(steps)}, {(time.monotonic() - began) / 60:.1f} min] {command}", flush=True)
        done = folder / "done" / hashlib.sha256(command.encode()).hexdigest()[:16]
        if not done.exists():
            app(words, standalone_mode=False)
            done.parent.mkdir(exist_ok=True)
            done.touch()
    print(f"done in {(time.monotonic() - began) / 60:.1f} min: open {folder}/report/report.html in a browser")


def plan(folder: Path) -> Iterator[list[object]]:
    """The words of each step's command, in order."""
    shown = folder / "report"
    n = N_TRAINING + N_VALIDATION + N_TEST
    for site, n_heads, split in (
        ("A", n, ["--counts", f"{N_TRAINING},{N_VALIDATION},{N_TEST}"]),
        ("B", N_TEST, ["--counts", f"0,0,{N_TEST}"]),
    ):
        heads = folder / f"heads_{site}"
        yield ["phantom", heads, "--site", site, "--n", n_heads, "--small", "--workers", 2]
        yield ["check", heads, *split, "--n-vessel", 250]
        yield ["prepare", heads, folder / f"prepared_{site}"]
    real, validation = shown / "pairs" / "real.npy", folder / "validation.npy"
    counts = ["--n-vessel", 250, "--n-random", 250]
    yield ["extract", folder / "prepared_A", real, *counts]
    yield ["extract", folder / "prepared_A", validation, "--split", "validation", *counts]

    for bundle in GANS:
        run, stack = shown / "train" / bundle, shown / "pairs" / f"{bundle}_little.npy"
        budget = ["--pairs", real, "--validation-pairs", validation, "--max_epochs", 1]
        yield ["train", bundle, "--output-dir", run, *budget]
        yield ["generate", bundle, stack, "--n", 64, "--weights", run / "best.pt", "--validation-pairs", validation]
    for bundle in GANS:
        yield ["generate", bundle, shown / "pairs" / f"{bundle}.npy", "--n", 4000 if bundle == BEST else 64]

    yield from evaluations(folder, "Shipped U-Net, simulation C", ["--baseline"])
    stacks = {"U-Net on real pairs": real, f"U-Net on {GANS[BEST]} pairs": shown / "pairs" / f"{BEST}.npy"}
    for model, stack in stacks.items():
        run = shown / "train" / model.replace(" ", "_")
        budget = ["--pairs", stack, "--validation-pairs", validation, *SMALL_UNET, "--lr", 0.001, "--max_epochs", 2]
        yield ["train", UNET, "--output-dir", run, *budget]
        yield from evaluations(folder, model, ["--weights", run / "best.pt", *SMALL_UNET])
    yield ["report", shown]


def evaluations(folder: Path, model: str, options: list[object]) -> Iterator[list[object]]:
    """The words of the commands that score a model on the test heads of both sites."""
    shown = folder / "report"
    for site in "AB":
        named = ["--model", model, "--cohort", f"site {site}", "--results", shown / "results.jsonl"]
        maps = ["--error_maps", shown / "figures"]
        yield ["evaluate", folder / f"prepared_{site}", folder / "evaluated", *options, *named, *maps]


def write_about(shown: Path) -> None:
    """Writes about.json, with the first paragraphs and the captions of the report."""
    from tofgan_monai.files import write_json

    n = N_TRAINING + N_VALIDATION + N_TEST
    captions = {"real": f"Real pairs: simulated patients of site A, {N_TRAINING} heads"}
    for bundle, name in GANS.items():
        captions[f"{bundle}_little"] = f"{name}, trained a little in this demo"
    for bundle, name in GANS.items():
        captions[bundle] = f"{name}, as shipped"
    paragraphs = [paragraph.format(n=n, test=N_TEST) for paragraph in ABOUT]
    write_json(
        shown / "about.json",
        {"title": "Synthetic vessel pairs: the demo", "paragraphs": paragraphs, "captions": captions},
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except InputError as error:
        sys.exit("\n".join(f"error: {problem}" for problem in error.problems))
