"""The steps of a study that are not verbs of `tofgan`: choices on validation patients, Fig. 4, and all results.

Every step runs in the folder of the study and reads the settings from config.yaml in this folder. A point of the grid
is one combination of values of the options that are searched (setting `grid`).
"""

from __future__ import annotations

import csv
import json
import shlex
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from tofgan_monai.files import write_json_lines, write_whole, written_whole
from tofgan_monai.segmentation.results import Line, read_results
from tofgan_monai.study import plan, provenance
from tofgan_monai.study.data import BASELINES, as_results
from tofgan_monai.study.plan import Settings
from tofgan_monai.study.statistics import statistics
from tofgan_monai.volumes.splits import SPLITS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def choose_rates(name: str, output: Path) -> None:
    """Write the options of the grid point with the highest mean validation DSC for one training set."""
    points = plan.grid_points(_settings())
    _write(output, points[_best({point: _tuned_dsc(name, point) for point in points})])


@app.command()
def choose_augmentation(name: str, output: Path) -> None:
    """Write the chosen options of the grid and the augmentation with the highest mean validation DSC."""
    settings = _settings()
    first, *others = settings["augmentations"]
    rates = Path(f"tuning/{name}/rates.txt").read_text(encoding="utf-8").strip()
    point = next(point for point, options in plan.grid_points(settings).items() if options == rates)
    scores = {first: _tuned_dsc(name, point), **{overlay: _tuned_dsc(name, overlay) for overlay in others}}
    _write(output, f"{rates} --overlay {shlex.quote(_best(scores))}")


@app.command()
def choose_gan(output: Path) -> None:
    """Write the name of the GAN whose U-Nets have the highest mean validation DSC over all seeds."""
    settings = _settings()
    _write(output, _best({gan: _trained_dsc(gan, settings["seeds"]) for gan in settings["gans"]}))


@app.command()
def score_threshold(site: str, output: Path) -> None:
    """Score two single thresholds on test patients: the best for validation patients, the best for test patients."""
    from tofgan_monai.segmentation import evaluation

    with written_whole(output) as temporary:
        for chosen_on, model in BASELINES.items():
            evaluation.score_threshold(
                f"prepared/{site}", output=temporary, model=model, cohort=site, chosen_on=chosen_on
            )
        temporary.with_suffix(".csv").unlink()


@app.command()
def draw_errors(
    dataset_dir: Path, output: Path, scratch: Path, pretrained: Path, width: Annotated[int, typer.Option()] = 32
) -> None:
    """Draw Fig. 4: error maps of two networks on the first test patient of a prepared cohort."""
    from tofgan_monai.study.errors_figure import draw

    draw(dataset_dir, {"from scratch": scratch, "pre-trained": pretrained}, output, width=width)


@app.command()
def collect(output: Path) -> None:
    """Write all results and their statistics into one file, with the versions and the commit on every line."""
    lines = list(results(_settings()))
    start = time.perf_counter()
    summary = list(statistics(as_results(lines)))
    cost = {"wall_s": round((time.perf_counter() - start) / max(len(summary), 1), 3)}  # an equal part for each line
    made_by = provenance.made_by(Path())
    write_json_lines(output, [{**line, **made_by} for line in [*lines, *({**line, **cost} for line in summary)]])


def results(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yields the lines of results.jsonl in this order: settings, choices, Table 1, Table 2, Fig. 3, losses, costs."""
    simulated = [site for site in "AB" if not settings[f"cohort_{site.lower()}"]]
    n = {f"n_{site}": [plan.n_patients(settings, site, split) for split in SPLITS] for site in "AB"}
    yield {
        "experiment": "settings",
        "measure": "settings",
        "settings": plan.shareable(settings),
        "simulated": simulated,
        "n_real": plan.n_real(settings),
        "n_synthetic": plan.n_synthetic(settings),
        **n,
    }
    yield from _choices(settings)
    for line in _json_lines(Path("distances.jsonl")):
        yield {"experiment": "table1", "model": line["stack"], **line, "seed": 0, "wall_s": _cost("frechet")["wall_s"]}
    yield from _table_2(settings)
    yield from _transfers(settings)
    yield from _losses(settings)
    for path in sorted(Path("benchmarks").rglob("*.tsv")):
        step = path.relative_to("benchmarks").with_suffix("").as_posix()
        yield {"experiment": "cost", "measure": "cost", "step": step, **_cost(*step.split("/", 1))}


def _choices(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yields the lines about choices on validation patients, each with the validation DSC of all alternatives."""
    n = plan.n_patients(settings, "A", "validation")
    tuned = plan.training_sets(settings) if settings["tune"] == "each" else ["real"]
    for name in tuned:
        jobs = dict.fromkeys(plan.grid_points(settings), "tune_rates")
        jobs |= dict.fromkeys(settings["augmentations"][1:], "tune_augmentation")
        scores = {at: round(_tuned_dsc(name, at), 5) for at in jobs}
        wall_s = round(sum(_cost(rule, f"{name}_{at}")["wall_s"] for at, rule in jobs.items()), 1)
        chosen = Path(f"tuning/{name}/chosen.txt").read_text(encoding="utf-8").strip()
        described = {"model": name, "seed": 0, "n": n, "wall_s": wall_s}
        yield {"experiment": "tuning", "measure": "validation DSC", **described, "tried": scores, "chosen": chosen}
    seeds = settings["seeds"]
    scores = {gan: round(_trained_dsc(gan, seeds), 5) for gan in settings["gans"]}
    wall_s = round(sum(_cost("train_unet", f"{gan}_{seed}")["wall_s"] for gan in scores for seed in seeds), 1)
    best = Path("best_gan.txt").read_text(encoding="utf-8").strip()
    described = {"seeds": seeds, "n": n, "wall_s": wall_s}
    yield {"experiment": "best GAN", "measure": "validation DSC", **described, "tried": scores, "chosen": best}


def _table_2(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yields the lines of Table 2: scores of each patient by the U-Nets and by the single thresholds."""
    for name, seed in product(plan.training_sets(settings), settings["seeds"]):
        for rule, file in (("train_unet", "validation"), ("score_unet", "test_A"), ("score_unet", "test_B")):
            cost = _cost(rule, f"{name}_{seed}")
            for line in read_results(f"unets/{name}/{seed}/{file}.jsonl"):
                yield {"experiment": "table2", **line, "seed": seed, **cost}
    for site in "AB":
        for line in read_results(f"threshold/test_{site}.jsonl"):
            yield {"experiment": "threshold", **line, **_cost("score_threshold", site)}


def _transfers(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yields the lines of Fig. 3: scores of site B's patients by U-Nets trained on a few patients of site B."""
    for arm, draw, seed in product(plan.arms(settings), plan.draws(settings), settings["seeds"]):
        k, which = map(int, draw.split("_"))
        for rule, split in (("transfer", "validation"), ("score_transfer", "test")):
            cost = _cost(rule, f"{arm}_{draw}_{seed}")
            for line in read_results(f"transfer/{arm}/{draw}/{seed}/{split}.jsonl"):
                described = {"arm": arm, "n_training": k, "draw": which, "seed": seed}
                yield {"experiment": "transfer", **line, **described, **cost}


def _losses(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yields lines with the losses by epoch, one line for each trained GAN and for one U-Net of each training set."""
    folders = {gan: Path("gans", gan) for gan in settings["gans"] if settings["retrain"]}
    seed = settings["seeds"][0]
    folders |= {f"U-Net on {name}": Path("unets", name, str(seed)) for name in plan.training_sets(settings)}
    for name, folder in folders.items():
        rows = _json_lines(folder / "losses.jsonl")
        rows = [{k: v for k, v in row.items() if k not in ("seconds", "processor_seconds")} for row in rows]
        yield {"experiment": "losses", "measure": "losses", "model": name, "seed": seed, "epochs": rows}


def _tuned_dsc(name: str, at: str) -> float:
    """Returns the mean validation DSC of the U-Net trained on the set `name`, at a grid point or with an augmentation.

    `at` is the name of the grid point or of the augmentation.
    """
    return _mean_dsc(f"tuning/{name}/{at}")


def _trained_dsc(name: str, seeds: list[int]) -> float:
    """Returns the mean validation DSC of the U-Nets trained on the set `name` with these seeds."""
    return _mean_dsc(*(f"unets/{name}/{seed}" for seed in seeds))


def _mean_dsc(*folders: str) -> float:
    """Returns the mean DSC over all lines of the validation.jsonl in these folders."""
    lines = [line for folder in folders for line in read_results(f"{folder}/validation.jsonl")]
    return float(np.mean([line["dsc"] for line in lines]))


def _best(scores: dict[str, float]) -> str:
    """Prints all scores and returns the name with the highest score; if several are equal, the first of them."""
    for name, score in scores.items():
        typer.echo(f"{name}: validation DSC {score:.4f}")
    return max(scores, key=lambda name: scores[name])  # max returns the first of equal scores


def _write(output: Path, text: str) -> None:
    """Writes a text and a line break to a file."""
    write_whole(output, text + "\n")


def _settings() -> Settings:
    """Reads config.yaml in the current folder."""
    return yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))


def _json_lines(path: Path) -> list[Line]:
    """Reads a file with one JSON object on each line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _cost(rule: str, job: str | None = None) -> dict[str, Any]:
    """Reads the wall time in seconds and the peak memory in MB of a step from Snakemake's benchmark file.

    Args:
        rule: name of the rule.
        job: name of the benchmark file without .tsv; None for a rule with one job only.
    """
    path = Path("benchmarks", *([rule, f"{job}.tsv"] if job else [f"{rule}.tsv"]))
    with open(path, encoding="utf-8") as stream:
        row = next(csv.DictReader(stream, delimiter="\t"))
    peak = row.get("max_rss", "")
    is_number = peak not in ("", "-", "NA")
    return {"wall_s": round(float(row["s"]), 1), "peak_mb": round(float(peak)) if is_number else None}


if __name__ == "__main__":
    app()
