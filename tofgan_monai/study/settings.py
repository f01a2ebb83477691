"""Reads the settings of a study from a preset, or from a YAML file that lists the differences from a preset.

The presets smoke, laptop and paper come with the package.
"""

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
    """List of the names of the presets that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_settings(config: str | os.PathLike) -> Settings:
    """Reads and checks all settings of a study; returns a dict from name to value.

    Args:
        config: name of a preset, or path of a YAML file with `preset: NAME` and the settings that differ from this
            preset. Relative paths in the file are relative to the folder of the file.

    Raises:
        InputError: the file cannot be read, or it has unknown settings or wrong values (the error names them all).
    """
    settings = _merged(config)
    if problems := problems_of(settings):
        raise InputError([f"{config}: {problem}" for problem in problems])
    return {**settings, "transfer": {int(k): n_draws for k, n_draws in settings["transfer"].items()}}


def _merged(config: str | os.PathLike) -> Settings:
    """Returns the settings of a preset, or of a preset with the differences in a file; checks no values."""
    presets = ", ".join(preset_names())
    path = PRESETS / f"{config}.yaml" if os.fspath(config) in preset_names() else Path(config)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise InputError(
            f"{config}: the settings cannot be read ({error}); give --config a YAML file or one of {presets}"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{config}: the file holds no settings; write one NAME: VALUE on each line")
    if path == PRESETS / "paper.yaml":
        return content
    if content.get("preset") not in preset_names():
        raise InputError(f"{config}: the file names no preset; add `preset: NAME`, where NAME is one of {presets}")
    base = _merged(content.pop("preset"))
    if unknown := [str(name) for name in content if name not in base]:
        raise InputError([f"{config}: there is no setting {name}; {_remedy(name, [*base])}" for name in unknown])
    for name in _PATHS:
        if isinstance(content.get(name), str):
            content[name] = _absolute(path.parent, content[name])
    if isinstance(content.get("gans"), dict):
        named = {str(gan): str(bundle) for gan, bundle in content["gans"].items()}
        content["gans"] = {gan: _absolute(path.parent, at) if os.sep in at else at for gan, at in named.items()}
    return {**base, **content}


def _absolute(folder: Path, path: str) -> str:
    """Returns the absolute form of a path that is relative to a folder; ~ stands for the home folder."""
    return os.path.abspath(folder / Path(path).expanduser())


def _remedy(name: str, known: list[str]) -> str:
    """Returns a hint for an unknown setting: the known setting with the most similar name, or all known settings."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
