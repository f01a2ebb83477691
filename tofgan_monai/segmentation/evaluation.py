"""Scores of predicted volumes against the patients' own labels, into results.jsonl and CSV."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.calibre import dsc_by_calibre
from tofgan_monai.metrics.segmentation.distances import average_hausdorff_mm, average_surface_distance_mm
from tofgan_monai.metrics.segmentation.overlap import Overlap, overlap, spacing_of
from tofgan_monai.metrics.segmentation.threshold_baseline import ThresholdBaseline, best_threshold, dice_at
from tofgan_monai.metrics.segmentation.topology import betti_errors, cl_dice
from tofgan_monai.segmentation.error_maps import save_error_map
from tofgan_monai.segmentation.results import BASELINE_MODEL, result_lines, summaries, write_results
from tofgan_monai.volumes.cohort import read_cohort

logger = logging.getLogger(__name__)
TOLERANCE_MM = 1e-2


def score_threshold(
    dataset_dir: str | os.PathLike,
    *,
    output: str | os.PathLike,
    model: str = BASELINE_MODEL,
    cohort: str = "",
    split: str = "test",
    chosen_on: str | None = None,
) -> ThresholdBaseline:
    """Scores the best single intensity threshold of a prepared cohort, as the baseline row of a split's results.

    Args:
        dataset_dir: holds a cohort.json whose patients have labels.
        output: a results.jsonl; see `write_results`.
        model: the row's name.
        cohort: whose patients these are, e.g. "A"; no path.
        split: the heads that are scored.
        chosen_on: the split on whose heads the threshold is chosen, e.g. "validation", as a network's would be. By
            default the scored heads themselves (see `best_threshold`), so the row flatters the baseline.

    Returns:
        The threshold, with its DSC on the heads that it was chosen on.

    Raises:
        InputError: no such split, patients without a label, a name that looks like a path.
    """
    result_lines([], model=model, cohort=cohort, split=split)
    items = read_cohort(dataset_dir, split, labelled=True)
    choosing = read_cohort(dataset_dir, chosen_on, labelled=True) if chosen_on else items
    baseline = best_threshold(*([_loader(item[key]) for item in choosing] for key in ("image", "label")))
    scores, more = [], []
    for item in items:
        spacing_mm = _spacing_mm(nibabel.load(item["label"]))
        prediction, truth = _loader(item["image"])() >= baseline.threshold, _loader(item["label"])() > 0
        scores.append(overlap(prediction, truth, spacing_mm=spacing_mm))
        more.append(_further_scores(prediction, truth, spacing_mm))
    write_results(output, result_lines(scores, model=model, cohort=cohort, split=split, more=more))
    return baseline


class ResultsWriter:
    """Ignite handler that scores an evaluator's whole volumes and writes results.jsonl and CSV when it has completed.

    The evaluator's output is a list of dictionaries (decollated) with `pred`, binary and in the label's geometry
    (Invertd, AsDiscrete), and `label`, the original one as a MetaTensor, both (1, X, Y, Z); patients come in the
    cohort's order (no shuffling). Where it has `probability` too, a MetaTensor in the label's geometry (a copy of
    `pred` before AsDiscrete), the lines also say how the DSC depends on the threshold.

    Args:
        path: a results.jsonl; see `write_results`.
        model: what is evaluated, as it shall stand in tables.
        cohort: whose patients these are, e.g. "A"; no path.
        split: the split's name.
        error_maps: a folder for PNG error maps of the first `n_error_maps` patients; needs `image` in the label's
            geometry.
        n_error_maps: how many of them.

    Raises:
        InputError: a name that looks like a path; see `overlap`.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        model: str,
        cohort: str = "",
        split: str = "test",
        error_maps: str | os.PathLike | None = None,
        n_error_maps: int = 2,
    ) -> None:
        self.path = Path(path)
        self.described = {"model": model, "cohort": cohort, "split": split}
        # A name that is refused shall be refused before the hours of inference.
        result_lines([], model=model, cohort=cohort, split=split)
        self.error_maps = Path(error_maps) if error_maps else None
        self.n_error_maps = n_error_maps
        self.scores: list[Overlap] = []
        self.more: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Hooks the handler to an evaluator."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.score)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        """Forgets the patients of an earlier run."""
        self.scores, self.more = [], []

    def score(self, engine: Engine) -> None:
        """Scores the patients of one iteration."""
        for output in engine.state.output:  # type: ignore[union-attr]
            prediction, truth = output["pred"], output["label"]
            spacing_mm = spacing_of(truth)
            if spacing_mm is None:
                raise InputError(
                    "the evaluator's label is no MetaTensor: load it with LoadImaged, its spacing is needed"
                )
            if self.error_maps and len(self.scores) < self.n_error_maps:
                self._draw(output)
            fields = {**_further_scores(prediction[0], truth[0], spacing_mm), **self._by_threshold(output)}
            self.scores.append(overlap(prediction[0], truth[0], spacing_mm=spacing_mm))
            self.more.append(fields)

    def write(self, engine: Engine) -> None:
        """Writes results.jsonl and the CSV, and logs the means."""
        lines = result_lines(self.scores, **self.described, more=self.more)
        write_results(self.path, lines)
        for (model, cohort, split), (dsc, distance) in summaries(lines).items():
            logger.info(
                "%s, %s %s: DSC %.3f, 95HD %.2f mm, n %d, empty %d",
                model,
                cohort,
                split,
                dsc.mean,
                distance.mean,
                dsc.n,
                dsc.n_empty,
            )

    def _by_threshold(self, output: dict[str, Any]) -> dict[str, list[float]]:
        if "probability" not in output:
            return {}
        probability, truth = output["probability"], output["label"]
        if not _same_geometry(probability, truth):
            logger.warning(
                "%s-%02d: no dsc_at, as probability and label differ in geometry; copy the probability after Invertd",
                self.described["split"],
                len(self.scores),
            )
            return {}
        curve = dice_at(probability[0].detach().cpu().numpy(), truth[0].detach().cpu().numpy())
        return {"dsc_at": [round(dsc, 4) for dsc in curve]}

    def _draw(self, output: dict[str, Any]) -> None:
        image, prediction, truth = (output[key][0] for key in ("image", "pred", "label"))
        patient = f"{self.described['split']}-{len(self.scores):02d}"
        words = [self.described["model"], self.described["cohort"], patient]
        name = "_".join("".join(letter if letter.isalnum() else "-" for letter in word) for word in words if word)
        affine = np.asarray(output["label"].affine.cpu())
        if not _same_geometry(output["image"], output["label"]):
            logger.warning("%s: no error map, as image and label differ in geometry; invert the image too", name)
            return
        arrays = [np.asarray(volume.detach().cpu()) for volume in (image, prediction, truth)]
        save_error_map(
            self.error_maps / f"{name}.png",  # type: ignore[operator]
            arrays[0],
            prediction=arrays[1],
            truth=arrays[2],
            affine=affine,
            title=", ".join(word for word in words if word),
        )


def _further_scores(
    prediction: np.ndarray | torch.Tensor, truth: np.ndarray | torch.Tensor, spacing_mm: Sequence[float]
) -> dict[str, Any]:
    small, large = dsc_by_calibre(prediction, truth, spacing_mm)
    return {
        "dsc_small": None if small is None else round(small, 5),
        "dsc_large": None if large is None else round(large, 5),
        "cl_dice": round(cl_dice(prediction, truth), 5),
        "betti_errors": list(betti_errors(prediction, truth)),
        "asd_mm": round(average_surface_distance_mm(prediction, truth, spacing_mm=spacing_mm), 4),
        "average_hausdorff_mm": round(average_hausdorff_mm(prediction, truth, spacing_mm=spacing_mm), 4),
    }


def _same_geometry(volume: torch.Tensor, truth: MetaTensor) -> bool:
    return (
        isinstance(volume, MetaTensor)
        and volume.shape == truth.shape
        and np.allclose(volume.affine.cpu(), truth.affine.cpu(), atol=TOLERANCE_MM)
    )


def _loader(path: str) -> Callable[[], np.ndarray]:
    return lambda: _volume(nibabel.load(path))


def _volume(image: Any) -> np.ndarray:
    array = np.asanyarray(image.dataobj)
    return array.reshape(array.shape[:3]) if array.size == np.prod(array.shape[:3]) else array


def _spacing_mm(image: Any) -> list[float]:
    return np.linalg.norm(image.affine[:3, :3], axis=0).tolist()
