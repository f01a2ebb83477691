"""The choices of a study, on made-up scores of validation patients."""

from __future__ import annotations

import pytest
import yaml
from typer.testing import CliRunner

from tofgan_monai.metrics.segmentation.overlap import Overlap
from tofgan_monai.segmentation.results import result_lines, write_results
from tofgan_monai.study.settings import read_settings
from tofgan_monai.study.steps import app


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A study's folder, and where its steps run."""
    settings = {**read_settings("smoke"), "grid": {"lr": [0.01, 0.001], "dropout": [0.0, 0.1]}, "seeds": [0, 1]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def score(path, *dsc):
    lines = result_lines([Overlap(value, 1.0, "") for value in dsc], model="m", cohort="A", split="validation")
    write_results(path, lines)


def step(*words):
    ran = CliRunner().invoke(app, [str(word) for word in words])
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_rates_are_those_of_the_highest_mean(folder):
    scores = {"lr0.01_dropout0.0": (0.9, 0.1), "lr0.01_dropout0.1": (0.6, 0.5), "lr0.001_dropout0.0": (0.5, 0.5)}
    for point, dsc in {**scores, "lr0.001_dropout0.1": (0.1, 0.1)}.items():
        score(folder / "tuning" / "real" / point / "validation.jsonl", *dsc)
    shown = step("choose-rates", "real", "rates.txt")
    assert (folder / "rates.txt").read_text("utf-8") == "--lr 0.01 --dropout 0.1\n"
    assert "lr0.01_dropout0.1: validation DSC 0.5500" in shown


@pytest.mark.parametrize(("classical", "chosen"), [(0.6, "classical"), (0.4, "plain"), (0.5, "plain")])
def test_augmentation_is_taken_where_it_helps(folder, classical, chosen):
    tuning = folder / "tuning" / "real"
    score(tuning / "lr0.01_dropout0.0" / "validation.jsonl", 0.9)  # another point than the chosen one
    score(tuning / "lr0.001_dropout0.0" / "validation.jsonl", 0.5)
    score(tuning / "classical" / "validation.jsonl", classical)
    (tuning / "rates.txt").write_text("--lr 0.001 --dropout 0.0\n", "utf-8")
    step("choose-augmentation", "real", "chosen.txt")
    assert (folder / "chosen.txt").read_text("utf-8") == f"--lr 0.001 --dropout 0.0 --overlay {chosen}\n"


def test_gan_is_that_of_the_highest_mean_over_seeds(folder):
    for gan, of_seeds in {"DCGAN": (0.7, 0.1), "WGAN-GP": (0.5, 0.5), "WGAN-GP-SN": (0.2, 0.6)}.items():
        for seed, dsc in enumerate(of_seeds):
            score(folder / "unets" / gan / str(seed) / "validation.jsonl", dsc)
    step("choose-gan", "best_gan.txt")
    assert (folder / "best_gan.txt").read_text("utf-8") == "WGAN-GP\n"
