"""The study as its user runs it: a whole smoke run, killed and failing runs, and which files its steps may read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tofgan_monai import read_cohort, sha256
from tofgan_monai.files import held
from tofgan_monai.study.plan import arms, draws, training_sets
from tofgan_monai.study.settings import read_settings

pytestmark = pytest.mark.whole

TIMES = ("wall_s", "peak_mb")
SETTINGS = read_settings("smoke")
BEFORE_THE_TEST = [
    *("best_gan.txt", "distances.jsonl"),
    *(f"unets/{name}/0/validation.jsonl" for name in training_sets(SETTINGS)),
    *(f"transfer/{arm}/{draw}/0/validation.jsonl" for arm in arms(SETTINGS) for draw in draws(SETTINGS)),
]


def study(folder, *words, config="smoke"):
    """The finished process of `tofgan study`."""
    return subprocess.run(command(folder, *words, config=config), capture_output=True, encoding="utf-8", check=False)


def command(folder, *words, config="smoke"):
    options = ["--config", str(config), "--output", str(folder), "--cores", "2"]
    return [sys.executable, "-m", "tofgan_monai", "study", *options, *words]


def jobs_of(listed):
    """(rule, number of its jobs) for each rule in the output of a dry run."""
    rows = [line.split() for line in (listed.stdout + listed.stderr).splitlines()]
    return [(row[0], row[1]) for row in rows if len(row) == 2 and row[0].isidentifier() and row[1].isdigit()]


def lines(folder):
    """The lines of results.jsonl without times and memory, which differ between runs."""
    read = [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in read]


def weights(folder):
    """Path -> SHA-256 of all trained weights in a study's folder."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.glob("*/**/best.pt"))}


def test_volumes(folder):
    """The paths of the prepared volumes of all test patients."""
    items = [item for site in "AB" for item in read_cohort(folder / "prepared" / site, "test")]
    return [Path(item[key]) for item in items for key in ("image", "label", "mask")]


test_volumes.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a whole smoke study; no test patient's volume could be read until everything was chosen."""
    folder = tmp_path_factory.mktemp("study") / "smoke"
    stage = study(folder, "--until", "prepare")
    assert stage.returncode == 0, stage.stderr
    hidden = [(path, path.with_name(f"hidden_{path.name}")) for path in test_volumes(folder)]
    for path, away in hidden:
        path.rename(away)
        path.write_bytes(b"no volume")
        os.utime(path, (path.stat().st_atime, away.stat().st_mtime))
    stage = study(folder, *BEFORE_THE_TEST)
    assert stage.returncode == 0, stage.stderr
    assert (folder / "best_gan.txt").exists() and len(weights(folder)) == 3 + 3 + 9 + 6
    assert not [*folder.glob("**/test*.jsonl")]
    for path, away in hidden:
        away.replace(path)
    stage = study(folder)
    assert stage.returncode == 0, stage.stderr
    return folder


@pytest.fixture
def copied(done, tmp_path):
    """A copy of the whole smoke study, whose files have the same times."""
    return shutil.copytree(done, tmp_path / "copied", copy_function=shutil.copy2)


def started(folder, marker, **options):
    """The process of a study, once one of its steps has written a certain file."""
    process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, start_new_session=True, **options)
    while process.poll() is None and not (folder / marker).exists():
        time.sleep(0.05)
    return process


def test_nothing_before_the_test_sees_a_test_patient(done):
    """The fixture has shown this: stacks, GANs, thresholds, tuning, choices and U-Nets were made without the files."""
    assert {line["split"] for line in lines(done) if "patient" in line} == {"validation", "test"}
    assert len(test_volumes(done)) == 12


def test_no_volume_plays_two_parts(done):
    parts = {}
    for site in "ABC":
        for split in ("training", "validation", "test"):
            for item in read_cohort(done / "heads" / site / "cohort.json", split):
                parts.setdefault(sha256(item["image"]), []).append((site, split))
    assert len(parts) == 2 + 1 + 2 + 2 + 1 + 2 + 2
    assert all(len(used) == 1 for used in parts.values())


def test_every_experiment_has_its_lines(done):
    found = lines(done)
    kinds = {line["experiment"] for line in found}
    assert kinds == {
        *("settings", "tuning", "best GAN", "table1", "table2", "threshold", "transfer", "losses", "cost"),
        *("interval", "comparison"),
    }
    assert all(line["versions"]["monai"] and line["commit"] for line in found)
    assert all(line["low"] <= line["value"] <= line["high"] for line in found if line["experiment"] == "table1")
    assert {line["model"] for line in found if line["experiment"] == "table1"} == {
        "others", "DCGAN", "WGAN-GP", "WGAN-GP-SN", "procedural",
    }  # fmt: skip
    sets = {(line["model"], line["cohort"], line["split"]) for line in found if line["experiment"] == "table2"}
    assert len(sets) == 9 * 3
    arms = {(line["arm"], line["n_training"], line["split"]) for line in found if line["experiment"] == "transfer"}
    assert len(arms) == 3 * 2 * 2
    assert all(
        line["seed"] == 0 and line["n"] == (2 if line["split"] == "test" else 1)
        for line in found
        if line["experiment"] == "table2"
    )


def test_choices_are_the_best_on_validation_patients(done):
    for line in lines(done):
        if line["experiment"] == "best GAN":
            assert line["chosen"] == max(line["tried"], key=line["tried"].get)
            scores = [
                other["dsc"]
                for other in lines(done)
                if (other.get("model"), other.get("split")) == (line["chosen"], "validation")
            ]
            assert line["tried"][line["chosen"]] == pytest.approx(sum(scores) / len(scores), abs=1e-5)
        if line["experiment"] == "tuning":
            assert len(line["tried"]) == 3 and line["chosen"].startswith("--lr 0.001")


def test_report_is_one_file_with_the_papers_figures_beside(done):
    page = (done / "report.html").read_text("utf-8")
    assert "105.96" in page and "0.82" in page and "http://" not in page.replace("http://www.w3.org", "")
    shared = page + (done / "report.md").read_text("utf-8") + (done / "results.jsonl").read_text("utf-8")
    assert str(done) not in shared and "sub-A" not in shared and sys.executable not in shared
    assert (done / "report.md").exists()


def test_killed_study_continues_to_the_same_results(done, copied):
    shutil.rmtree(copied / "unets" / "DCGAN")
    shutil.rmtree(copied / "transfer" / "pretrained")
    (copied / "results.jsonl").unlink()
    process = started(copied, "unets/DCGAN/0/checkpoint.pt", stderr=subprocess.DEVNULL)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (copied / "results.jsonl").exists()
    again = study(copied)
    assert again.returncode == 0, again.stderr
    assert weights(copied) == weights(done)
    assert lines(copied) == lines(done)


def test_interrupted_study_says_that_the_same_command_continues_it(copied):
    shutil.rmtree(copied / "unets" / "WGAN-GP")
    (copied / "results.jsonl").unlink()
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a background process of a shell ignores SIGINT
    process = started(
        copied, "unets/WGAN-GP/0/tensorboard", stderr=subprocess.PIPE, encoding="utf-8", preexec_fn=heeded
    )
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=180)[1]
    assert process.returncode == 1
    assert "the same command" in error and "stopped" in error and "failed" not in error


def test_changed_setting_runs_again_what_depends_on_it(copied, tmp_path):
    config = tmp_path / "changed.yaml"
    planned = {}
    for differences in ("unet_train: --max_epochs 2", "gan_train: --max_epochs 2", "n_synthetic: 48", "title: Other"):
        config.write_text(f"preset: smoke\n{differences}\n", "utf-8")
        listed = study(copied, "--dry-run", config=config)
        assert listed.returncode == 0, listed.stderr
        planned[differences.split(":")[0]] = {rule for rule, _ in jobs_of(listed)}
    assert {"tune_rates", "train_unet", "transfer", "collect"} <= planned["unet_train"]
    assert not {"train_gan", "generate", "extract"} & planned["unet_train"]
    assert {"train_gan", "generate", "frechet", "train_unet"} <= planned["gan_train"]
    assert {"generate", "extract", "frechet"} <= planned["n_synthetic"] and "train_gan" not in planned["n_synthetic"]
    assert planned["title"] == {"collect", "report", "all", "total"}
    config.write_text("preset: smoke\nunet_train: --batch_size 16 --pairs_per_epoch 32 --max_epochs 2\n", "utf-8")
    point = "tuning/real/lr0.001_dropout0.0"
    again = study(copied, f"{point}/validation.jsonl", config=config)
    assert again.returncode == 0, again.stderr
    assert len((copied / point / "losses.jsonl").read_text("utf-8").splitlines()) == 2


def test_failing_step_is_named_with_its_log_and_the_others_are_kept(copied):
    (copied / "unets" / "DCGAN" / "0" / "best.pt").write_bytes(b"broken")
    for name in ("DCGAN", "WGAN-GP"):
        (copied / "unets" / name / "0" / "test_A.jsonl").unlink()
    (copied / "results.jsonl").unlink()
    failed = study(copied)
    assert failed.returncode == 1
    error = failed.stderr[failed.stderr.index("error: ") :]
    assert "rule score_unet" in error and "best.pt cannot be read as weights" in error
    assert "logs/score_unet/DCGAN_0.log" in error and "same command again" in error
    assert (copied / "unets" / "WGAN-GP" / "0" / "test_A.jsonl").exists()


def test_finished_study_does_nothing(done):
    before = sha256(done / "results.jsonl")
    assert study(done).returncode == 0
    assert sha256(done / "results.jsonl") == before


def test_two_at_once_are_refused(done):
    with held(done, "study"):
        refused = study(done)
    assert refused.returncode == 1 and "another study process is running" in refused.stderr


def test_dry_run_of_the_paper_lists_every_job(tmp_path):
    listed = study(tmp_path / "paper", "--dry-run", config="paper")
    assert listed.returncode == 0, listed.stderr
    jobs = dict(jobs_of(listed))
    n_sets, n_draws = 9, 3 * 3 + 2 + 4
    expected = {
        "train_gan": 3, "generate": 3, "tune_rates": n_sets * 24, "tune_augmentation": n_sets, "train_unet": n_sets * 3,
        "score_unet": n_sets * 3, "transfer": 3 * n_draws * 3, "extract": 5 + n_draws,
    }  # fmt: skip
    assert {rule: int(jobs[rule]) for rule in expected} == expected
