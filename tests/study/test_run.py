"""The message about a step of a study that failed, the verbs of a step, and Ctrl-C."""

from __future__ import annotations

import shlex
import sys

import pytest
from tqdm import tqdm

from tofgan_monai.study.run import _Watch, failure_line, verbs_of


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("working\nerror: a.nii: broken; mend it\nerror: b.nii: broken\n", "a.nii: broken; mend it; b.nii: broken"),
        ("Traceback\nValueError: first\nRuntimeError: last\n set '_mode_=debug'\n", "failed: RuntimeError: last"),
        ("bash: tofgan: not found\n\n", "failed: bash: tofgan: not found"),
        ("", "it wrote nothing into its log"),
        (None, "it wrote nothing into its log"),
    ],
)
def test_failure_names_rule_cause_log_and_remedy(log, told, tmp_path):
    if log is not None:
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "a.log").write_text(log, "utf-8")
    said = failure_line("train_unet", ["logs/a.log"], tmp_path)
    assert said.startswith("the rule train_unet failed: ") and told in said
    assert str(tmp_path / "logs" / "a.log") in said and "same command again" in said


def test_verbs_of_a_step_are_shown_as_a_user_types_them():
    python = shlex.quote(sys.executable)
    tofgan = f"{python} -m tofgan_monai"
    assert verbs_of(f"{tofgan} train B --pairs a.npy + evaluate P --cohort '' &> logs/a.log") == [
        "tofgan train B --pairs a.npy",
        "tofgan evaluate P --cohort ''",
    ]
    step = f"{python} -m tofgan_monai.study.synthesis.steps copy-bundle generator"
    assert verbs_of(f"{step} &> a.log && {tofgan} adopt run ./generator &>> a.log") == ["tofgan adopt run ./generator"]
    assert verbs_of(f"{step} &> a.log") == verbs_of("echo > chosen.txt") == verbs_of("") == []


def test_second_interrupt_does_not_break_off_the_first():
    watch = _Watch(tqdm(disable=True), shows_verbs=False)
    with pytest.raises(KeyboardInterrupt):
        watch.stop()
    watch.stop()
    assert watch.is_stopped
