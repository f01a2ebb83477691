"""Records which versions and commits made a study: each start of `tofgan study` writes them to the study's folder."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tofgan_monai.files import write_json_lines

NOTES = "made_by.jsonl"
PACKAGES = ("monai", "torch", "numpy", "pytorch-ignite", "snakemake")


def note(folder: Path) -> None:
    """Adds the installed versions and the commit to made_by.jsonl in a study's folder.

    Nothing is added if the last line of the file has the same versions and commit.
    """
    now = {"versions": _versions(), "commit": _commit()}
    notes = _notes(folder)
    if notes[-1:] != [now]:
        write_json_lines(folder / NOTES, [*notes, now])


def made_by(folder: Path) -> dict[str, Any]:
    """Dict with `versions` of the last start of a study and `commit`, the commits of all its starts in one text.

    Every line of results.jsonl gets these values.
    """
    notes = _notes(folder)
    commits = dict.fromkeys(line["commit"] for line in notes)
    return {"versions": notes[-1]["versions"], "commit": ", ".join(commits)}


def _notes(folder: Path) -> list[dict[str, Any]]:
    """Reads the lines of made_by.jsonl in a study's folder; returns an empty list if there is no such file."""
    path = folder / NOTES
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _versions() -> dict[str, str]:
    """Dict from "python" and the names in `PACKAGES` to the installed versions."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def _commit() -> str:
    """Returns the short commit of the git checkout; without a checkout, the version of the installed package.

    A + after the commit means that tofgan_monai or bundles has changes that are not committed.
    """
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return version("tofgan-monai")
    git = ["git", "-C", str(here)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    changed = subprocess.run([*git, "status", "--porcelain", "tofgan_monai", "bundles"], capture_output=True, text=True)
    return commit.strip() + ("+" if changed.stdout.strip() else "")
