"""Functions that score predicted vessel labels against the patients' true labels, and write the scores to files.

The files are results.jsonl and a CSV summary; see `tofgan_monai.segmentation.results`. DSC is the Dice similarity
coefficient. A head is the volume of one scan.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from nibabel.affines import voxel_sizes

from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.calibre import dsc_by_calibre
from tofgan_monai.metrics.segmentation.distances import average_hausdorff_mm, average_surface_distance_mm
from tofgan_monai.metrics.segmentation.overlap import Overlap, Volume, overlap, precision_and_recall, spacing_of
from tofgan_monai.metrics.segmentation.threshold_baseline import ThresholdBaseline, best_threshold, dice_at
from tofgan_monai.metrics.segmentation.topology import betti_errors, cl_dice
from tofgan_monai.segmentation.error_maps import error_classes, save_error_map
from tofgan_monai.segmentation.progress import Progress
from tofgan_monai.segmentation.results import BASELINE_MODEL, result_lines, summaries, write_results
from tofgan_monai.volumes.cohort import read_cohort
from tofgan_monai.volumes.reading import IMAGE, LABEL, read_scan
from tofgan_monai.volumes.writing import write_label

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
    """Scores a segmentation by one intensity threshold, a baseline for networks; writes the scores to results.jsonl.

    All scans get the same threshold, the one with the best DSC.

    Args:
        dataset_dir: the prepared folder, whose scans all have labels.
        output: the path of results.jsonl; see `write_results`.
        model: the name of this baseline in tables.
        cohort: the name of the cohort, such as "A"; it must not be a path.
        split: the split whose heads are scored.
        chosen_on: the split on whose heads the threshold is chosen, such as "validation". With None, the threshold is
            chosen on the scored heads themselves (see `best_threshold`), which makes the baseline look better.

    Returns:
        The threshold, with the DSC on the heads on which the threshold was chosen.

    Raises:
        InputError: a split does not exist, a scan has no label, or a name looks like a path.
    """
    result_lines([], model=model, cohort=cohort, split=split)
    items = read_cohort(dataset_dir, split, labelled=True)
    choosing = read_cohort(dataset_dir, chosen_on, labelled=True) if chosen_on else items
    read = lru_cache(maxsize=1)(lambda index: read_scan(choosing[index], (IMAGE, LABEL)))
    loaders = ([partial(_voxels, read, index, key) for index in range(len(choosing))] for key in (IMAGE, LABEL))
    baseline = best_threshold(*loaders)
    scores, more = [], []
    for item in items:
        image, label = read_scan(item, (IMAGE, LABEL)).values()
        prediction, truth = image.voxels >= baseline.threshold, label.voxels > 0
        spacing_mm = voxel_sizes(label.affine).tolist()
        scores.append(overlap(prediction, truth, spacing_mm=spacing_mm))
        more.append(_further_scores(prediction, truth, spacing_mm))
    write_results(output, result_lines(scores, model=model, cohort=cohort, split=split, more=more))
    return baseline


def _voxels(read: Callable, index: int, key: str) -> np.ndarray:
    return read(index)[key].voxels


class ResultsWriter:
    """Ignite handler that scores whole volumes during an evaluation, and writes results.jsonl and a CSV at the end.

    The evaluator's output must be a list of dictionaries (decollated). Each dictionary holds `pred`, the binary
    prediction on the label's grid (after Invertd and AsDiscrete), and `label`, the original label as a MetaTensor, both
    (1, X, Y, Z). The scans must come in the order of the cohort, without shuffling. A dictionary may also hold
    `probability`, a MetaTensor on the label's grid (a copy of `pred` before AsDiscrete). The results then contain the
    DSC at several thresholds of the probability.

    Args:
        path: the path of results.jsonl; see `write_results`.
        model: the name of the model in tables.
        cohort: the name of the cohort, such as "A"; it must not be a path.
        split: the name of the split.
        error_maps: the folder for error maps of the first `n_error_maps` scans, each as a PNG and as a label (.nii.gz,
            see `error_classes`). For error maps, each dictionary must also hold `image` on the label's grid.
        n_error_maps: the number of error maps.
        progress: the `Progress` that the evaluator reads its items from, if a stopped evaluation shall be continued.

    Raises:
        InputError: a name looks like a path, or a prediction cannot be scored (see `overlap`).
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
        progress: Progress | None = None,
    ) -> None:
        self.path = Path(path)
        self.described: dict[str, Any] = {"model": model, "cohort": cohort, "split": split}
        result_lines([], **self.described)  # refuses a wrong name now, not after hours of inference
        self.error_maps = Path(error_maps) if error_maps else None
        self.n_error_maps = n_error_maps
        self.progress = progress
        self.scores: list[Overlap] = []
        self.more: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Adds this handler to the evaluator; it then scores each iteration and writes the results at the end."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.score)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        """Deletes the scores of an earlier run; if `progress` is given, loads the scores that a stopped run left."""
        done = []
        if self.progress:
            self.progress.start()
            done = [line["figures"] for line in self.progress.done]
        self.scores = [Overlap(**figures["overlap"]) for figures in done]
        self.more = [figures["more"] for figures in done]

    def score(self, engine: Engine) -> None:
        """Scores the predictions of one iteration.

        Raises:
            InputError: a label has no spacing, or a prediction cannot be scored.
        """
        for output in engine.state.output:  # type: ignore[union-attr]
            prediction, truth = output["pred"], output["label"]
            spacing_mm = spacing_of(truth)
            if spacing_mm is None:
                raise InputError("the evaluator's label has no spacing; read the label with ReadScand, as a MetaTensor")
            if self.error_maps and len(self.scores) < self.n_error_maps:
                self._draw(output, self.error_maps)
            fields = {**_further_scores(prediction[0], truth[0], spacing_mm), **self._by_threshold(output)}
            self.scores.append(overlap(prediction[0], truth[0], spacing_mm=spacing_mm))
            self.more.append(fields)
            if self.progress:
                self.progress.add({"overlap": asdict(self.scores[-1]), "more": fields})

    def write(self, engine: Engine) -> None:
        """Writes results.jsonl and the CSV, and logs the mean scores."""
        lines = result_lines(self.scores, **self.described, more=self.more)
        write_results(self.path, lines)
        if self.progress:
            self.progress.finish()
        for (model, cohort, split), (dsc, distance) in summaries(lines).items():
            figures = (dsc.mean, distance.mean, dsc.n, dsc.n_empty)
            logger.info("%s, %s %s: DSC %.3f, 95HD %.2f mm, n %d, empty %d", model, cohort, split, *figures)

    @property
    def _patient(self) -> str:
        return f"{self.described['split']}-{len(self.scores):02d}"

    def _by_threshold(self, output: dict[str, Any]) -> dict[str, list[float]]:
        if "probability" not in output:
            return {}
        probability, truth = output["probability"], output["label"]
        if not _same_geometry(probability, truth):
            problem = "the results have no dsc_at, because the grids of probability and label differ"
            logger.warning("%s: %s; copy the probability after Invertd", self._patient, problem)
            return {}
        curve = dice_at(probability[0].detach().cpu().numpy(), truth[0].detach().cpu().numpy())
        return {"dsc_at": [round(dsc, 4) for dsc in curve]}

    def _draw(self, output: dict[str, Any], folder: Path) -> None:
        words = [word for word in (self.described["model"], self.described["cohort"], self._patient) if word]
        name = "_".join("".join(letter if letter.isalnum() else "-" for letter in word) for word in words)
        if not _same_geometry(output["image"], output["label"]):
            problem = "no error map is written, because the grids of image and label differ"
            logger.warning("%s: %s; add the image to the keys of Invertd", name, problem)
            return
        image, prediction, truth = (np.asarray(output[key][0].detach().cpu()) for key in ("image", "pred", "label"))
        affine = np.asarray(output["label"].affine.cpu())
        path, title = folder / f"{name}.png", ", ".join(words)
        save_error_map(path, image, prediction=prediction, truth=truth, affine=affine, title=title)
        write_label(error_classes(prediction, truth), path.with_suffix(".nii.gz"), affine=affine)


def _further_scores(prediction: Volume, truth: Volume, spacing_mm: Sequence[float]) -> dict[str, Any]:
    small, large = (None if dsc is None else round(dsc, 5) for dsc in dsc_by_calibre(prediction, truth, spacing_mm))
    precision, recall = precision_and_recall(prediction, truth)
    return {
        "precision": round(precision, 5),
        "recall": round(recall, 5),
        "dsc_small": small,
        "dsc_large": large,
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
