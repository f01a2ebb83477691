"""The app that a MONAI Label server runs: MONAI Label's tasks for bundles, on a copy of the vessel segmentation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi import HTTPException
from monai.transforms import AsDiscreted, Invertd
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import MONAILabelException
from monailabel.tasks.activelearning.epistemic import Epistemic
from monailabel.tasks.activelearning.random import Random
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring
from monailabel.tasks.train.bundle import BundleTrainTask

from tofgan_monai.errors import InputError, unwrapped
from tofgan_monai.label_app.working_copy import BUNDLE, place_app, require_no_hash, split_by_patient
from tofgan_monai.training.weights import fit_weights, load_weights
from tofgan_monai.volumes.scans import default_patient
from tofgan_monai.volumes.writing import WriteLabeld

EPISTEMIC_DROPOUT = 0.2


class VesselInfer(BundleInferTask):
    """MONAI Label's inference task with our network: it segments a study, and refuses weights of another network."""

    def __init__(self, path: str, conf: dict[str, str], **options: Any) -> None:
        given = {"post_filter": [WriteLabeld], **options}  # MONAI Label writes the label itself
        super().__init__(path, conf, load_strict=True, **given)
        self.labels = {"vessel": 1}  # the network's channel 0 becomes the value 1 of the label
        self.dimension = 3  # of what the client sees; the network itself sees 2D windows

    def writer(self, data: dict[str, Any], extension: str | None = None, dtype: Any = np.uint8) -> tuple[Any, Any]:
        """Writes the label as uint8; a label of a DICOM folder, whose name shows no format, becomes NIfTI."""
        if os.path.isdir(data["image_path"]) and not data.get("result_extension"):
            extension = extension or ".nii.gz"
        return super().writer(data, extension, dtype)

    def _get_network(self, device: str, data: Any) -> Any:
        try:
            return super()._get_network(device, data)
        except RuntimeError:
            fit_weights(self.network, load_weights(self.get_path()), self.get_path())  # names file and remedy
            raise


class VesselTrain(BundleTrainTask):
    """MONAI Label's training task: it fine-tunes the network on corrected labels, and holds some patients out."""

    def _fetch_datalist(self, request: Mapping[str, Any], datastore: Datastore) -> list[dict[str, str]]:
        items = super()._fetch_datalist(request, datastore)
        subjects = [Path(item["image"]).name.split(".")[0] for item in items]
        return [
            {**item, "subject": subject, "patient": default_patient(subject)}
            for item, subject in zip(items, subjects, strict=True)
        ]

    def _partition_datalist(self, datalist: list, request: Mapping[str, Any], shuffle: bool = False) -> Any:
        return split_by_patient(datalist, float(request.get("val_split", 0.2)))

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list) -> None:
        self.start = model_pytorch if pretrained else ""  # MONAI would ignore None

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        overrides["pretrained"] = self.start
        return overrides


class VesselApp(MONAILabelApp):
    """Segmentation, training, batch inference and active learning for TOF-MRA studies.

    Args:
        app_dir: the working folder; see `tofgan_monai.label_app.working_copy`.
        studies: the folder of the clinic's studies.
        conf: the options that the server got by `--conf`.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        require_no_hash(studies)
        self.bundle = str(place_app(app_dir))
        super().__init__(
            app_dir,
            studies,
            conf,
            name="tofgan_monai",
            description="Vessels of the brain in TOF-MRA. For research only.",
            version=version("tofgan-monai"),
        )

    def init_infers(self) -> dict[str, VesselInfer]:
        """The app's only inference task, by the name of its bundle."""
        return {BUNDLE: VesselInfer(self.bundle, self.conf)}

    def init_trainers(self) -> dict[str, VesselTrain]:
        """The app's only training task, by the name of its bundle."""
        return {BUNDLE: VesselTrain(self.bundle, self.conf)}

    def init_strategies(self) -> dict[str, Any]:
        """The ways to choose the next study to label: at random, or where the network is least certain (epistemic)."""
        return {"random": Random(), "epistemic": Epistemic()}

    def init_scoring_methods(self) -> dict[str, EpistemicScoring]:
        """The measure of uncertainty: entropy of several predictions, each with other channels dropped out."""
        uncertain = VesselInfer(
            self.bundle,
            self.conf,
            train_mode=True,
            skip_writer=True,
            dropout=EPISTEMIC_DROPOUT,
            post_filter=[WriteLabeld, Invertd, AsDiscreted],
        )
        return {"epistemic": EpistemicScoring(uncertain, simulation_size=3)}

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Segments a study as MONAI Label does; the client sees the cause of an error."""
        image, known = request["image"], (datastore or self.datastore()).list_images()
        if isinstance(image, str) and image not in known and not os.path.exists(image):
            raise HTTPException(
                404, f"{image}: none of the {len(known)} studies in {self.studies}; give a name from there"
            )
        return _explained(super().infer, request, datastore)

    def batch_infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Segments many studies as MONAI Label does, but on several GPUs only if the machine has them."""
        return super().batch_infer({"multi_gpu": torch.cuda.device_count() > 1, **request}, datastore)

    def next_sample(self, request: dict[str, Any]) -> Any:
        """Chooses the next study as MONAI Label does; the client sees the cause of an error."""
        return _explained(super().next_sample, request)

    def bundle_path(self, model: str | None) -> str | None:
        """The folder of a model's bundle; an unknown model is refused here, before a background task starts."""
        if model and model not in self._infers:
            raise HTTPException(404, f"{model}: no such model; the only one is {BUNDLE}")
        return super().bundle_path(model)


def _explained(task: Callable[..., Any], *args: Any) -> Any:
    """The result of a task; its errors become HTTP errors with their text instead of 'Internal Server Error'."""
    try:
        return task(*args)
    except MONAILabelException as error:
        raise HTTPException(404, error.msg) from error
    except (RuntimeError, InputError) as error:  # MONAI wraps what its transforms raise
        cause = unwrapped(error)
        if isinstance(cause, InputError):
            raise HTTPException(422, str(cause)) from error
        raise
