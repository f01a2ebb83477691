"""The message about a step of a study that failed."""

from __future__ import annotations

import pytest

from tofgan_monai.study.run import failure_line


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
