"""The settings of a study: a preset, or a file that lists differences from a preset."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import yaml

from tofgan_monai.errors import InputError
from tofgan_monai.study.checks import problems_of
from tofgan_monai.study.plan import Settings

PRESETS = Path(__file__).parent / "presets"
_PATHS = ("cohort_a", "cohort_b", "inception_weights")


def preset_names() -> list[str]:
    """The names of the presets that came with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_settings(config: str | os.PathLike) -> Settings:
    """All settings of a study, checked.

    Args:
        config: the name of a preset, or a YAML file with `preset: NAME` and what differs from that preset. Relative
            paths in the file start at the file's folder.

    Raises:
        InputError: the file cannot be read, or it has unknown settings or impossible values; each of them is named.
    """
    settings = _merged(config)
    if problems := problems_of(settings):
        raise InputError([f"{config}: {problem}" for problem in problems])
    return {**settings, "transfer": {int(k): n_draws for k, n_draws in settings["transfer"].items()}}


def _merged(config: str | os.PathLike) -> Settings:
    """A preset's settings, or a file's differences on top of its preset, unchecked."""
    presets = ", ".join(preset_names())
    path = PRESETS / f"{config}.yaml" if os.fspath(config) in preset_names() else Path(config)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{config}: not a readable study ({error}); give a YAML file or one of {presets}") from error
    if not isinstance(content, dict):
        raise InputError(f"{config}: holds no settings; write one NAME: VALUE on each line")
    if path == PRESETS / "paper.yaml":
        return content
    if content.get("preset") not in preset_names():
        raise InputError(f"{config}: names no preset; begin with `preset: NAME`, one of {presets}")
    base = _merged(content.pop("preset"))
    if unknown := [str(name) for name in content if name not in base]:
        raise InputError([f"{config}: no setting {name}; {_remedy(name, [*base])}" for name in unknown])
    for name in _PATHS:
        if isinstance(content.get(name), str):
            content[name] = _absolute(path.parent, content[name])
    if isinstance(content.get("gans"), dict):
        named = {str(gan): str(bundle) for gan, bundle in content["gans"].items()}
        content["gans"] = {gan: _absolute(path.parent, at) if os.sep in at else at for gan, at in named.items()}
    return {**base, **content}


def _absolute(folder: Path, path: str) -> str:
    return os.path.abspath(folder / Path(path).expanduser())


def _remedy(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
