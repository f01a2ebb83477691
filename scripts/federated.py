"""Trains three U-Nets for two simulated clinics: one in each clinic alone, and one by federated averaging.

    python scripts/federated.py FOLDER

All training runs take the same number of steps. `tofgan evaluate` scores every U-Net on both clinics' test patients.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean

from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe import SimEnv

from tofgan_monai.cli import app
from tofgan_monai.training.weights import load_weights, save_weights

UNET = "tof_mra_vessel_segmentation"
CLINICS = ("A", "B")
N_TRAINING, N_VALIDATION, N_TEST = 4, 1, 4
N_ROUNDS, EPOCHS_PER_ROUND = 3, 2
WIDTH = 8
RECIPE = {"width": WIDTH, "lr": 0.002}  # everything else is as in the bundle's train.yaml


def main(folder: Path) -> None:
    """Simulates the clinics' data, trains and scores the three U-Nets, and prints a table of the scores."""
    if folder.exists():
        sys.exit(f"{folder}: the folder exists already; remove it or name another folder")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    began = time.monotonic()
    for clinic in CLINICS:
        make_data(folder / clinic, clinic)
    models = {f"{clinic} alone": train_alone(folder, clinic) for clinic in CLINICS}
    models["federated"] = federate(folder)
    for name, weights in models.items():
        for clinic in CLINICS:
            words = ["--bundle", UNET, "--model", name, "--cohort", clinic, "--weights", weights, "--width", WIDTH]
            tofgan("evaluate", folder / clinic / "prepared", folder / "results" / f"{name}_{clinic}", *words)
    print(table(folder / "results"))
    print(f"done in {(time.monotonic() - began) / 60:.1f} min")


def tofgan(*words: object) -> None:
    """Prints a `tofgan` command and runs it in this process."""
    print(shlex.join(["tofgan", *map(str, words)]), flush=True)
    app([str(word) for word in words], standalone_mode=False)


def make_data(folder: Path, clinic: str) -> None:
    """Simulates a clinic's heads, prepares them, and extracts stacks (files) of training and validation pairs."""
    counts = f"{N_TRAINING},{N_VALIDATION},{N_TEST}"
    n_patches = ("--n-vessel", 250, "--n-random", 250)
    n = N_TRAINING + N_VALIDATION + N_TEST
    tofgan("phantom", folder / "heads", "--site", clinic, "--n", n, "--small", "--workers", 2)
    tofgan("check", folder / "heads", "--counts", counts, "--n-vessel", 250)
    tofgan("prepare", folder / "heads", folder / "prepared")
    for split in ("training", "validation"):
        tofgan("extract", folder / "prepared", folder / f"{split}.npy", "--split", split, *n_patches, "--force")


def train_alone(folder: Path, clinic: str) -> Path:
    """Trains a U-Net on one clinic's pairs, with the federated run's epochs; returns the path of its last weights."""
    output = folder / f"alone_{clinic}"
    pairs = ("--pairs", folder / clinic / "training.npy", "--validation-pairs", folder / clinic / "validation.npy")
    recipe = [word for key, value in RECIPE.items() for word in (f"--{key}", value)]
    tofgan("train", UNET, "--output-dir", output, *pairs, *recipe, "--max_epochs", N_ROUNDS * EPOCHS_PER_ROUND)
    weights = load_weights(output / "checkpoint.pt")["state"]["network"]
    save_weights(weights, output / "last.pt")  # not the best epoch: the federated run has none
    return output / "last.pt"


def federate(folder: Path) -> Path:
    """Trains a U-Net by federated averaging; returns the path of the server's weights after the last round."""
    given = {"folder": str(folder.resolve()), "epochs": EPOCHS_PER_ROUND, "rounds": N_ROUNDS, **RECIPE}
    recipe = FedAvgRecipe(
        name="vessels",
        model={"class_path": "tofgan_monai.HalfUNet", "args": {"width": WIDTH}},
        min_clients=len(CLINICS),
        num_rounds=N_ROUNDS,
        train_script=str(Path(__file__).with_name("federated_clinic.py")),
        train_args=shlex.join(f"{key}={value}" for key, value in given.items()),
    )
    run = recipe.execute(SimEnv(clients=list(CLINICS), workspace_root=str((folder / "simulator").resolve())))
    found = sorted(Path(run.get_result()).rglob("FL_global_model.pt"))
    if len(found) != 1:
        sys.exit(f"{folder}/simulator: the simulator wrote no global model; look at the logs in this folder")
    save_weights(load_weights(found[0])["model"], folder / "federated.pt")
    return folder / "federated.pt"


def table(folder: Path) -> str:
    """Markdown table of the mean DSC and 95HD of each U-Net on each clinic's test patients."""
    scores = defaultdict(list)
    for path in sorted(folder.rglob("results.jsonl")):
        for line in map(json.loads, path.read_text("utf-8").splitlines()):
            scores[line["model"], line["cohort"]].append((line["dsc"], line["hd95_mm"]))
    rows = ["| U-Net | " + " | ".join(f"DSC, {c} | 95HD mm, {c}" for c in CLINICS) + " |", "|---" * 5 + "|"]
    for model in dict.fromkeys(model for model, _ in scores):
        cells = [f"{mean(column):.3f}" for c in CLINICS for column in zip(*scores[model, c], strict=True)]
        rows.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
