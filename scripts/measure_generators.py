"""Measures how good generators are: the bench by which engines (GAN bundles), recipes and weights are compared.

    OMP_NUM_THREADS=1 python scripts/measure_generators.py WORK [--engines BUNDLE ...] [--columns NAME ...] [--train]
    python scripts/draw_generators.py WORK/results.jsonl CURVES.svg       # prints a table and draws the curves

WORK is a folder for everything. Each engine is measured with its shipped weights and with each file of weights
WORK/snapshots/BUNDLE/HOURS.pt, where HOURS is the training's core-hours. `--train` makes these files: it trains each
engine once and keeps the averaged generator after the core-hours of `--hours`. A core-hour is an hour of processor time
of one thread in the training's steps. Engines are by default all bundles of the package that make pairs.

results.jsonl has one line for each set of pairs: an engine's, or one to compare with (real pairs, procedural pairs of
the public simulation C, and no pairs at all: "scratch"). A line grows by columns, which are measured one after the
other for all lines, in the order of COLUMNS; what a line has is not measured again. All patients are simulated; small
heads, U-Nets and numbers of pairs are those of the study's preset "laptop", with heads of other seeds, so that the
study's patients stay unseen. The engines' patients are those of the shipped generators; with `--site B` they are heads
of site B, as are the reference and the floor, and a shipped generator is one of another site.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from generator_columns import COLUMNS, COMPARED, SHIPPED, Bench, Candidate, run

from tofgan_monai import InputError
from tofgan_monai.bundle_runs.paths import bundle_names, bundle_path
from tofgan_monai.bundle_runs.runs import inference_config
from tofgan_monai.files import held, require_writable, write_json_lines
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.weights import save_weights

HOURS = (0.25, 1.0, 4.0)


def pair_bundles() -> list[str]:
    """Names of the package's bundles that make pairs: those whose inference.yaml has a threshold for labels."""
    return [name for name in bundle_names() if "label_threshold" in inference_config(bundle_path(name))]


def candidates(work: Path, engines: Sequence[str]) -> Iterator[Candidate]:
    """Yields the engines' shipped weights and snapshots, then the sets to compare with."""
    for bundle in map(bundle_path, engines):
        shipped = bundle / "models" / "model.pt"
        snapshots = sorted((work / "snapshots" / bundle.name).glob("*.pt"))
        if not shipped.exists() and not snapshots:
            remedy = f"train it by --train, or put weights into {work / 'snapshots' / bundle.name}"
            raise InputError(f"{bundle}: the bundle has no models/model.pt and no snapshots; {remedy}")
        found = {**({SHIPPED: shipped} if shipped.exists() else {}), **{path.stem: path for path in snapshots}}
        yield from (Candidate(bundle.name, name, path, bundle, tuple(COLUMNS)) for name, path in found.items())
    yield from (Candidate(name, "", None, None, columns) for name, columns in COMPARED.items())


def train(bench: Bench, engine: str, hours: Sequence[float]) -> None:
    """Trains an engine and keeps its averaged generator after each number of core-hours, at the end of an epoch.

    Raises:
        InputError: a snapshot is missing, and the training is already further.
    """
    bundle, folder = bundle_path(engine), bench.work / "runs" / bundle_path(engine).name
    for budget in sorted(hours):
        snapshot = bench.work / "snapshots" / bundle.name / f"{budget:g}.pt"
        if snapshot.exists():
            continue
        n, spent = _trained(folder)
        if n and spent - budget > 2 * spent / n:
            raise InputError(
                f"{folder}: has trained for {spent:.2f} core-hours, but {snapshot} is missing; delete this folder"
            )
        while spent < budget:
            more = max(1, math.floor((budget - spent) / (spent / n))) if n else 1
            data = ["--pairs", bench.stack("training"), "--validation-pairs", bench.stack("validation")]
            data += ["--small", "true"] if "\nsmall:" in _training_config(bundle) else []  # as all heads of the bench
            run("train", bundle, "--output-dir", folder, *data, "--max_epochs", n + more)
            n, spent = _trained(folder)
        save_weights(read_checkpoint(folder)[1]["state"]["average"], snapshot)


def _training_config(bundle: Path) -> str:
    return (bundle / "configs" / "train.yaml").read_text("utf-8")


def _trained(folder: Path) -> tuple[int, float]:
    """Returns the number of epochs and the core-hours of a training so far."""
    path = folder / "losses.jsonl"
    lines = [json.loads(row) for row in path.read_text("utf-8").splitlines()] if path.exists() else []
    return len(lines), sum(line["processor_seconds"] for line in lines) / 3600


def measure(bench: Bench, engines: Sequence[str], columns: Sequence[str]) -> None:
    """Measures what results.jsonl lacks: each column for all candidates before the next column."""
    results = bench.work / "results.jsonl"
    rows = results.read_text("utf-8").splitlines() if results.exists() else []
    lines: list[dict[str, Any]] = [json.loads(row) for row in rows]
    todo = list(candidates(bench.work, engines))
    for column in (name for name in COLUMNS if name in columns):
        for candidate in (one for one in todo if column in one.columns):
            described = {**candidate.described, "kind": "simulated"}
            line = next((one for one in lines if described.items() <= one.items()), None)
            if line is None:
                lines.append(line := {**described, "processor_seconds": {}})
            if column in line:
                continue
            began = time.process_time()
            line[column] = COLUMNS[column](bench, candidate)
            line["processor_seconds"][column] = round(time.process_time() - began, 1)
            write_json_lines(results, map(_rounded, lines))
            print(f"{candidate.name}: {column}", flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(
    work: Path, engines: Sequence[str], columns: Sequence[str], hours: Sequence[float], draws: int, site: str
) -> None:
    """Trains (for `hours`), then measures the engines (all by default) in the columns."""
    require_writable(work)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    bench = Bench(work.resolve(), draws=draws, site=site)
    engines = engines or pair_bundles()
    with held(work, "bench"):
        for engine in engines if hours else ():
            if "validation_pairs" in _training_config(bundle_path(engine)):
                train(bench, engine, hours)
            else:
                print(f"{engine}: is not trained, as its training takes no validation pairs")
        measure(bench, engines, columns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--engines", nargs="+", default=[], metavar="BUNDLE", help="names or folders of GAN bundles")
    parser.add_argument("--columns", nargs="+", choices=list(COLUMNS), default=list(COLUMNS))
    parser.add_argument("--train", action="store_true", help="train the engines first")
    parser.add_argument("--hours", type=float, nargs="+", default=HOURS, help="core-hours of the snapshots")
    parser.add_argument("--draws", type=int, choices=range(1, 5), default=2, help="single patients of site B")
    parser.add_argument(
        "--site", choices=["A", "B"], default="A", help="B: quality and attacks of engines trained there"
    )
    given = parser.parse_args()
    if given.site == "B" and set(given.columns) - {"quality", "attacks"}:
        parser.error("--site B has the columns quality and attacks alone; give --columns quality attacks")
    main(given.work, given.engines, given.columns, given.hours if given.train else (), given.draws, given.site)
