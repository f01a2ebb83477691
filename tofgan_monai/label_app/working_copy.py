"""The folder of a MONAI Label app, with a copy of the segmentation bundle whose weights the app may change."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.errors import InputError
from tofgan_monai.files import require_writable, written_whole
from tofgan_monai.training.weights import start_from

BUNDLE = "tof_mra_vessel_segmentation"
WEIGHTS = Path("models/model.pt")
INFERENCE = {"skull_strip": "computed"}
"""The settings of inference.yaml that change in the copy: a clinic's studies are whole heads."""

_logger = logging.getLogger(__name__)


def place_app(folder: str | os.PathLike, source: str | os.PathLike = BUNDLE) -> Path:
    """The path of the bundle in an app's folder, after the bundle and `main.py` are copied there if they are missing.

    An existing `main.py` is kept, such as the one of the stock app monaibundle. An existing bundle is kept, because
    its weights may have been trained further.

    Args:
        folder: the folder of the app.
        source: name or folder of the bundle to copy: the shipped segmentation, or one derived from it.

    Raises:
        InputError: no such bundle, the path has a `#`, the folder cannot be written to, or the weights do not fit the
            bundle's network.
    """
    folder = Path(folder)
    require_no_hash(folder)
    require_writable(folder)
    bundle = folder / "model" / BUNDLE
    if not (folder / "main.py").exists():
        (folder / "main.py").write_text("from tofgan_monai.label_app.main import VesselApp\n")
    if not bundle.exists():
        with written_whole(bundle) as temporary:
            shutil.copytree(bundle_path(source), temporary)
            _write_configs(temporary / "configs")
    network = _parsed(bundle / "configs/inference.json").get_parsed_content("network_def")
    start_from(network, bundle / WEIGHTS)
    return bundle


def require_no_hash(folder: str | os.PathLike) -> None:
    """Raises an error if a folder's absolute path has a `#`: MONAI's parser, which MONAI Label uses, would replace it.

    Raises:
        InputError: the path has a `#`.
    """
    path = os.path.abspath(folder)
    if "#" in path:
        raise InputError(f"{path}: MONAI Label cannot use a path with '#'; rename the folder, or choose another one")


def _write_configs(configs: Path) -> None:
    """Writes inference.json and train.json for the app; MONAI Label prefers JSON to YAML."""
    inference, training = (
        _parsed(configs / "inference.yaml"),
        _parsed(configs / "train.yaml", configs / "monailabel.yaml"),
    )
    inference.update(INFERENCE)
    for parser, name in ((inference, "inference.json"), (training, "train.json")):
        ConfigParser.export_config_file(parser.get(), os.fspath(configs / name), indent=4)


def _parsed(*configs: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([os.fspath(config) for config in configs])
    return parser


def training_folder(folder: str | os.PathLike) -> str:
    """The path of a new training's folder within `folder`, named after the present time."""
    return os.path.join(folder, f"{datetime.now():%Y%m%d-%H%M%S-%f}")


def take_into_use(
    weights: str | os.PathLike, output_dir: str | os.PathLike, network: nn.Module, measure: Callable[[], float]
) -> bool:
    """Replaces a bundle's weights with a training's best weights, unless these are worse; returns whether it did so.

    The replaced weights are kept in the same folder as `until_TRAINING.pt`, where TRAINING is the training's folder.

    Args:
        weights: the file of the weights in use.
        output_dir: the folder of the training, with its `best.pt`.
        network: the network, which loads both weights in turn.
        measure: returns a figure of the network on the held-out patients; higher is better.
    """
    best, used = Path(output_dir) / "best.pt", Path(weights)
    figures = []
    for path in (used, best):
        start_from(network, path)
        figures.append(measure())
    better = figures[1] >= figures[0]
    if better:
        shutil.copy(used, used.with_name(f"until_{best.parent.name}.pt"))
        with written_whole(used) as temporary:
            shutil.copy(best, temporary)
    _logger.info(
        "Dice on the held-out patches: %.4f before this training, %.4f after it; the %s weights are in use",
        *figures,
        "new" if better else "old",
    )
    return better


def split_by_patient(
    items: Sequence[Mapping[str, Any]], fraction: float
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Items to train on and items of held-out patients; no patient has items in both.

    The split depends on the names of the patients only, so every call with the same patients gives the same split.

    Args:
        items: labelled studies, each with a `patient`.
        fraction: share of patients to hold out, rounded to whole patients, at least one.

    Raises:
        InputError: fewer than two patients, or a fraction outside 0 to 1.
    """
    if not 0 < fraction < 1:
        raise InputError(f"val_split {fraction}: give the share of patients to hold out, such as 0.2")
    patients = sorted({item["patient"] for item in items}, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    if len(patients) < 2:
        raise InputError(
            f"corrected labels of {len(patients)} patient(s), but a training needs two, to hold one out: "
            "submit more labels first"
        )
    n_held_out = min(max(1, round(fraction * len(patients))), len(patients) - 1)
    held_out = set(patients[:n_held_out])
    training = [item for item in items if item["patient"] not in held_out]
    return training, [item for item in items if item["patient"] in held_out]
