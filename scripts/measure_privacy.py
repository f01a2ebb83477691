"""Measures cost and benefit of differential privacy on simulated patients: DSC and attack AUC against epsilon.

    python scripts/measure_privacy.py FOLDER    # hours; start it twice for two processes, and again after a stop
    python scripts/draw_privacy.py FOLDER       # makes a table and pictures of the results so far

The script trains private GANs on ten pairs of each of 1,000 simulated patients of site A. The unit of privacy is the
patch or the patient. A GAN starts from random weights ("nothing"), or from the public start: a GAN that was trained on
simulated patients of site C, which need no privacy. Each GAN makes 2,000 pairs. Their label threshold is set such that
the fraction of vessel pixels is as in the patients' pairs, measured with privacy. A half U-Net of width 8 is trained on
the 2,000 pairs and scored on ten test patients. Membership inference attacks run on the pairs and on the critic, with
40 training patients (members) and 40 held-out patients (non-members). The epsilons do not cover the choice of the
settings, nor the choice of the U-Net's best epoch of three on 20 validation patients.

A point is one such GAN with its results, or a set of pairs to compare with. Use a new folder after each change of this
script.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tofgan_monai import PairDataset, Secret, UnitDraws, open_stack
from tofgan_monai.attacks.on_gan import critic_score, run_critic
from tofgan_monai.attacks.on_pairs import match_table, pair_scores
from tofgan_monai.audit.cohorts import read_cohorts
from tofgan_monai.cli import app
from tofgan_monai.files import write_json
from tofgan_monai.gan.label_threshold import vessel_share
from tofgan_monai.gan.privacy_budget import private_share
from tofgan_monai.metrics.stacks.diversity import similarity_within
from tofgan_monai.metrics.stacks.sliced_wasserstein import sliced_wasserstein
from tofgan_monai.segmentation.results import read_results
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.weights import load_weights, save_weights

GAN, UNET, PUBLIC_GAN = "tof_mra_dp_wgan_gp", "tof_mra_vessel_segmentation", "tof_mra_wgan_gp"
N_MEMBERS, N_VALIDATION, N_TEST, N_SCORED = 1000, 20, 40, 10
FEW, SOME, MANY = (["--n-vessel", n, "--n-random", n] for n in (5, 25, 75))
STACKS: dict[str, list[object]] = {  # arguments of `tofgan extract` for each stack (file of image-label pairs)
    "members": ["A_prep", *FEW],
    "attacked": ["A_prep", *FEW, "--patients", 40],
    "others": ["A_prep", *FEW, "--split", "test"],
    "references": ["A_prep", *SOME, "--split", "validation"],
    "real": ["A_prep", *FEW, "--patients", 200],
    "public": ["C_prep", *SOME, "--patients", 40],
    "C": ["C_prep", *MANY],
    "C_validation": ["C_prep", *MANY, "--split", "validation"],
}
EPSILONS = (1.0, 5.0, 7.4, None)  # None: gradients are clipped, but there is no noise
UNITS: dict[str, list[object]] = {
    "patch": [],
    "patient": ["--unit", "patient", "--batch_size", 100, "--patches_per_unit", 2, "--max_epochs", 24],
}
STARTS: dict[str, list[object]] = {
    "public": ["--pretrained", "PUBLIC/checkpoint.pt"],
    "nothing": ["--critic_trains", "None", "--generator_lr", 0.001],
}
COMPARED = {
    "real": "real pairs",
    "public": "the public simulation's pairs",
    "start": "the public start's pairs",
    "counted": "the public start's pairs, vessels as many as patients'",
}


@dataclass(frozen=True)
class Point:
    """Point of the table and the figure: a private GAN ("private"), or a set of pairs to compare it with.

    The pairs to compare with are "real" (pairs of patients), "public" (pairs of the simulated site C), or pairs made by
    the public start. The labels of the public start's pairs have the fraction of vessel pixels of site C ("start") or
    of the patients ("counted"). To measure the fraction of the patients costs 0.1 of epsilon.
    """

    pairs: str
    seed: int
    unit: str = ""
    start: str = ""
    epsilon: float | None = None

    @property
    def folder(self) -> Path:
        """Path of the folder for all files of this point."""
        return Path("points", "_".join(str(value) for value in asdict(self).values() if value != ""))


def points(n_seeds: int) -> Iterator[Point]:
    """Yields all points, the points of the first seed first."""
    for seed in range(n_seeds):
        yield from (Point(pairs, seed) for pairs in COMPARED)
        for start, unit, epsilon in product(STARTS, UNITS, EPSILONS):
            yield Point("private", seed, unit, start, epsilon)


def run(*words: object) -> None:
    """Runs a `tofgan` command in this process; the arguments are the words after `tofgan`."""
    app([str(word) for word in words], standalone_mode=False)


@contextmanager
def held(name: str, *, wait: bool) -> Iterator[bool]:
    """Context manager that takes the file lock `.NAME.lock` and yields whether this process holds the lock.

    The system releases the lock when the context or the process ends, even after a crash.

    Args:
        name: name of the lock.
        wait: whether to wait until another process releases the lock.
    """
    with Path(f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def simulate() -> None:
    """Simulates heads, extracts their pairs and trains the public start; skips what exists already."""
    for site, *split in (("C", 60, 4, 0), ("A", N_MEMBERS, N_VALIDATION, N_TEST)):
        if not Path(f"{site}_prep/cohort.json").exists():
            run("phantom", site, "--site", site, "-n", sum(split), "--small", "--seeds", "weights", "--start", 1000)
            run("check", site, "--counts", ",".join(map(str, split)))
            run("prepare", site, f"{site}_prep", "--skull-strip", "given")
    for name, options in STACKS.items():
        if not Path(f"{name}.npy").exists():
            run("extract", options[0], f"{name}.npy", *options[1:])
    scored = json.loads(Path("A_prep/cohort.json").read_text())["test"][:N_SCORED]
    scored = [{k: f"../A_prep/{v}" if k in ("image", "label", "mask") else v for k, v in it.items()} for it in scored]
    write_json("A_scored/cohort.json", {"format": 1, "training": [], "validation": [], "test": scored})
    pairs = ["--pairs", "C.npy", "--validation-pairs", "C_validation.npy"]
    run("train", PUBLIC_GAN, *pairs, "--output-dir", "PUBLIC", "--critic_def#width", 8, "--max_epochs", 40)


def measure(point: Point) -> dict[str, Any]:
    """Makes a point's pairs, trains and scores a U-Net on them, and attacks them; returns a dict with the results."""
    folder, stack = point.folder, Path(f"{point.pairs}.npy")
    if point.pairs not in STACKS:
        stack = folder / "synthetic.npy"
        run("generate", GAN, stack, "--force", "-n", 2000, "--seed", point.seed, *generator(point))
    unet = ["--output-dir", folder / "unet", "--width", 8, "--seed", point.seed]
    budget = ["--batch_size", 8, "--lr", 0.003, "--max_epochs", 3]
    run("train", UNET, "--pairs", stack, "--validation-pairs", "references.npy", *unet, *budget)
    scores = ["--bundle", UNET, "--width", 8, "--results", folder / "results.jsonl"]
    run("evaluate", "A_scored", folder / "scored", "--weights", folder / "unet" / "best.pt", *scores)
    lines = read_results(folder / "results.jsonl")
    pairs = np.asarray(open_stack(stack)[0])
    attack(point, pairs)
    guarantee = folder / "gan" / "guarantee.json"
    return {
        **asdict(point),
        "dsc": [line["dsc"] for line in lines],
        "hd95_mm": [line["hd95_mm"] for line in lines],
        "distance": distance(pairs),
        "ms_ssim": similarity_within(pairs[:, 0].astype(np.float32)),
        "guarantee": json.loads(guarantee.read_text()) if guarantee.exists() else None,
    }


def generator(point: Point) -> list[object]:
    """Options of `tofgan generate` for the weights of a point and its fraction of vessel pixels.

    For a private point, the function trains the private GAN first.
    """
    if point.pairs == "private":
        gan = point.folder / "gan"
        promise = ["--noise_multiplier", 0.0] if point.epsilon is None else ["--target_epsilon", point.epsilon]
        options = [*UNITS[point.unit], *STARTS[point.start], *promise, "--seed", point.seed]
        run("train", GAN, "--pairs", "members.npy", "--output-dir", gan, *options)
        return ["--weights", gan / "best.pt"]
    save_weights(load_weights("PUBLIC/checkpoint.pt")["state"]["average"], "start.pt")
    share: float | None = vessel_share("public.npy")
    if point.pairs == "counted":
        pairs, secret = PairDataset("members.npy"), Secret()
        draws = UnitDraws(pairs, unit="patient", expected_units=1, patches_per_unit=1, secret=secret)
        share = private_share(draws, 0.1)
    return ["--weights", "start.pt", "--vessel_share", share]


def distance(pairs: np.ndarray) -> float:
    """Sliced Wasserstein distance between the given pairs and as many pairs of validation patients."""
    references = np.asarray(open_stack("references.npy")[0])
    n = min(len(references), len(pairs))
    return sliced_wasserstein(*(torch.from_numpy(of[:n].astype(np.float32)) for of in (references, pairs)))


def attack(point: Point, pairs: np.ndarray) -> None:
    """Runs all attacks on a point's pairs and critic; saves the scores of 40 members' and 40 non-members' pairs."""
    cohorts = read_cohorts("attacked.npy", "others.npy", "references.npy", pairs_per_patient=10)
    scores = pair_scores(match_table(cohorts.queries, pairs, cohorts.references.pairs))
    critic = {"private": point.folder / "gan", "start": Path("PUBLIC")}.get(point.pairs)
    if critic:
        scores["LOGAN"] = critic_score(run_critic(*read_checkpoint(critic)), cohorts.queries)
    scores |= {"patients": cohorts.patients, "is_member": cohorts.is_member}
    np.savez(point.folder / "scores.npz", allow_pickle=False, **scores)


def main(folder: Path, n_seeds: int) -> None:
    """Measures all points that no process has measured or is measuring; writes a point.json for each."""
    Path(folder, "points").mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    with held("data", wait=True):
        simulate()
    for point in points(n_seeds):
        with held(point.folder.name, wait=False) as free:
            if free and not (point.folder / "point.json").exists():
                write_json(point.folder / "point.json", measure(point))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    main(given.folder, given.seeds)
