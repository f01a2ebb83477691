"""Runs the demo, from simulated heads of two sites to a report, as a sequence of `tofgan` commands.

    python scripts/demo.py FOLDER

The script prints each command before it runs it. If you start the script again, it skips finished commands, and an
interrupted training run continues.
"""

from __future__ import annotations

import hashlib
import logging
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tofgan_monai import InputError

GANS = {"tof_mra_dcgan": "DCGAN", "tof_mra_wgan_gp": "WGAN-GP", "tof_mra_wgan_gp_sn": "WGAN-GP-SN"}
BEST = "tof_mra_refiner"  # of all generators, see docs/results
SHIPPED = {**GANS, BEST: "Refiner"}
UNET = "tof_mra_vessel_segmentation"
SMALL_UNET = ("--width", "16")
N_TRAINING, N_VALIDATION, N_TEST = 8, 2, 4

ABOUT = (
    "All heads of this page are simulated: {n} heads of site A and {test} heads of site B. They are cropped round the "
    "circle of Willis at native spacing (192 or more voxels in plane, 24 slices). No patient was involved.",
    "The GANs called \"trained a little\" were trained for a minute. The generators called \"as shipped\" come with "
    "the bundles, trained on other simulated heads of site A: GANs of width 12 or 16 for up to an hour each, and the "
    "refiner, which is no GAN but gives simulated anatomy the look of patients' scans, for some minutes. The paper's "
    "networks have width 96 and were trained on GPUs.",
    "The U-Nets of this demo have width 16 and were trained for a minute or two each. The shipped U-Net has the "
    "paper's width 32 and was trained only on heads of the simulated site C, never on a head of site A or B.",
)  # fmt: skip


def main(folder: Path) -> None:
    """Runs all commands of the demo that are not finished yet; all files are written below `folder`."""
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
            if words[0] in ("extract", "generate"):  # of a demo that an earlier version began
                Path(words[2]).unlink(missing_ok=True)
            app(words, standalone_mode=False)
            done.parent.mkdir(exist_ok=True)
            done.touch()
    print(f"done in {(time.monotonic() - began) / 60:.1f} min: open {folder}/report/report.html in a browser")


def plan(folder: Path) -> Iterator[list[object]]:
    """Yields the commands of the demo in their order, each as a list of words after `tofgan`."""
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
    for bundle in SHIPPED:
        yield ["generate", bundle, shown / "pairs" / f"{bundle}.npy", "--n", 4000 if bundle == BEST else 64]

    yield from evaluations(folder, "Shipped U-Net, simulation C", ["--baseline"])
    stacks = {"U-Net on real pairs": real, f"U-Net on {SHIPPED[BEST]} pairs": shown / "pairs" / f"{BEST}.npy"}
    for model, stack in stacks.items():
        run = shown / "train" / model.replace(" ", "_")
        budget = ["--pairs", stack, "--validation-pairs", validation, *SMALL_UNET, "--lr", 0.001, "--max_epochs", 2]
        yield ["train", UNET, "--output-dir", run, *budget]
        yield from evaluations(folder, model, ["--weights", run / "best.pt", *SMALL_UNET])
    yield ["report", shown]


def evaluations(folder: Path, model: str, options: list[object]) -> Iterator[list[object]]:
    """Yields the commands that score a segmentation network on the test heads of both simulated sites, A and B."""
    shown = folder / "report"
    for site in "AB":
        named = ["--model", model, "--cohort", f"site {site}", "--results", shown / "results.jsonl"]
        maps = ["--error_maps", shown / "figures"]
        yield ["evaluate", folder / f"prepared_{site}", folder / "evaluated", "--bundle", UNET, *options, *named, *maps]


def write_about(shown: Path) -> None:
    """Writes the title, the first paragraphs and the captions of the report to about.json in the folder `shown`."""
    from tofgan_monai.files import write_json

    n = N_TRAINING + N_VALIDATION + N_TEST
    captions = {"real": f"Real pairs: simulated patients of site A, {N_TRAINING} heads"}
    for bundle, name in GANS.items():
        captions[f"{bundle}_little"] = f"{name}, trained a little in this demo"
    for bundle, name in SHIPPED.items():
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
