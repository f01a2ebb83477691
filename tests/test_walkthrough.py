"""The commands of the page from clinic to clinic, as they stand there, on volumes as small as possible."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.helpers.patients import write_patient
from tofgan_monai import open_stack
from tofgan_monai.audit.verdict import RULE
from tofgan_monai.cli import app
from tofgan_monai.label_app.working_copy import place_app
from tofgan_monai.segmentation.results import read_results
from tofgan_monai.volumes.cohort import write_cohort

ROOT = Path(__file__).parents[1]
SHORT = {
    "train": ["--max_epochs", "1", "--n_vessel", "8", "--n_random", "8"],
    "a_run": ["--max_epochs", "2"],  # the canary's stack is longer, but its training may have no more steps
    "canary": ["--times", "2"],
    "audit": ["-n", "64"],
    "extract": ["--n-vessel", "14", "--n-random", "14"],
    "generate": ["-n", "24"],  # the last value counts
    "pack": ["--despite", "a test of few patients"],  # too few for an audit to pass
}


def commands() -> list[list[str]]:
    """The words of each command of the page."""
    lines = (ROOT / "docs/how-to/clinic-to-clinic.md").read_text("utf-8").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("    ")]


@pytest.fixture
def clinics(tmp_path, monkeypatch):
    """A working directory with the prepared patients of two clinics."""
    for clinic, seed, n in (("A", 0, 6), ("B", 10, 4)):  # an audit needs two patients in each group
        folder = tmp_path / f"PATIENTS_{clinic}"
        items = [write_patient(folder / f"sub-{clinic}{i}", "RAS", seed + i) for i in range(n)]
        write_cohort(folder, {"training": items[:2], "validation": items[2 : n // 2 + 1], "test": items[n // 2 + 1 :]})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.whole
def test_page_leads_from_one_clinic_to_the_other(clinics):
    told = ""
    for program, *words in commands():
        if program.startswith("TOFGAN_LABEL_BUNDLE="):  # scripts/monailabel.sh --test tests the server
            assert place_app(clinics / "app", program.split("=")[1]).is_dir() and "scripts/monailabel.sh" in words
            continue
        if program == "cp":
            shutil.copytree(ROOT / words[1], clinics / words[2])
            continue
        assert program == "tofgan"
        ran = CliRunner().invoke(app, [*words, *SHORT.get(words[0], []), *SHORT.get(words[-1], [])])
        assert ran.exit_code == 0, (words, ran.output, ran.exception)
        told += ran.output
    assert "passed" in told and "real" in told and "overridden by a person ('a test of few patients')" in told
    assert f"for the generator by rule {RULE}; 2 members, 2 non-members, 2 references" in told
    pairs, manifest = open_stack("synthetic.npy")
    assert len(pairs) == 24 and manifest["kind"] == "synthetic"
    (entry,) = json.loads((clinics / "b_unet/docs/data_card.json").read_text("utf-8"))["weights"].values()
    assert [seen["kind"] for seen in entry["seen"]] == ["real", "real"]  # of its own patient and of b_start
    (line,) = read_results("b_scores/results.jsonl")
    assert 0 <= line["dsc"] <= 1
