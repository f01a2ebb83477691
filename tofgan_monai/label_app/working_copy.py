"""Prepares the folder of a MONAI Label app: a copy of the segmentation bundle, whose weights the app may change."""

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
from tofgan_monai.bundle_runs.runs import inference_config, read_configs
from tofgan_monai.errors import InputError
from tofgan_monai.files import require_writable, written_whole
from tofgan_monai.training.weights import start_from
from tofgan_monai.volumes.scans import default_patient

BUNDLE = "tof_mra_vessel_segmentation_3d"
WEIGHTS = Path("models/model.pt")
NEEDS_MASK = "tofgan_monai.HalfUNet"
"""The network that needs a brain mask, which is computed in the copy, as the images in a clinic show the whole head."""

_logger = logging.getLogger(__name__)


def place_app(folder: str | os.PathLike, source: str | os.PathLike = BUNDLE) -> Path:
    """Copies the bundle and `main.py` into an app's folder if they are missing; returns the path of the copied bundle.

    An existing `main.py` is kept, for example that of MONAI Label's own app monaibundle. An existing bundle is kept,
    because its weights may have been trained further.

    Args:
        folder: folder of the app.
        source: name or folder of the bundle to copy: the shipped segmentation bundle, or a bundle derived from it.

    Raises:
        InputError: there is no such bundle, the path of the folder has a `#`, the folder cannot be written to, or the
            weights do not fit the bundle's network.
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
            _write_configs(temporary)
    network = read_configs(bundle, ["inference.json"]).get_parsed_content("network_def")
    start_from(network, bundle / WEIGHTS)
    return bundle


def require_no_hash(folder: str | os.PathLike) -> None:
    """Checks that the absolute path of a folder has no `#`, which MONAI's parser would replace by `::`.

    Raises:
        InputError: the path has a `#`.
    """
    path = os.path.abspath(folder)
    if "#" in path:
        raise InputError(f"{path}: MONAI Label cannot use a path with '#'; rename the folder, or choose another one")


def _write_configs(bundle: Path) -> None:
    """Writes inference.json and train.json into the `configs/` of a bundle; MONAI Label prefers them to the YAML files.

    MONAI Label writes each label itself, so inference.json lacks the transform that writes labels.
    """
    inference, training = inference_config(bundle), read_configs(bundle, ["train.yaml", "monailabel.yaml"])
    if inference["network_def"]["_target_"] == NEEDS_MASK:
        inference["skull_strip"] = "computed"
    if (steps := "postprocessing#transforms") in inference:
        inference[steps] = [step for step in inference[steps] if step["_target_"] != "tofgan_monai.WriteLabeld"]
    for parser, name in ((inference, "inference.json"), (training, "train.json")):
        ConfigParser.export_config_file(parser.get(), os.fspath(bundle / "configs" / name), indent=4)


def training_folder(folder: str | os.PathLike) -> str:
    """Returns a path in `folder` for the output of a new training run; its name is the present time."""
    return os.path.join(folder, f"{datetime.now():%Y%m%d-%H%M%S-%f}")


def take_into_use(
    weights: str | os.PathLike, output_dir: str | os.PathLike, network: nn.Module, measure: Callable[[], float]
) -> bool:
    """Replaces a bundle's weights by a training run's best weights if these are no worse; returns whether it did so.

    The replaced weights are kept in the same folder as `until_TRAINING.pt`, where TRAINING is the name of the training
    run's folder.

    Args:
        weights: file of the weights in use.
        output_dir: output folder of the training run, with its `best.pt`.
        network: the network, into which both weights are loaded one after the other.
        measure: function that returns a score of this network on the held-out patients; higher is better.
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


def with_patients(items: Sequence[Mapping[str, Any]], info: Callable[[str], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns labelled studies, each with the study's name as `subject` and with its `patient`.

    A series of an archive is named by its SeriesInstanceUID, so its PatientID tells the patient; the name of a file
    tells the patient of any other study.

    Args:
        items: labelled studies, each with the path of its `image`.
        info: function that returns what MONAI Label knows about a study, such as its `PatientID`.
    """
    subjects = [Path(Path(item["image"]).name.removesuffix(".gz")).stem for item in items]
    return [
        {**item, "subject": subject, "patient": info(subject).get("PatientID") or default_patient(subject)}
        for item, subject in zip(items, subjects, strict=True)
    ]


def split_by_patient(
    items: Sequence[Mapping[str, Any]], fraction: float
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Splits labelled studies into a list for training and a list of held-out patients; no patient is in both lists.

    The split depends on the names of the patients only, so the same patients always give the same split.

    Args:
        items: labelled studies, each with a `patient`.
        fraction: fraction of the patients to hold out, between 0 and 1; at least one patient is held out, and at least
            one is not.

    Raises:
        InputError: there are fewer than two patients, or the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise InputError(
            f"val_split {fraction}: is not between 0 and 1; give the fraction of patients to hold out, such as 0.2"
        )
    patients = sorted({item["patient"] for item in items}, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    if len(patients) < 2:
        raise InputError(
            f"there are corrected labels of {len(patients)} patient(s), but a training run needs two, to hold one out; "
            "submit labels of more patients first"
        )
    n_held_out = min(max(1, round(fraction * len(patients))), len(patients) - 1)
    held_out = set(patients[:n_held_out])
    training = [item for item in items if item["patient"] not in held_out]
    return training, [item for item in items if item["patient"] in held_out]
