"""The container: its entry point takes the arguments of a BIDS App and all verbs, its recipe names files that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATTERN = "sub-{}/**/anat/{{subject}}_angio.nii.gz"


@pytest.fixture
def bids_app(tmp_path, monkeypatch):
    """Callable (words) -> (exit status, the words of each call of `tofgan`); a call with sub-09 in it fails."""
    told = tmp_path / "told"
    stub = tmp_path / "tofgan"
    stub.write_text(f'#!/bin/bash\nprintf "%s|" "$@" >> {told}; echo >> {told}\n[[ "$*" != *sub-09* ]]\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def run(*words):
        done = subprocess.run([ROOT / "scripts/bids_app.sh", *words], check=False, capture_output=True)
        calls = told.read_text().splitlines() if told.exists() else []
        return done.returncode, [call.split("|")[:-1] for call in calls]

    return run


def test_all_participants_are_one_run_and_options_are_passed_on(bids_app):
    given = ("/my bids", "/out", "participant", "--device", "cpu", "--label-only")
    assert bids_app(*given) == (0, [["segment", "/my bids", "/out", "--device", "cpu", "--label-only"]])


@pytest.mark.parametrize(
    "words",
    [
        ("--participant-label", "01", "sub-02", "--label-only"),
        ("--label-only", "--participant_label", "01", "02"),
        ("--participant-label=01", "--label-only", "--participant-label", "02"),
    ],
)
def test_participants_are_chosen_by_their_labels(bids_app, words):
    runs = [["segment", "bids", "out", "--image", PATTERN.format(label), "--label-only"] for label in ("01", "02")]
    assert bids_app("bids", "out", "participant", *words) == (0, runs)


def test_a_participant_without_a_scan_does_not_keep_the_others_back(bids_app):
    status, runs = bids_app("bids", "out", "participant", "--participant-label", "09", "02")
    assert status == 1 and [run[4] for run in runs] == [PATTERN.format("09"), PATTERN.format("02")]


def test_anything_else_is_a_verb_and_a_group_is_refused(bids_app):
    assert bids_app("bids", "out", "group") == (1, [])
    assert bids_app("check", "patients") == (0, [["check", "patients"]])
    assert bids_app("--help") == (0, [["check", "patients"], ["--help"]])


def test_recipe_copies_what_exists_and_runs_the_entry_point():
    recipe = (ROOT / "Containerfile").read_text("utf-8")
    copied = [line.split()[1:-1] for line in recipe.splitlines() if line.startswith("COPY")]
    names = [name for names in copied for name in names if not name.startswith("--")]
    assert len(names) == 8 and all((ROOT / name).exists() for name in names)
    assert re.search(r'scripts/bids_app.sh /usr/local/bin/bids_app\n[^"]*ENTRYPOINT \["bids_app"\]', recipe)
