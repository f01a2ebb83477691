"""Defines the app that a MONAI Label server runs.

The app applies MONAI Label's tasks for bundles to a copy of the vessel segmentation bundle. A study is the TOF-MRA
image of one examination. The client is the viewer that sends requests to the server, such as 3D Slicer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
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
from tofgan_monai.label_app.working_copy import BUNDLE, place_app, require_no_hash, split_by_patient, with_patients
from tofgan_monai.training.weights import fit_weights, load_weights
from tofgan_monai.volumes.transforms.small_pieces import DropSmallPiecesd

EPISTEMIC_DROPOUT = 0.2


class VesselInfer(BundleInferTask):
    """MONAI Label task that segments a study with the bundle's network; weights of another network are refused."""

    def __init__(self, path: str, conf: dict[str, str], **options: Any) -> None:
        super().__init__(path, conf, load_strict=True, **options)
        self.labels = {"vessel": 1}  # channel 0 of the network's output becomes value 1 in the label
        self.dimension = 3  # the client gets a volume, even if the network processes 2D windows

    def writer(self, data: dict[str, Any], extension: str | None = None, dtype: Any = np.uint8) -> tuple[Any, Any]:
        """Writes the label of a study as uint8; if the study is a DICOM folder, the default format is NIfTI."""
        if os.path.isdir(data["image_path"]) and not data.get("result_extension"):
            extension = extension or ".nii.gz"
        return super().writer(data, extension, dtype)

    def _get_network(self, device: str, data: Any) -> Any:
        """Loads the network as MONAI Label does; if the weights do not fit, the error names the file and the remedy."""
        try:
            return super()._get_network(device, data)
        except RuntimeError:
            fit_weights(self.network, load_weights(self.get_path()), self.get_path())  # raises an InputError
            raise


class VesselTrain(BundleTrainTask):
    """MONAI Label task that trains the network further on corrected labels, and holds some of the patients out."""

    def _fetch_datalist(self, request: Mapping[str, Any], datastore: Datastore) -> list[dict[str, str]]:
        """Returns the labelled studies as dicts with the paths of image and label, the subject and the patient."""
        return with_patients(super()._fetch_datalist(request, datastore), datastore.get_image_info)

    def _partition_datalist(self, datalist: list, request: Mapping[str, Any], shuffle: bool = False) -> Any:
        """Splits labelled studies into a list for training and a list of held-out patients."""
        return split_by_patient(datalist, float(request.get("val_split", 0.2)))

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list) -> None:
        """Records which weights the training starts with; adds no handler, as the bundle loads the weights."""
        self.start = model_pytorch if pretrained else ""  # MONAI ignores None

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """Adds the weights to start with to the overrides of the training configuration, and returns the overrides."""
        overrides["pretrained"] = self.start
        return overrides


class VesselApp(MONAILabelApp):
    """MONAI Label app that segments TOF-MRA studies, trains the network and proposes studies to label.

    Args:
        app_dir: the working folder of the app; see `tofgan_monai.label_app.working_copy`.
        studies: folder of the clinic's studies, or the DICOMweb address of its archive.
        conf: options that the server was given by `--conf`.
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
        """Returns a dict from the name of the bundle to its inference task, the only one of this app."""
        return {BUNDLE: VesselInfer(self.bundle, self.conf)}

    def init_trainers(self) -> dict[str, VesselTrain]:
        """Returns a dict from the name of the bundle to its training task, the only one of this app."""
        return {BUNDLE: VesselTrain(self.bundle, self.conf)}

    def init_strategies(self) -> dict[str, Any]:
        """Returns the ways to choose the next study to label: at random, or by the most uncertain prediction."""
        return {"random": Random(), "epistemic": Epistemic()}

    def init_scoring_methods(self) -> dict[str, EpistemicScoring]:
        """Returns the measure of uncertainty: entropy of three predictions, each with other channels dropped out."""
        uncertain = VesselInfer(
            self.bundle,
            self.conf,
            train_mode=True,
            skip_writer=True,
            dropout=EPISTEMIC_DROPOUT,
            post_filter=[Invertd, AsDiscreted, DropSmallPiecesd],  # probabilities, not labels
        )
        return {"epistemic": EpistemicScoring(uncertain, simulation_size=3)}

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Segments a study as MONAI Label does; the client gets the cause of an error as text."""
        image, known = request["image"], (datastore or self.datastore()).list_images()
        if isinstance(image, str) and image not in known and not os.path.exists(image):
            raise HTTPException(
                404, f"{image}: is none of the {len(known)} studies in {self.studies}; give the name of one of them"
            )
        return _explained(super().infer, request, datastore)

    def batch_infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Segments many studies as MONAI Label does; by default on several GPUs if the computer has them."""
        return super().batch_infer({"multi_gpu": torch.cuda.device_count() > 1, **request}, datastore)

    def next_sample(self, request: dict[str, Any]) -> Any:
        """Chooses the next study to label as MONAI Label does; the client gets the cause of an error as text."""
        return _explained(super().next_sample, request)

    def bundle_path(self, model: str | None) -> str | None:
        """Returns the folder of a model's bundle; an unknown model is an HTTP error before a background task starts."""
        if model and model not in self._infers:
            raise HTTPException(404, f"{model}: no such model; the only model is {BUNDLE}")
        return super().bundle_path(model)


def _explained(task: Callable[..., Any], *args: Any) -> Any:
    """Runs a task of MONAI Label and returns its result; turns exceptions into HTTP errors that show their text."""
    try:
        return task(*args)
    except MONAILabelException as error:
        raise HTTPException(404, error.msg) from error
    except (RuntimeError, InputError) as error:  # MONAI wraps the exceptions of its transforms
        cause = unwrapped(error)
        if isinstance(cause, InputError):
            raise HTTPException(422, str(cause)) from error
        raise
