"""The settings of a study: a preset, or a file of differences to one, checked before any work begins."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tofgan_monai.errors import InputError
from tofgan_monai.study.checks import problems_of
from tofgan_monai.study.plan import Settings

PRESETS = Path(__file__).parent / "presets"
_PATHS = ("cohort_a", "cohort_b", "inception_weights")


def preset_names() -> list[str]:
    """The presets that came with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_settings(config: str | os.PathLike) -> Settings:
    """All settings of a study, from a preset's name or a YAML file that names a `preset` and what differs from it.

    Paths in the file count from the file's folder.

    Raises:
        InputError: no such file, unknown settings, values that cannot be, all of them named.
    """
    settings = _merged(config)
    problems = problems_of(settings)
    if problems:
        raise InputError([f"{config}: {problem}" for problem in problems])
    return settings


def _merged(config: str | os.PathLike) -> Settings:
    path = PRESETS / f"{config}.yaml" if os.fspath(config) in preset_names() else Path(config)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        known = ", ".join(preset_names())
        raise InputError(f"{config}: not a readable study ({error}); give a YAML file or one of {known}") from error
    if not isinstance(content, dict):
        raise InputError(f"{config}: settings come as NAME: VALUE, a line each")
    if path == PRESETS / "paper.yaml":
        return content
    if content.get("preset") not in preset_names():
        raise InputError(f"{config}: begin with `preset: NAME`, one of {', '.join(preset_names())}")
    base = _merged(content.pop("preset"))
    unknown = [name for name in content if name not in base]
    if unknown:
        raise InputError([f"{config}: no setting {name}{_hint(str(name), base)}" for name in unknown])
    for name in _PATHS:
        if content.get(name):
            content[name] = _absolute(path.parent, content[name])
    if isinstance(content.get("gans"), dict):
        named = {gan: str(bundle) for gan, bundle in content["gans"].items()}
        content["gans"] = {gan: _absolute(path.parent, at) if os.sep in at else at for gan, at in named.items()}
    return {**base, **content}


def _absolute(folder: Path, path: str) -> str:
    return os.path.abspath(folder / Path(path).expanduser())


def _hint(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, [*known], n=1)
    return f"; did you mean {near[0]}?" if near else f"; it knows {', '.join(known)}"
