"""The steps of a synthesis that are not verbs of `tofgan`: the bundle of the generator, and what the report shows.

Every step runs in the output folder of the synthesis and reads the settings from config.yaml in this folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.files import write_json, write_json_lines
from tofgan_monai.segmentation.results import Line, read_results
from tofgan_monai.study import plan
from tofgan_monai.study.plan import Settings
from tofgan_monai.study.synthesis.settings import SYNTHETIC
from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.kinds import kind_of
from tofgan_monai.volumes.splits import SPLITS

MODELS = {"real": "U-Net on real pairs", SYNTHETIC: "U-Net on synthetic pairs"}
STACKS = {"real": "Real pairs of the training patients", SYNTHETIC: "Synthetic pairs"}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def copy_bundle(folder: Path) -> None:
    """Copy the GAN's bundle without its weights; the width in its configurations is that of the trained generator."""
    settings = _settings()
    source = bundle_path(settings["gan"])
    ignored = shutil.ignore_patterns("models", "data_card.json", "audit.json", ".*")
    shutil.copytree(source, folder, ignore=ignored, dirs_exist_ok=True)
    for name in ("train.yaml", "inference.yaml"):
        path = folder / "configs" / name
        text = re.sub(r"(?m)^width: \S+", f"width: {settings['gan_width']}", path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")


@app.command()
def gather(folder: Path) -> None:
    """Write what `tofgan report` reads into a folder: scores, losses, texts, links to the stacks and the error maps."""
    settings = _settings()
    write_json_lines(folder / "results.jsonl", _scores())
    trained = {"GAN": Path("gans", SYNTHETIC), **{MODELS[name]: Path("unets", name, "0") for name in MODELS}}
    for name, run in trained.items():
        (folder / "train" / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(run / "losses.jsonl", folder / "train" / name / "losses.jsonl")
    (folder / "pairs").mkdir(exist_ok=True)
    for path in ("error_maps", *(f"pairs/{name}{suffix}" for name in STACKS for suffix in (".npy", ".json"))):
        link = folder / path
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(path, link.parent))
    patients = ("test-00", "test-01")
    maps = {f"{name}_A_{patient}": f"{model}, {patient}" for patient in patients for name, model in MODELS.items()}
    paragraphs = list(_paragraphs(settings))
    about = {"title": settings["title"], "paragraphs": paragraphs, "captions": STACKS | maps}
    write_json(folder / "about.json", about)


def _scores() -> Iterator[Line]:
    """Yields the lines about the test patients, with the names of the models that the report shows."""
    for name, model in MODELS.items():
        yield from ({**line, "model": model, "cohort": ""} for line in read_results(f"unets/{name}/0/test_A.jsonl"))
    yield from ({**line, "cohort": ""} for line in read_results("threshold/test_A.jsonl"))


def _paragraphs(settings: Settings) -> Iterator[str]:
    """Yields the first paragraphs of the report."""
    n_training, n_validation, n_test = (plan.n_patients(settings, "A", split) for split in SPLITS)
    kinds = {kind_of(item) for item in read_cohort(settings["cohort_a"], "all")}
    yield (
        f"The cohort has {n_training} training, {n_validation} validation and {n_test} test patients"
        f"{', all of them simulated' if kinds == {'simulated'} else ''}. The page shows patches and slices of "
        "patients: it stays where the scans stay."
    )
    yield (
        f"The generator is {os.path.basename(settings['gan'])} of width {settings['gan_width']}, trained for "
        f"{settings['gan_epochs']} epochs on {plan.n_real(settings)} pairs of the training patients. The validation "
        "patients decide the epoch and, of a GAN, the threshold of the labels. It made "
        f"{plan.n_synthetic(settings)} pairs."
    )
    yield (
        f"One half U-Net of width {settings['unet_width']} was trained on the synthetic pairs, another with the same "
        "settings on the real pairs. Both are scored on whole volumes of the test patients."
    )
    yield audit_line(Path(), settings)


def audit_line(folder: Path, settings: Settings) -> str:
    """Returns a sentence with the audit's verdict on the pairs, or with the numbers of patients that an audit needs.

    Args:
        folder: output folder of the synthesis.
        settings: its settings, completed.
    """
    if verdict := read_verdict(folder):
        return f"Audit of the pairs: {verdict['outcome']}; audit/audit.html says why."
    needed, found = (
        "{} training, {} validation and {} test patients".format(*numbers)
        for numbers in (settings["audit_patients"], [plan.n_patients(settings, "A", split) for split in SPLITS])
    )
    return f"The audit was left out: to pass it needs {needed} or more, and the cohort has {found}."


def read_verdict(folder: Path) -> dict[str, Any] | None:
    """Returns the verdict of the audit in an output folder on a release of the pairs; None if there is no audit."""
    path = folder / "audit" / "audit.json"
    return json.loads(path.read_text(encoding="utf-8"))["verdicts"]["data"] if path.exists() else None


def _settings() -> Settings:
    """Reads config.yaml in the current folder."""
    return yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))


if __name__ == "__main__":
    app()
