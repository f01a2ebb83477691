"""What lies between the verbs of a study: choices on validation patients, one picture, and all results in one file.

Every step runs in the study's folder, whose settings are in config.yaml.
"""

from __future__ import annotations

import csv
import json
import platform
import shlex
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from tofgan_monai.files import written_whole
from tofgan_monai.results import Line, read_results
from tofgan_monai.study import settings as study

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
BASELINES = {"validation": "Best single threshold of the validation patients", None: "Best single threshold"}


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
    from tofgan_monai import evaluation

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
    """All results of the study, each with its seed, n, versions, commit and wall time."""
    made_by = {"versions": _versions(), "commit": _commit()}
    with written_whole(output) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        for line in results(_settings()):
            stream.write(json.dumps({**line, **made_by}) + "\n")


def results(settings: study.Settings) -> Iterator[dict[str, Any]]:
    """The lines of results.jsonl in a fixed order: settings, choices, Table 1, Table 2, Fig. 3, costs."""
    seeds, gans = settings["seeds"], settings["gans"]
    shown = {
        key: value for key, value in settings.items() if not key.startswith("cohort_") and key != "inception_weights"
    }
    simulated = [site for site in "AB" if not settings[f"cohort_{site.lower()}"]]
    n = {
        f"n_{site}": [study.n_patients(settings, site, split) for split in ("training", "validation", "test")]
        for site in "AB"
    }
    yield {"experiment": "settings", "measure": "settings", "settings": shown, "simulated": simulated, **n}
    yield from _choices(settings)

    wall_s = _cost("frechet").get("wall_s")
    for line in _json_lines(Path("distances.jsonl")):
        yield {"experiment": "table1", "model": line["stack"], **line, "wall_s": wall_s}

    for name in study.training_sets(settings):
        for seed in seeds:
            for rule, file in (("train_unet", "validation"), ("score_unet", "test_A"), ("score_unet", "test_B")):
                cost = _cost(rule, f"{name}_{seed}")
                for line in read_results(f"unets/{name}/{seed}/{file}.jsonl"):
                    yield {"experiment": "table2", **line, "seed": seed, **cost}
    for site in "AB":
        for line in read_results(f"threshold/test_{site}.jsonl"):
            yield {"experiment": "threshold", **line, **_cost("score_threshold", site)}

    for arm in study.arms(settings):
        for draw in study.draws(settings):
            k, which = map(int, draw.split("_"))
            for seed in seeds:
                for split in ("validation", "test"):
                    for line in read_results(f"transfer/{arm}/{draw}/{seed}/{split}.jsonl"):
                        described = {"arm": arm, "n_training": k, "draw": which, "seed": seed}
                        yield {
                            "experiment": "transfer",
                            **line,
                            **described,
                            **_cost("transfer", f"{arm}_{draw}_{seed}"),
                        }
    yield from _losses(gans, seeds, settings)
    for path in sorted(Path("benchmarks").rglob("*.tsv")):
        rule = path.relative_to("benchmarks").with_suffix("").as_posix()
        yield {"experiment": "cost", "measure": "cost", "step": rule, **_cost(*rule.split("/", 1))}


def _choices(settings: study.Settings) -> Iterator[dict[str, Any]]:
    tuned = study.training_sets(settings) if settings["tune"] == "each" else ["real"]
    for name in tuned:
        folders = [*study.grid_points(settings), *settings["augmentations"][1:]]
        scores = {folder: round(mean_dsc([f"tuning/{name}/{folder}/validation.jsonl"]), 5) for folder in folders}
        chosen = Path(f"tuning/{name}/chosen.txt").read_text(encoding="utf-8").strip()
        yield {"experiment": "tuning", "measure": "validation DSC", "model": name, "tried": scores, "chosen": chosen}
    scores = {gan: round(mean_dsc(_validations(gan, settings["seeds"])), 5) for gan in settings["gans"]}
    best = Path("best_gan.txt").read_text(encoding="utf-8").strip()
    yield {"experiment": "best GAN", "measure": "validation DSC", "tried": scores, "chosen": best}


def _losses(gans: dict[str, str], seeds: list[int], settings: study.Settings) -> Iterator[dict[str, Any]]:
    """The courses of the trainings: of the GANs, and of one U-Net a set."""
    folders = {gan: Path("gans", gan) for gan in gans if settings["retrain"]}
    folders |= {f"U-Net on {name}": Path("unets", name, str(seeds[0])) for name in study.training_sets(settings)}
    for name, folder in folders.items():
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in _json_lines(folder / "losses.jsonl")]
        yield {"experiment": "losses", "measure": "losses", "model": name, "epochs": rows}


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


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("monai", "torch", "numpy", "pytorch-ignite", "snakemake")}
    return {"python": platform.python_version(), **packages}


def _commit() -> str:
    """The package's commit, with a + where files have changed since; its version where it is no checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return version("tofgan-monai")
    git = ["git", "-C", str(here)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    changed = subprocess.run([*git, "status", "--porcelain", "tofgan_monai", "bundles"], capture_output=True, text=True)
    return commit.strip() + ("+" if changed.stdout.strip() else "")


if __name__ == "__main__":
    app()
