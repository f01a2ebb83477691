"""What differential privacy costs and buys, on simulated patients: DSC and attacks against epsilon.

    python scripts/measure_privacy.py FOLDER            # hours; start it twice for two processes, again after a stop
    python scripts/measure_privacy.py FOLDER --table    # of what is there; draws FOLDER/privacy.svg

Private GANs are trained on ten pairs each of 1,000 simulated patients of site A: per patch and per patient, from a
public start (simulation C) and from nothing. Of each training: 2,000 pairs, their label threshold by the private share
of vessels; a half U-Net of width 8 on them, scored on ten test patients; the attacks on the data, 40 members against 40
others, and on the critic. Outside every epsilon: the settings, and which of a U-Net's three epochs is the best, by 20
validation patients. A folder holds what one version of this script has made: take a new one after a change.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
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
from tofgan_monai.pairs import PairDataset, open_stack
from tofgan_monai.privacy.accounting import private_share
from tofgan_monai.privacy.model_attacks import critic_score, run_critic
from tofgan_monai.privacy.risk import assess
from tofgan_monai.privacy.units import Secret, UnitDraws
from tofgan_monai.report.pictures import svg_bytes
from tofgan_monai.results import read_results
from tofgan_monai.weights import load_weights, save_weights

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
COMPARED = {
    "real": "real pairs",
    "public": "the public simulation's pairs",
    "start": "the public start's",
    "counted": "the public start's, vessels as many as patients'",
}
ATTACKS = ("density ratio", "LOGAN")  # shown: the one that sees planted patients (docs/results), and the critic's
COLOURS = {"public": "#1f5fa8", "nothing": "#b3541e"}

Lines = list[dict[str, Any]]  # a row's, one of each seed


@dataclass(frozen=True)
class Point:
    """A training, or pairs that it is compared with.

    These are real, public (C's own), or the public start's: labels with C's share of vessels ("start"), or with the
    patients' ("counted"), which costs 0.1 of epsilon.
    """

    pairs: str
    seed: int
    unit: str = ""
    start: str = ""
    epsilon: float | None = None

    @property
    def folder(self) -> Path:
        """All that is made of it."""
        return Path("points", "_".join(str(value) for value in asdict(self).values() if value != ""))


def points(n_seeds: int) -> Iterator[Point]:
    """The first seed's first."""
    for seed in range(n_seeds):
        yield from (Point(pairs, seed) for pairs in COMPARED)
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
    if point.pairs not in STACKS:
        stack = folder / "synthetic.npy"
        run("generate", GAN, stack, "-n", 2000, "--seed", point.seed, *generator(point))
    unet = ["--output-dir", folder / "unet", "--width", 8, "--seed", point.seed]
    budget = ["--batch_size", 8, "--lr", 0.003, "--max_epochs", 3]
    run("train", UNET, "--pairs", stack, "--validation-pairs", "references.npy", *unet, *budget)
    scores = ["--width", 8, "--results", folder / "results.jsonl"]
    run("evaluate", "A_scored", folder / "scored", "--weights", folder / "unet" / "best.pt", *scores)
    lines = read_results(folder / "results.jsonl")
    pairs = np.asarray(open_stack(stack)[0])
    attack(point, pairs)
    guarantee = folder / "gan" / "guarantee.json"
    return {
        **asdict(point),
        "dsc": [line["dsc"] for line in lines],
        "hd95_mm": [line["hd95_mm"] for line in lines],
        "ms_ssim": similarity_within(pairs[:, 0].astype(np.float32)),
        "guarantee": json.loads(guarantee.read_text()) if guarantee.exists() else None,
    }


def generator(point: Point) -> list[object]:
    """Options that name its weights and the share of vessels."""
    if point.pairs == "private":
        gan = point.folder / "gan"
        promise = ["--noise_multiplier", 0.0] if point.epsilon is None else ["--target_epsilon", point.epsilon]
        options = [*UNITS[point.unit], *STARTS[point.start], *promise, "--seed", point.seed]
        run("train", GAN, "--pairs", "members.npy", "--output-dir", gan, *options)
        return ["--weights", gan / "best.pt"]
    save_weights(load_weights("PUBLIC/checkpoint.pt")["state"]["average"], "start.pt")
    share = vessel_share("public.npy")
    if point.pairs == "counted":
        pairs, secret = PairDataset("members.npy"), Secret()
        draws = UnitDraws(pairs, unit="patient", expected_units=1, patches_per_unit=1, secret=secret)
        share = private_share(draws, 0.1)
    return ["--weights", "start.pt", "--vessel_share", share]


def attack(point: Point, pairs: np.ndarray) -> None:
    """Scores of all attacks, for all 40 + 40 patients' pairs."""
    cohorts = read_cohorts("attacked.npy", "others.npy", "references.npy", pairs_per_patient=10)
    scores = data_scores(cohorts.queries, pairs, cohorts.references.pairs)
    critic = {"private": point.folder / "gan", "start": Path("PUBLIC")}.get(point.pairs)
    if critic:
        scores["LOGAN"] = critic_score(run_critic(critic), cohorts.queries)
    scores |= {"patients": cohorts.patients, "is_member": cohorts.is_member}
    np.savez(point.folder / "scores.npz", allow_pickle=False, **scores)


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


def tell(folder: Path) -> None:
    """Prints the table and draws the picture of what is there."""
    rows: dict[Point, Lines] = {}
    for path in sorted(folder.glob("points/*/point.json")):
        line = json.loads(path.read_text())
        point = Point(**{key: line[key] for key in asdict(Point("", 0))})
        rows.setdefault(replace(point, seed=0), []).append({**line, "scores": np.load(path.with_name("scores.npz"))})
    rows = {point: rows[point] for point in points(1) if point in rows}
    print(
        "| pairs | unit | start | epsilon | noise | DSC, by seed | 95HD mm | MS-SSIM | AUC density ratio | AUC LOGAN |"
    )
    print("|" + "---|" * 10)
    for point, lines in rows.items():
        cells = [point.pairs, point.unit or "", point.start or "", "", ""]
        if promised := lines[0]["guarantee"]:
            cells[3:] = [f"{point.epsilon or 'none'}", f"{promised['noise_multiplier']:.2f}"]
        cells += [", ".join(f"{np.mean(line['dsc']):.3f}" for line in lines)]
        cells += [
            f"{np.mean([line[key] for line in lines]):.{digits}f}" for key, digits in (("hd95_mm", 1), ("ms_ssim", 2))
        ]
        cells += [
            ", ".join(f"{v:.2f} ({low:.2f} to {high:.2f})" for v, low, high in aucs(lines, name)) for name in ATTACKS
        ]
        print("| " + " | ".join(cells) + " |")
    with written_whole(folder / "privacy.svg") as temporary:
        temporary.write_bytes(svg_bytes(draw(rows)))


def dscs(lines: Lines) -> list[tuple[float, ...]]:
    """Mean DSC of each seed; its interval over patients is not drawn: the patients are the same everywhere."""
    return [(float(np.mean(line["dsc"])),) * 3 for line in lines]


def aucs(lines: Lines, name: str) -> list[tuple[float, ...]]:
    """AUC over patients of each seed, with the ends of its interval; none where there is no such attack."""
    found = [
        assess(of[name], of["patients"], of["is_member"])["patient"].auc
        for line in lines
        if name in (of := line["scores"])
    ]
    return [(auc.value, auc.low, auc.high) for auc in found]


def draw(rows: dict[Point, Lines]) -> Figure:
    """DSC and AUC by epsilon: a line for each unit and start, a dot for each training."""
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    panels: dict[str, Callable[[Lines], list[tuple[float, ...]]]] = {
        "DSC of the U-Net": dscs,
        **{f"AUC of an attack: {n}": partial(aucs, name=n) for n in ATTACKS},
    }
    for axis, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for index, (start, unit) in enumerate(product(STARTS, UNITS)):
            known = [
                (at, values(rows[p]))
                for at, e in enumerate(EPSILONS)
                if (p := Point("private", 0, unit, start, e)) in rows
            ]
            style = {"color": COLOURS[start], "linestyle": "-" if unit == "patch" else "--", "linewidth": 1.3}
            label = f"per {unit}, from {'the public start' if start == 'public' else start}"
            axis.plot([at for at, _ in known], [np.mean([v[0] for v in of]) for _, of in known], label=label, **style)
            for at, (value, low, high) in ((at, v) for at, of in known for v in of):
                x = at + 0.07 * (index - 1.5)
                axis.errorbar(
                    x,
                    value,
                    [[value - low], [high - value]],
                    marker="o",
                    markersize=3,
                    elinewidth=0.6,
                    color=COLOURS[start],
                )
        for (pairs, words), grey in zip(COMPARED.items(), ("#1d2329", "#5c6770", "#9aa5ad", "#c0c7cc"), strict=True):
            if Point(pairs, 0) in rows and (found := values(rows[Point(pairs, 0)])):
                axis.axhline(np.mean([v[0] for v in found]), color=grey, linestyle=":", linewidth=1.3, label=words)
        axis.set_xticks(range(len(EPSILONS)), [f"{epsilon:g}" if epsilon else "no noise" for epsilon in EPSILONS])
        axis.set_xlabel("epsilon")
        axis.set_title(title, fontsize=10)
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
