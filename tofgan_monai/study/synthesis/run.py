"""Runs a synthesis: checks the patients, lays claim to the output folder and starts Snakemake."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.files import require_writable, write_json
from tofgan_monai.metrics.stacks.manifold import load_prdc
from tofgan_monai.study.plan import Settings
from tofgan_monai.study.run import require_snakemake, run_study
from tofgan_monai.study.synthesis.settings import canary_epochs, completed, is_audited, read_preset, require_usable
from tofgan_monai.study.synthesis.steps import audit_line, read_verdict
from tofgan_monai.volumes.cohort import check_cohort, cohort_path, read_cohort, read_splits, write_cohort
from tofgan_monai.volumes.inputs import is_cohort
from tofgan_monai.volumes.kinds import kind_of

SNAKEFILE = Path(__file__).with_name("Snakefile")
RECORD = "synthesis.json"

Splits = Mapping[str, Sequence[Mapping[str, Any]]]

logger = logging.getLogger(__name__)


def synthesise(
    patients: str | os.PathLike, output: str | os.PathLike, preset: str | os.PathLike, *, cores: int
) -> list[str]:
    """Makes synthetic pairs of a cohort, trains a segmentation on them and writes the report; nothing is released.

    The same call continues a stopped run.

    Args:
        patients: folder of the volumes, as `check_cohort` takes it; or a cohort.json, or its folder.
        output: folder of this run.
        preset: name of a preset, or path of a YAML file of differences; see `read_preset`.
        cores: number of CPU cores that steps may use at the same time.

    Returns:
        The last lines for the user: what the pairs are, the result of the audit, the path of the report, and the
        command of the release.

    Raises:
        InputError: the settings are wrong, the output folder belongs to another run or other patients, the volumes have
            problems or no labels, a split has no patients, a package is missing, or steps failed.
    """
    require_snakemake("synthesis")
    own = read_preset(preset)
    source, folder = Path(os.path.abspath(patients)), Path(os.path.abspath(output))
    claim = {"patients": os.fspath(source), "settings": own}
    _require_free(folder, claim)
    if folder.is_relative_to(source) and not is_cohort(source):
        raise InputError(f"{output}: the output folder lies in the patients' folder; choose a folder elsewhere")
    require_writable(folder)
    with TemporaryDirectory(dir=folder, prefix=".") as temporary:
        checked = _checked(source, Path(temporary), own["n_vessel"], folder)
        splits = read_splits(checked)
        require_usable(splits, source)
        _require_same_scans(splits, folder, source)
        settings = completed(own, checked)
        if is_audited(settings):
            load_prdc()  # reports a missing package before the trainings
            canary_epochs(settings)  # reports a training that is too short for an audit
    write_json(folder / RECORD, claim)
    settings = completed(own, _kept(splits, folder))
    logger.info("cd %s", shlex.quote(os.fspath(folder)))
    run_study(settings, folder, cores=cores, snakefile=SNAKEFILE, work="synthesis")
    report = os.fspath(folder / "report" / "report.html")
    return [settings["title"], audit_line(folder, settings), report, release_command(folder, settings)]


def _require_free(folder: Path, claim: Mapping[str, Any]) -> None:
    """Raises InputError if a folder holds other files, or a run with other patients or settings."""
    if not (folder / RECORD).exists():
        if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise InputError(f"{folder}: the folder holds files of something else; choose a new output folder")
        return
    before = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    if before["patients"] != claim["patients"]:
        raise InputError(
            f"{folder}: the folder belongs to the patients in {before['patients']}, not to those in "
            f"{claim['patients']}; choose another output folder"
        )
    was, now = before["settings"], claim["settings"]
    if changed := [f"{name} {was.get(name)}" for name in now if was.get(name) != now[name]]:
        raise InputError(
            f"{folder}: the folder belongs to a run with other settings ({', '.join(changed)}); give the same preset, "
            "or choose another output folder"
        )


def _checked(source: Path, temporary: Path, n_vessel: int, folder: Path) -> Path:
    """Returns the path of the cohort.json of the patients; checks the volumes unless `source` has a cohort.json.

    Args:
        source: the patients.
        temporary: folder for the cohort.json of the check.
        n_vessel: number of vessel-centred patches that each scan has to provide.
        folder: output folder of the run, for the command that is shown.
    """
    if is_cohort(source):
        return cohort_path(source)
    words = ["tofgan", "check", os.fspath(source), os.fspath(folder), "--n-vessel", str(n_vessel)]
    logger.info("%s", shlex.join(words))
    report = check_cohort(source, temporary, n_vessel=n_vessel)
    for warning in report.warnings:
        logger.warning("warning: %s", warning)
    logger.info("%s", report.used)
    return report.path


def _require_same_scans(splits: Splits, folder: Path, source: Path) -> None:
    """Raises InputError if the output folder has the cohort.json of other scans or of another split."""
    path = cohort_path(folder)
    if path.exists() and _scans(read_splits(path)) != _scans(splits):
        raise InputError(
            f"{folder}: the scans or splits of {source} have changed since this run began; choose another output "
            "folder, or restore them"
        )


def _kept(splits: Splits, folder: Path) -> Path:
    """Writes the cohort.json of a run into its output folder, unless it is there, and returns its path."""
    path = cohort_path(folder)
    return path if path.exists() and read_splits(path) == splits else write_cohort(path, splits)


def _scans(splits: Splits) -> set[tuple[str, str, str]]:
    """Returns the split, the subject and the image of each scan."""
    return {(split, item["subject"], item["image"]) for split, items in splits.items() for item in items}


def release_command(folder: Path, settings: Settings) -> str:
    """Returns the command that makes the release folder; the user completes the words in capitals.

    Args:
        folder: output folder of the run.
        settings: its settings, completed.
    """
    words = ["tofgan", "release", os.fspath(folder / "pairs" / "synthetic.npy"), "DATASET"]
    words += ["--bundle", os.fspath(folder / "generator")]
    verdict = read_verdict(folder)
    if verdict:
        words += ["--audit", os.fspath(folder / "audit")]
    is_real = any(kind_of(item) == "real" for item in read_cohort(settings["cohort_a"], "training"))
    if is_real and not (verdict and verdict["outcome"] == "passed"):
        words += ["--despite", "REASON"]
    return shlex.join([*words, "--license", "LICENSE", "--creator", "FAMILY, GIVEN"])
