"""A whole synthesis by the verb, on volumes as small as possible, with an audit; then stopped, changed and released."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from typer.testing import CliRunner

from tests.helpers.patients import write_patient
from tofgan_monai import open_stack, sha256
from tofgan_monai.cli import app
from tofgan_monai.segmentation.results import read_results
from tofgan_monai.volumes.cohort import check_cohort

pytestmark = pytest.mark.whole

TINY = """preset: quick
n_vessel: 14
n_random: 14
gan: tof_mra_wgan_gp
gan_train: --batch_size 168
gan_epochs: 10
gan_width: 2
n_synthetic: 64
unet_train: --batch_size 16 --pairs_per_epoch 16 --max_epochs 1
unet_width: 2
audit_patients: [2, 2, 2]
"""


def command(folder):
    words = ["synthesise", str(folder / "cohort.json"), str(folder / "out"), "--preset", str(folder / "tiny.yaml")]
    return [sys.executable, "-m", "tofgan_monai", *words, "--cores", "2"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a synthesis that was interrupted while the GAN trained and then went on, and its last output."""
    folder = tmp_path_factory.mktemp("clinic")
    (folder / "tiny.yaml").write_text(TINY, "utf-8")
    for index in range(10):
        write_patient(folder / "patients" / f"sub-{index}", "RAS", index)
    check_cohort(folder / "patients", folder / "cohort.json", counts=(6, 2, 2), n_vessel=14)
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a background process of a shell ignores SIGINT
    process = subprocess.Popen(
        command(folder), stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True, preexec_fn=heeded
    )
    while process.poll() is None and not (folder / "out" / "gans" / "synthetic" / "checkpoint.pt").exists():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=180)[1]
    assert process.returncode == 1 and "the synthesis was stopped; run the same command to continue it" in error
    again = subprocess.run(command(folder), capture_output=True, encoding="utf-8", check=False)
    assert again.returncode == 0, again.stderr
    return folder, again


def test_steps_are_shown_as_verbs(done):
    shown = [line for line in done[1].stderr.splitlines() if line.startswith("tofgan ")]
    assert {"train", "evaluate", "generate", "adopt", "audit", "report"} <= {line.split()[1] for line in shown}
    assert not any(" -m " in line or "&>" in line for line in shown)


def test_models_are_scored_on_the_test_patients(done):
    lines = read_results(done[0] / "out" / "report" / "results.jsonl")
    models = {(line["model"], line["split"], line["n"]) for line in lines}
    assert {("U-Net on real pairs", "test", 2), ("U-Net on synthetic pairs", "test", 2)} <= models
    assert ("Best single threshold of the validation patients", "test", 2) in models


def test_report_names_no_patient_and_no_path(done):
    folder, ran = done
    page = (folder / "out" / "report" / "report.html").read_text("utf-8")
    assert "The audit" not in page and "Audit of the pairs: " in page and "U-Net on synthetic pairs" in page
    assert "U-Net on synthetic pairs, test-01" in page
    assert "sub-" not in page and str(folder) not in page
    assert str(folder / "out" / "report" / "report.html") in ran.stdout.splitlines()


def test_audit_covers_the_pairs_and_knows_the_canaries(done):
    audit = json.loads((done[0] / "out" / "audit" / "audit.json").read_text("utf-8"))
    assert audit["training_checked"] and len(audit["canary"]["repeats"]) == 2
    assert {name: cohort["patients"] for name, cohort in audit["cohorts"].items()} == {
        "members": 6, "non_members": 2, "references": 2,
    }  # fmt: skip


def test_printed_command_makes_the_release(done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(done[1].stdout.splitlines()[-1])
    said = {"LICENSE": "CC-BY-4.0", "REASON": "a test of few patients", "FAMILY, GIVEN": "Muster, Anna"}
    words = [said.get(word, word) for word in words]
    released = CliRunner().invoke(app, words)
    assert program == "tofgan" and released.exit_code == 0, (released.output, released.exception)
    pairs, manifest = open_stack("DATASET/pairs.npy")
    assert len(pairs) == 64 and manifest["kind"] == "synthetic"
    card = (tmp_path / "DATASET" / "README.md").read_text("utf-8")
    assert "6 patients" in card and "sub-" not in card and str(done[0]) not in card


def test_finished_synthesis_does_nothing_and_other_patients_are_refused(done):
    folder = done[0]
    before = sha256(folder / "out" / "report" / "results.jsonl")
    assert subprocess.run(command(folder), check=False).returncode == 0
    assert sha256(folder / "out" / "report" / "results.jsonl") == before
    words = ["synthesise", str(folder / "patients"), str(folder / "out"), "--preset", str(folder / "tiny.yaml")]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1 and "belongs to the patients in" in str(refused.exception)
