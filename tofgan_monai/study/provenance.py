"""The versions and commits that made a study; every start of `tofgan study` notes them in the study's folder."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tofgan_monai.files import written_whole

NOTES = "made_by.jsonl"
PACKAGES = ("monai", "torch", "numpy", "pytorch-ignite", "snakemake")


def note(folder: Path) -> None:
    """Adds the present versions and commit to the notes in a study's folder, unless the last note is the same."""
    now = {"versions": _versions(), "commit": _commit()}
    notes = _notes(folder)
    if notes[-1:] != [now]:
        with written_whole(folder / NOTES) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in [*notes, now]), encoding="utf-8")


def made_by(folder: Path) -> dict[str, Any]:
    """The versions of a study's last start and the commits of all its starts, for every line of its results."""
    notes = _notes(folder)
    commits = dict.fromkeys(line["commit"] for line in notes)
    return {"versions": notes[-1]["versions"], "commit": ", ".join(commits)}


def _notes(folder: Path) -> list[dict[str, Any]]:
    path = folder / NOTES
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def _commit() -> str:
    """The commit of the checkout, with a + if its files have changed since; elsewhere the package's version."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return version("tofgan-monai")
    git = ["git", "-C", str(here)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    changed = subprocess.run([*git, "status", "--porcelain", "tofgan_monai", "bundles"], capture_output=True, text=True)
    return commit.strip() + ("+" if changed.stdout.strip() else "")
