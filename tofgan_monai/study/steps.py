"""What lies between the verbs of a study: choices on validation patients, one picture, and all results in one file.

Every step runs in the study's folder, whose settings are in config.yaml.
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

from tofgan_monai.files import written_whole
from tofgan_monai.segmentation.results import Line, read_results
from tofgan_monai.study import plan as study
from tofgan_monai.study import provenance
from tofgan_monai.study.data import BASELINES, as_results
from tofgan_monai.study.statistics import statistics
from tofgan_monai.volumes.splits import SPLITS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def choose_rates(name: str, output: Path) -> None:
    """The point of the grid with the highest mean validation DSC, as options of `tofgan train`."""
    points = study.grid_points(_settings())
    scores = {point: mean_dsc([f"tuning/{name}/{point}/validation.jsonl"]) for point in points}
    best = _best(scores)
    _write(output, points[best])


@app.command()
def choose_augmentation(name: str, output: Path) -> None:
    """The augmentation with the highest mean validation DSC at that point; the first, unless another is better."""
    settings = _settings()
    points, (first, *others) = study.grid_points(settings), settings["augmentations"]
    rates = Path(f"tuning/{name}/rates.txt").read_text(encoding="utf-8").strip()
    at = next(point for point, options in points.items() if options == rates)
    folders = {first: at, **{other: other for other in others}}
    scores = {overlay: mean_dsc([f"tuning/{name}/{at}/validation.jsonl"]) for overlay, at in folders.items()}
    _write(output, f"{rates} --overlay {shlex.quote(_best(scores))}")


@app.command()
def choose_gan(output: Path) -> None:
    """The GAN whose pairs alone train the U-Nets with the highest mean validation DSC, over all seeds."""
    settings = _settings()
    _write(output, _best({gan: mean_dsc(_validations(gan, settings["seeds"])) for gan in settings["gans"]}))


@app.command()
def score_threshold(site: str, output: Path) -> None:
    """The best single threshold on test patients, chosen on the validation patients, and on the test patients too."""
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
    """Fig. 4: error maps of the first test patient, two networks in two windows."""
    from tofgan_monai.study.errors_figure import draw

    draw(dataset_dir, {"from scratch": scratch, "pre-trained": pretrained}, output, width=width)


@app.command()
def collect(output: Path) -> None:
    """All results of the study, each with its seed, n, versions, commit and wall time, and what they say together."""
    lines = list(results(_settings()))
    start = time.perf_counter()
    said = list(statistics(as_results(lines)))
    cost = {"wall_s": round((time.perf_counter() - start) / max(len(said), 1), 3)}  # all take about the same
    with written_whole(output) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        made_by = provenance.made_by(Path())
        for line in [*lines, *({**line, **cost} for line in said)]:
            stream.write(json.dumps({**line, **made_by}) + "\n")


def results(settings: study.Settings) -> Iterator[dict[str, Any]]:
    """The lines of results.jsonl in a fixed order: settings, choices, Table 1, Table 2, Fig. 3, courses, costs."""
    simulated = [site for site in "AB" if not settings[f"cohort_{site.lower()}"]]
    n = {f"n_{site}": [study.n_patients(settings, site, split) for split in SPLITS] for site in "AB"}
    yield {
        "experiment": "settings",
        "measure": "settings",
        "settings": study.shareable(settings),
        "simulated": simulated,
        "n_real": study.n_real(settings),
        "n_synthetic": study.n_synthetic(settings),
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


def _choices(settings: study.Settings) -> Iterator[dict[str, Any]]:
    """What was tried on the validation patients, and what was chosen."""
    n = study.n_patients(settings, "A", "validation")
    tuned = study.training_sets(settings) if settings["tune"] == "each" else ["real"]
    for name in tuned:
        jobs = {point: "tune_rates" for point in study.grid_points(settings)}
        jobs |= {overlay: "tune_augmentation" for overlay in settings["augmentations"][1:]}
        scores = {at: round(mean_dsc([f"tuning/{name}/{at}/validation.jsonl"]), 5) for at in jobs}
        wall_s = round(sum(_cost(rule, f"{name}_{at}")["wall_s"] for at, rule in jobs.items()), 1)
        chosen = Path(f"tuning/{name}/chosen.txt").read_text(encoding="utf-8").strip()
        described = {"model": name, "seed": 0, "n": n, "wall_s": wall_s}
        yield {"experiment": "tuning", "measure": "validation DSC", **described, "tried": scores, "chosen": chosen}
    seeds = settings["seeds"]
    scores = {gan: round(mean_dsc(_validations(gan, seeds)), 5) for gan in settings["gans"]}
    wall_s = round(sum(_cost("train_unet", f"{gan}_{seed}")["wall_s"] for gan in scores for seed in seeds), 1)
    best = Path("best_gan.txt").read_text(encoding="utf-8").strip()
    described = {"seeds": seeds, "n": n, "wall_s": wall_s}
    yield {"experiment": "best GAN", "measure": "validation DSC", **described, "tried": scores, "chosen": best}


def _table_2(settings: study.Settings) -> Iterator[dict[str, Any]]:
    for name, seed in product(study.training_sets(settings), settings["seeds"]):
        for rule, file in (("train_unet", "validation"), ("score_unet", "test_A"), ("score_unet", "test_B")):
            cost = _cost(rule, f"{name}_{seed}")
            for line in read_results(f"unets/{name}/{seed}/{file}.jsonl"):
                yield {"experiment": "table2", **line, "seed": seed, **cost}
    for site in "AB":
        for line in read_results(f"threshold/test_{site}.jsonl"):
            yield {"experiment": "threshold", **line, **_cost("score_threshold", site)}


def _transfers(settings: study.Settings) -> Iterator[dict[str, Any]]:
    for arm, draw, seed in product(study.arms(settings), study.draws(settings), settings["seeds"]):
        k, which = map(int, draw.split("_"))
        for rule, split in (("transfer", "validation"), ("score_transfer", "test")):
            cost = _cost(rule, f"{arm}_{draw}_{seed}")
            for line in read_results(f"transfer/{arm}/{draw}/{seed}/{split}.jsonl"):
                described = {"arm": arm, "n_training": k, "draw": which, "seed": seed}
                yield {"experiment": "transfer", **line, **described, **cost}


def _losses(settings: study.Settings) -> Iterator[dict[str, Any]]:
    """The courses of the trainings: of the GANs, and of one U-Net a set."""
    folders = {gan: Path("gans", gan) for gan in settings["gans"] if settings["retrain"]}
    seed = settings["seeds"][0]
    folders |= {f"U-Net on {name}": Path("unets", name, str(seed)) for name in study.training_sets(settings)}
    for name, folder in folders.items():
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in _json_lines(folder / "losses.jsonl")]
        yield {"experiment": "losses", "measure": "losses", "model": name, "seed": seed, "epochs": rows}


def mean_dsc(paths: list[str]) -> float:
    """Mean DSC over the patients of several results.jsonl."""
    return float(np.mean([line["dsc"] for path in paths for line in read_results(path)]))


def _validations(name: str, seeds: list[int]) -> list[str]:
    return [f"unets/{name}/{seed}/validation.jsonl" for seed in seeds]


def _best(scores: dict[str, float]) -> str:
    for name, score in scores.items():
        typer.echo(f"{name}: validation DSC {score:.4f}")
    return max(scores, key=lambda name: scores[name])  # of equals, the first


def _write(output: Path, text: str) -> None:
    with written_whole(output) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _settings() -> study.Settings:
    return yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))


def _json_lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _cost(rule: str, job: str | None = None) -> dict[str, Any]:
    """Wall time and peak memory of a step, as Snakemake measured them."""
    path = Path("benchmarks", *([rule, f"{job}.tsv"] if job else [f"{rule}.tsv"]))
    with open(path, encoding="utf-8") as stream:
        row = next(csv.DictReader(stream, delimiter="\t"))
    peak = row.get("max_rss", "")
    is_number = peak not in ("", "-", "NA")
    return {"wall_s": round(float(row["s"]), 1), "peak_mb": round(float(peak)) if is_number else None}


if __name__ == "__main__":
    app()
