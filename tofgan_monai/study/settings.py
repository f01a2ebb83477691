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


def preset_names(presets: Path = PRESETS) -> list[str]:
    """List of the names of the presets in a folder; the default is the folder of the study's presets."""
    return sorted(path.stem for path in presets.glob("*.yaml"))


def read_settings(config: str | os.PathLike) -> Settings:
    """Reads and checks all settings of a study; returns a dict from name to value.

    Args:
        config: name of a preset, or path of a YAML file with `preset: NAME` and the settings that differ from this
            preset. Relative paths in the file are relative to the folder of the file.

    Raises:
        InputError: the file cannot be read, or it has unknown settings or wrong values (the error names them all).
    """
    settings = merged(config)
    if problems := problems_of(settings):
        raise InputError([f"{config}: {problem}" for problem in problems])
    return {**settings, "transfer": {int(k): n_draws for k, n_draws in settings["transfer"].items()}}


def merged(config: str | os.PathLike, presets: Path = PRESETS) -> Settings:
    """Returns the settings of a preset, or of a preset with the differences in a file; checks no values.

    Args:
        config: name of a preset, or path of a YAML file of differences.
        presets: folder of the presets. Its paper.yaml lists all settings; the other presets are files of differences.

    Raises:
        InputError: the file cannot be read, names no preset, or has unknown settings.
    """
    names = preset_names(presets)
    known = ", ".join(names)
    path = presets / f"{config}.yaml" if os.fspath(config) in names else Path(config)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise InputError(
            f"{config}: the settings cannot be read ({error}); give a YAML file or one of {known}"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{config}: the file holds no settings; write one NAME: VALUE on each line")
    if path == presets / "paper.yaml":
        return content
    if content.get("preset") not in names:
        raise InputError(f"{config}: the file names no preset; add `preset: NAME`, where NAME is one of {known}")
    base = merged(content.pop("preset"), presets)
    if unknown := [str(name) for name in content if name not in base]:
        raise InputError([f"{config}: there is no setting {name}; {_remedy(name, [*base])}" for name in unknown])
    for name in _PATHS:
        if isinstance(content.get(name), str):
            content[name] = _absolute(path.parent, content[name])
    if isinstance(content.get("gans"), dict):
        content["gans"] = {str(gan): _bundle(path.parent, str(at)) for gan, at in content["gans"].items()}
    if isinstance(content.get("gan"), str):
        content["gan"] = _bundle(path.parent, content["gan"])
    return {**base, **content}


def _bundle(folder: Path, bundle: str) -> str:
    """Returns the name of a bundle, or the absolute path of a bundle's folder that is relative to `folder`."""
    return _absolute(folder, bundle) if os.sep in bundle else bundle


def _absolute(folder: Path, path: str) -> str:
    """Returns the absolute form of a path that is relative to a folder; ~ stands for the home folder."""
    return os.path.abspath(folder / Path(path).expanduser())


def _remedy(name: str, known: list[str]) -> str:
    """Returns a hint for an unknown setting: the known setting with the most similar name, or all known settings."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
