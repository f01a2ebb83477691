"""The errors of a synthesis before any work, and its last lines."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.helpers.patients import write_patient
from tofgan_monai import InputError, read_cohort
from tofgan_monai.study.synthesis import run
from tofgan_monai.study.synthesis.settings import completed, read_preset
from tofgan_monai.volumes.cohort import check_cohort


@pytest.fixture
def settings_file(tmp_path):
    """A file of settings for volumes with few vessels."""
    path = tmp_path / "small.yaml"
    path.write_text("preset: quick\nn_vessel: 8\nn_random: 8\n", "utf-8")
    return path


@pytest.fixture
def started(monkeypatch):
    """The settings of each run that came as far as Snakemake, which is not started."""
    runs: list = []
    monkeypatch.setattr(run, "run_study", lambda settings, *_, **__: runs.append(settings))
    return runs


def patients(folder, n=3, first=0, names=("image", "label", "mask")):
    for index in range(first, first + n):
        write_patient(folder / f"sub-{index}", "RAS", index, names)
    return folder


def refusal(*words):
    with pytest.raises(InputError) as error:
        run.synthesise(*words, cores=1)
    return str(error.value)


def test_unknown_preset_is_refused_before_the_patients_are_looked_for(tmp_path, started):
    assert "fast" in refusal(tmp_path / "nowhere", tmp_path / "out", "fast")
    assert not (tmp_path / "out").exists() and not started


def test_cohort_without_labels_is_refused(tmp_path, settings_file, started):
    unlabelled = patients(tmp_path / "p", names=("image",))
    assert "no label found" in refusal(unlabelled, tmp_path / "out", settings_file) and not started


def test_too_few_patients_for_three_splits_are_refused(tmp_path, settings_file, started):
    assert "a synthesis needs 3 patients or more" in refusal(
        patients(tmp_path / "p", 2), tmp_path / "out", settings_file
    )
    assert not started


def test_same_call_continues_and_other_patients_settings_or_files_are_refused(tmp_path, settings_file, started):
    mine, out = patients(tmp_path / "p"), tmp_path / "out"
    for _ in range(2):
        run.synthesise(mine, out, settings_file, cores=1)
    assert len(started) == 2 and started[0] == started[1]
    assert started[0]["cohort_a"] == str(out / "cohort.json") and started[0]["skull_strip"] == "given"
    others = patients(tmp_path / "others", first=10)
    assert f"belongs to the patients in {mine}" in refusal(others, out, settings_file)
    assert "other settings (n_vessel 8, n_random 8)" in refusal(mine, out, "quick")
    before = (out / "cohort.json").read_bytes()
    patients(mine, 1, first=3)
    assert "have changed since this run began" in refusal(mine, out, settings_file)
    assert (out / "cohort.json").read_bytes() == before and len(started) == 2
    assert "holds files of something else" in refusal(mine, tmp_path / "others", settings_file)
    assert "lies in the patients' folder" in refusal(others, others / "out", settings_file)


def test_folder_is_not_claimed_by_a_run_that_is_refused(tmp_path, settings_file, started):
    mine, out = patients(tmp_path / "p"), tmp_path / "out"
    one = "audit_patients: [1, 1, 1]\ngan: tof_mra_wgan_gp\ngan_train: ''\ngan_epochs: "
    settings_file.write_text(f"preset: quick\nn_vessel: 8\nn_random: 8\n{one}49\n", "utf-8")
    assert "set gan_epochs to 50 or more" in refusal(mine, out, settings_file)
    settings_file.write_text(f"preset: quick\nn_vessel: 8\nn_random: 8\n{one}50\n", "utf-8")
    run.synthesise(mine, out, settings_file, cores=1)
    assert len(started) == 1


def test_split_of_a_cohort_json_is_kept(tmp_path, settings_file, started):
    folder = patients(tmp_path / "p", 5)
    check_cohort(folder, tmp_path / "mine.json", counts=(1, 1, 3), n_vessel=8)
    run.synthesise(tmp_path / "mine.json", tmp_path / "out", settings_file, cores=1)
    assert read_cohort(tmp_path / "out", "test") == read_cohort(tmp_path / "mine.json", "test")


def test_last_lines_name_the_report_and_the_release(tmp_path, settings_file, started):
    out = tmp_path / "my out"
    title, told, report, release = run.synthesise(patients(tmp_path / "p"), out, settings_file, cores=1)
    assert (
        title.endswith("no data to work with") and run.read_preset("laptop")["title"] == "Synthetic pairs of one cohort"
    )
    assert told.startswith("The audit was left out: to pass it needs 36 training, 10 validation and 36 test patients")
    assert told.endswith("and the cohort has 1 training, 1 validation and 1 test patients.")
    assert report == str(out / "report" / "report.html")
    words = shlex.split(release)
    assert words[:4] == ["tofgan", "release", str(out / "pairs" / "synthetic.npy"), "DATASET"]
    assert words[4:8] == ["--bundle", str(out / "generator"), "--despite", "REASON"]


def test_networks_are_scored_with_error_maps_for_the_report(tmp_path, settings_file, started):
    out = tmp_path / "out"
    run.synthesise(patients(tmp_path / "p"), out, settings_file, cores=1)
    (out / "config.yaml").write_text(yaml.safe_dump(started[0]), "utf-8")
    words = ["--snakefile", run.SNAKEFILE, "--directory", out, "--configfile", out / "config.yaml"]
    command = [sys.executable, "-m", "snakemake", *map(str, words), "--dry-run", "--printshellcmds"]
    listed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    scorings = [line for line in (listed.stdout + listed.stderr).splitlines() if " --split test " in line]
    assert len([line for line in scorings if " --error_maps error_maps " in line]) == len({*scorings}) == 2


@pytest.mark.parametrize(("outcome", "needs_reason"), [("passed", False), ("inconclusive", True), ("failed", True)])
def test_release_names_the_audit_and_needs_a_reason_unless_it_passed(tmp_path, settings_file, outcome, needs_reason):
    check_cohort(patients(tmp_path / "p"), tmp_path, n_vessel=8)
    (tmp_path / "audit").mkdir()
    verdict = {"verdicts": {"data": {"outcome": outcome, "reasons": ["something was found"]}}}
    (tmp_path / "audit" / "audit.json").write_text(json.dumps(verdict), "utf-8")
    settings = completed(read_preset(settings_file), tmp_path / "cohort.json")
    words = shlex.split(run.release_command(tmp_path, settings))
    assert words[words.index("--audit") + 1] == str(tmp_path / "audit")
    assert ("--despite" in words) == needs_reason
    assert run.audit_line(tmp_path, settings) == f"Audit of the pairs: {outcome}; audit/audit.html says why."
