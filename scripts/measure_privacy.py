"""What differential privacy costs and buys, on simulated patients: DSC and attacks against epsilon.

    python scripts/measure_privacy.py FOLDER            # hours; start it twice for two processes, again after a stop
    python scripts/measure_privacy.py FOLDER --table    # of what is there; draws FOLDER/privacy.svg

Private GANs are trained on ten pairs each of 1,000 simulated patients of site A: per patch and per patient, from a
public start (simulation C) and from nothing. Of each training: 2,000 pairs, their label threshold by the private share
of vessels; a half U-Net of width 8 on them, scored on ten test patients; the attacks on the data, 40 members against 40
others; and the attack on the critic.
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
from matplotlib.figure import Figure

from tofgan_monai.audit.attacks import data_scores
from tofgan_monai.audit.cohorts import read_cohorts
from tofgan_monai.cli import app
from tofgan_monai.files import write_json, written_whole
from tofgan_monai.metrics.diversity import similarity_within
from tofgan_monai.metrics.thresholds import vessel_share
from tofgan_monai.pairs import open_stack
from tofgan_monai.privacy.model_attacks import critic_score, read_checkpoint, run_critic
from tofgan_monai.privacy.risk import assess
from tofgan_monai.report.pictures import svg_bytes
from tofgan_monai.results import read_results

GAN, UNET, PUBLIC_GAN = "tof_mra_dp_wgan_gp", "tof_mra_vessel_segmentation", "tof_mra_wgan_gp"
N_MEMBERS, N_VALIDATION, N_TEST, N_SCORED = 1000, 20, 40, 10
FEW, SOME, MANY = (["--n-vessel", n, "--n-random", n] for n in (5, 25, 75))
STACKS: dict[str, list[object]] = {  # what `tofgan extract` is told
    "members": ["A_prep", *FEW],
    "attacked": ["A_prep", *FEW, "--patients", 40],
    "others": ["A_prep", *FEW, "--split", "test"],
    "references": ["A_prep", *SOME, "--split", "validation"],
    "real": ["A_prep", *FEW, "--patients", 200],
    "public": ["C_prep", *SOME, "--patients", 40],
    "C": ["C_prep", *MANY],
    "C_validation": ["C_prep", *MANY, "--split", "validation"],
}
EPSILONS = (1.0, 5.0, 7.4, None)  # None: clipped, without noise
UNITS: dict[str, list[object]] = {
    "patch": [],
    "patient": ["--unit", "patient", "--batch_size", 100, "--patches_per_unit", 2, "--max_epochs", 24],
}
STARTS: dict[str, list[object]] = {
    "public": ["--pretrained", "PUBLIC/checkpoint.pt"],
    "nothing": ["--critic_trains", "None", "--generator_lr", 0.001],
}
COLOURS = {"public": "#1f5fa8", "nothing": "#b3541e"}


@dataclass(frozen=True)
class Point:
    """A training, or pairs that it is compared with: real, public (C's own), or of the public start alone."""

    pairs: str
    seed: int
    unit: str | None = None
    start: str | None = None
    epsilon: float | None = None

    @property
    def folder(self) -> Path:
        """All that is made of it."""
        return Path("points", "_".join(str(value) for value in asdict(self).values()))


def points(n_seeds: int) -> Iterator[Point]:
    """The first seed's first."""
    for seed in range(n_seeds):
        yield from (Point(pairs, seed) for pairs in ("real", "public", "start"))
        for start, unit, epsilon in product(STARTS, UNITS, EPSILONS):
            yield Point("private", seed, unit, start, epsilon)


def run(*words: object) -> None:
    """A verb of tofgan's."""
    app([str(word) for word in words], standalone_mode=False)


@contextmanager
def held(name: str, *, wait: bool) -> Iterator[bool]:
    """Whether this process alone has it; however the process ends, the system lets go."""
    with Path(f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def simulate() -> None:
    """Heads, their pairs and the public start; what is there stays."""
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
    """Trains and scores; a line of the table."""
    folder, stack = point.folder, Path(f"{point.pairs}.npy")
    if point.pairs in ("private", "start"):
        stack = folder / "synthetic.npy"
        weights = train(point) if point.pairs == "private" else Path("PUBLIC/best.pt")
        public = [] if point.pairs == "private" else ["--vessel_share", vessel_share("public.npy")]
        run("generate", GAN, stack, "-n", 2000, "--weights", weights, "--seed", point.seed, *public)
    unet = ["--output-dir", folder / "unet", "--width", 8, "--seed", point.seed]
    budget = ["--batch_size", 8, "--lr", 0.003, "--max_epochs", 3]
    run("train", UNET, "--pairs", stack, "--validation-pairs", "references.npy", *unet, *budget)
    scores = folder / "results.jsonl"
    weights = folder / "unet" / "best.pt"
    run("evaluate", "A_scored", folder / "scored", "--weights", weights, "--width", 8, "--results", scores)
    lines = read_results(scores)
    pairs = open_stack(stack)[0]
    line = {
        **asdict(point),
        "dsc": [line["dsc"] for line in lines],
        "hd95_mm": [line["hd95_mm"] for line in lines],
        "ms_ssim": similarity_within(np.asarray(pairs[:, 0], np.float32)),
    }
    if point.pairs == "private":
        line["guarantee"] = json.loads((folder / "gan" / "guarantee.json").read_text())
    return {**line, "auc": attack(point, pairs)}


def train(point: Point) -> Path:
    """The generator's weights of a private training."""
    run_folder = point.folder / "gan"
    promise = ["--noise_multiplier", 0.0] if point.epsilon is None else ["--target_epsilon", point.epsilon]
    options = [*UNITS[point.unit or ""], *STARTS[point.start or ""], *promise, "--seed", point.seed]
    run("train", GAN, "--pairs", "members.npy", "--output-dir", run_folder, *options)
    return run_folder / "best.pt"


def attack(point: Point, pairs: np.ndarray) -> dict[str, Any]:
    """AUC over patients of each attack, with its interval."""
    cohorts = read_cohorts("attacked.npy", "others.npy", "references.npy", pairs_per_patient=10)
    scores = data_scores(cohorts.queries, np.asarray(pairs[:1000]), cohorts.references.pairs)
    if point.pairs == "private":
        scores["LOGAN"] = critic_score(run_critic(*read_checkpoint(point.folder / "gan")), cohorts.queries)
    found = {name: assess(of, cohorts.patients, cohorts.is_member) for name, of in scores.items()}
    return {name: {unit: asdict(risk.auc) for unit, risk in risks.items()} for name, risks in found.items()}


def main(folder: Path, n_seeds: int) -> None:
    """Whatever nobody has done yet, or is doing."""
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


Lines = list[dict[str, Any]]  # of all seeds of a row


def tell(folder: Path) -> None:
    """Prints the table and draws the picture of what is there."""
    lines = [json.loads(path.read_text()) for path in sorted(folder.glob("points/*/point.json"))]
    rows: dict[Point, Lines] = {}
    for point in points(1):
        same = [line for line in lines if Point(**{k: line[k] for k in asdict(point)} | {"seed": 0}) == point]
        if same:
            rows[point] = same
    print(
        "| pairs | unit | start | epsilon | noise | DSC | of each seed | 95HD mm | MS-SSIM | AUC, data | AUC, critic |"
    )
    print("|" + "---|" * 11)
    for point, of in rows.items():
        cells = [point.pairs, point.unit or "", point.start or ""]
        if point.pairs == "private":
            cells += [f"{point.epsilon or 'none'}", f"{of[0]['guarantee']['noise_multiplier']:.2f}"]
        else:
            cells += ["", ""]
        dsc = [np.mean(line["dsc"]) for line in of]
        cells += [f"{np.mean(dsc):.3f}", ", ".join(f"{one:.3f}" for one in dsc)]
        cells += [
            f"{np.mean([line['hd95_mm'] for line in of]):.1f}",
            f"{np.mean([line['ms_ssim'] for line in of]):.2f}",
        ]
        cells += [f"{strongest(of):.2f}", f"{critic(of):.2f}" if point.pairs == "private" else ""]
        print("| " + " | ".join(cells) + " |")
    with written_whole(folder / "privacy.svg") as temporary:
        temporary.write_bytes(svg_bytes(draw(rows)))


def strongest(lines: Lines) -> float:
    """Of the attacks on the data that whose mean AUC over seeds is the highest."""
    names = [name for name in lines[0]["auc"] if name != "LOGAN"]
    return max(float(np.mean([line["auc"][name]["patient"]["value"] for line in lines])) for name in names)


def critic(lines: Lines) -> float:
    """Mean AUC of LOGAN over seeds."""
    return float(np.mean([line["auc"]["LOGAN"]["patient"]["value"] for line in lines]))


def draw(rows: dict[Point, Lines]) -> Figure:
    """DSC, and AUC of the attacks, by epsilon: a line for each unit and start."""
    figure = Figure(figsize=(8.6, 3.6), layout="constrained")
    means = lambda lines: float(np.mean([line["dsc"] for line in lines]))  # noqa: E731
    kinds = {"DSC": means, "AUC, strongest attack on the data": strongest, "AUC, attack on the critic": critic}
    for axis, (name, value) in zip(figure.subplots(1, 3), kinds.items(), strict=True):
        for start, unit in product(STARTS, UNITS):
            known = [
                (at, rows[p]) for at, e in enumerate(EPSILONS) if (p := Point("private", 0, unit, start, e)) in rows
            ]
            style = {"color": COLOURS[start], "linestyle": "-" if unit == "patch" else "--", "marker": "o"}
            label = f"per {unit}, from {'the public start' if start == 'public' else start}"
            axis.plot(
                [at for at, _ in known],
                [value(of) for _, of in known],
                label=label,
                linewidth=1.4,
                markersize=4,
                **style,
            )
        for pairs, grey in (("real", "#1d2329"), ("public", "#5c6770"), ("start", "#9aa5ad")):
            if Point(pairs, 0) in rows and value is not critic:
                words = {
                    "real": "real pairs",
                    "public": "the public simulation's pairs",
                    "start": "the public start alone",
                }
                axis.axhline(value(rows[Point(pairs, 0)]), color=grey, linestyle=":", linewidth=1.3, label=words[pairs])
        if name != "DSC":
            axis.set_ylim(0.35, 0.85)
        axis.set_xticks(range(len(EPSILONS)), [f"{epsilon:g}" if epsilon else "no noise" for epsilon in EPSILONS])
        axis.set_xlabel("epsilon")
        axis.set_title(name, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    tell(given.folder) if given.table else main(given.folder, given.seeds)
