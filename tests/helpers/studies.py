"""A study with made-up results, which only have the form of a study's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml

from tofgan_monai import StackWriter
from tofgan_monai.segmentation.error_maps import save_error_map
from tofgan_monai.study.data import BASELINES, as_results
from tofgan_monai.study.plan import arms, shareable, training_sets
from tofgan_monai.study.settings import read_settings
from tofgan_monai.study.statistics import statistics

N_PATIENTS = {"validation": 4, "test": 10}
DSC = {
    "real": 0.83,
    "real+DCGAN": 0.832,
    "real+WGAN-GP": 0.835,
    "real+WGAN-GP-SN": 0.829,
    "real+procedural": 0.84,
    "DCGAN": 0.76,
    "WGAN-GP": 0.78,
    "WGAN-GP-SN": 0.77,
    "procedural": 0.71,
    "scratch": 0.72,
    "pretrained": 0.78,
}
COST = {"wall_s": 60.0, "peak_mb": 900}


def scored(rng: np.random.Generator, mean: float, *, split: str, **more) -> list[dict]:
    """The scores of one model, a line for each patient of the split."""
    n = N_PATIENTS[split]
    curve = 1 - 1.5 * (np.linspace(0.05, 0.95, 19) - 0.4) ** 2
    return [
        {
            "split": split,
            "patient": f"{split}-{index:02d}",
            "dsc": float(value),
            "hd95_mm": round(float(30 * (1 - value)), 4),
            "empty": "",
            "dsc_small": round(float(value) - 0.2, 5),
            "dsc_large": None if index == 1 else round(float(value) + 0.05, 5),
            "dsc_at": (value * curve).round(4).tolist(),
            "n": n,
            **more,
        }
        for index, value in enumerate(np.clip(mean + rng.normal(0, 0.03, n), 0, 1).round(5))
    ]


def made_up_lines(seed: int = 0, **changes) -> list[dict]:
    """Results of a study that never was: 10 test patients, 2 seeds, 3 draws of one patient of site B."""
    rng = np.random.default_rng(seed)
    own = {
        "grid": {"lr": [0.001, 0.003], "dropout": [0.0, 0.1]},
        "transfer": {1: 3, 5: 1, 15: 1},
        "unet_train": "--batch_size 16 --pairs_per_epoch 2500 --max_epochs 4",
    }
    settings = {**read_settings("laptop"), **own, **changes}
    sets = training_sets(settings)
    points = ("lr0.001_dropout0.0", "lr0.001_dropout0.1", "lr0.003_dropout0.0", "lr0.003_dropout0.1", "classical")
    tried = dict(zip(points, (0.81, 0.811, 0.825, 0.82, 0.818), strict=True))
    lines: list[dict] = [
        {
            "experiment": "settings",
            "measure": "settings",
            "settings": shareable(settings),
            "simulated": ["A", "B"],
            "n_real": 8000,
            "n_synthetic": 8000,
            "n_A": [16, 4, 10],
            "n_B": [15, 4, 10],
        },
        {
            "experiment": "tuning",
            "measure": "validation DSC",
            "model": "real",
            "tried": tried,
            "chosen": "--lr 0.003 --dropout 0.0 --overlay plain",
        },
        {
            "experiment": "best GAN",
            "measure": "validation DSC",
            "tried": {"DCGAN": 0.76, "WGAN-GP": 0.784, "WGAN-GP-SN": 0.771},
            "chosen": "WGAN-GP",
        },
    ]
    distances = {"others": 8.25, "DCGAN": 31.5, "WGAN-GP": 24.125, "WGAN-GP-SN": 22.75, "procedural": 40.0}
    distance = {"experiment": "table1", "measure": "FD(EfficientNet-Lite0)", "reference": "real", "n": 2000}
    for stack, value in distances.items():
        ends = {"value": value, "low": value - 1, "high": value + 1.5, "n_patients": 3}
        without_each = [value - 0.5, value, value + 1]
        lines.append({**distance, "model": stack, "stack": stack, "dim": 1280, **ends, "without_each": without_each})
    for name in sets:
        for run in settings["seeds"]:
            for site, split in (("A", "validation"), ("A", "test"), ("B", "test")):
                more = {"experiment": "table2", "model": name, "cohort": site, "seed": run, **COST}
                lines += scored(rng, DSC[name] - 0.05 * (site == "B"), split=split, **more)
    for site in "AB":
        for model, mean in zip(BASELINES.values(), (0.68, 0.71), strict=True):
            more = {"experiment": "threshold", "model": model, "cohort": site, **COST}
            lines += scored(rng, mean, split="test", **more)
            for line in lines[-N_PATIENTS["test"] :]:
                del line["dsc_at"]
    for arm in arms(settings):
        for k, n_draws in settings["transfer"].items():
            mean = DSC[arm] + (0.1 if arm == "scratch" else 0.06) * np.log(k) / np.log(15)
            for draw in range(n_draws):
                for run in settings["seeds"]:
                    more = {"experiment": "transfer", "model": arm, "arm": arm, "cohort": "B", "n_training": k, **COST}
                    for split in N_PATIENTS:
                        lines += scored(rng, mean, split=split, draw=draw, seed=run, **more)
    for name in sets:
        epochs = [
            {"epoch": n, "iteration": 157 * n, "loss": 0.6 / n, "val_dice": DSC[name] - 0.1 / n} for n in range(1, 5)
        ]
        lines.append({"experiment": "losses", "measure": "losses", "model": f"U-Net on {name}", "epochs": epochs})
    for step in ("simulate/A", "simulate/B", "frechet", *(f"train_unet/{name}_0" for name in sets)):
        lines.append({"experiment": "cost", "measure": "cost", "step": step, **COST})
    lines += statistics(as_results(lines))
    return [{**line, "versions": {"monai": "1.6.1", "torch": "2.13.0"}, "commit": "0123abc+"} for line in lines]


def write_lines(folder: Path, lines: list[dict]) -> Path:
    """Writes the results of a study, and a config.yaml with a path that no page may show; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"cohort_a": "/home/someone/sub-Miller/cohort.json"}))
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def write_study(folder: Path) -> Path:
    """Writes the folder of a study with everything in it, and returns it."""
    write_lines(folder, made_up_lines())
    (folder / "pairs").mkdir()
    rng = np.random.default_rng(0)
    for name in ("real", "DCGAN", "WGAN-GP", "WGAN-GP-SN", "procedural", "others"):
        with StackWriter(folder / "pairs" / f"{name}.npy", 9, {"kind": "real", "label_threshold": 0.25}) as stack:
            stack.append(np.stack([rng.uniform(-1, 1, (9, 96, 96)), rng.choice([-1, 1], (9, 96, 96))], axis=1))
    volume = rng.random((8, 8, 4))
    save_error_map(folder / "figures/errors.png", volume, prediction=volume > 0.7, truth=volume > 0.8)
    return folder


def matching(lines: list[dict], **wanted) -> list[dict]:
    """The lines that have these values."""
    return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]


def of_patients(lines: list[dict], score: str = "dsc", **wanted) -> np.ndarray:
    """A score of each patient, averaged over seeds and draws by hand: (patients,)."""
    found: dict[str, list[float]] = {}
    for line in matching(lines, **wanted):
        found.setdefault(line["patient"], []).append(line[score])
    return np.array([np.mean(scores) for _, scores in sorted(found.items())])
