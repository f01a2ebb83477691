"""Computes the numbers in the sentences of a study's page. The sentences are in report/templates/study/words.txt.

"The paper" is Kossen et al. 2021. A training set is the data of a U-Net: real pairs, the pairs of a GAN, procedural
pairs (from public simulated heads, made without patients), or real pairs with one of these. The chosen GAN is the GAN
whose pairs gave the U-Nets the best DSC on validation patients.
"""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import Any

import numpy as np
import yaml

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.errors import InputError
from tofgan_monai.metrics.segmentation.threshold_baseline import PROBABILITIES
from tofgan_monai.report import paper
from tofgan_monai.report.rendering import Sentences
from tofgan_monai.report.study.tables import ARMS
from tofgan_monai.segmentation.results import Line
from tofgan_monai.study.data import BASELINES, StudyResults
from tofgan_monai.study.plan import PROCEDURAL


def sentences(results: StudyResults) -> Sentences:
    """Returns the sentences of a study's page: introduction, findings, methods, captions and notes of tables."""
    return Sentences(
        "study/words.txt",
        results=results,
        settings=results.settings,
        paper=paper,
        arms=ARMS,
        simulated=[site for site in "AB" if results.is_simulated(site)],
        widths=generator_widths(results),
        patches_seen=patches_seen(results),
        found=findings(results),
        thresholds=thresholds(results),
    )


def introduction(results: StudyResults) -> str:
    """Returns the first paragraph of a study's page: the kind and number of patients, the scale and the run time."""
    return " ".join(sentences(results)["introduction"])


def generator_widths(results: StudyResults) -> list[int]:
    """List of the widths (channels) of the GANs' generators, in the order of the GANs.

    The list has only one width if the study trained all generators with this width. It is empty if a width is not
    known.
    """
    settings = results.settings
    if settings["retrain"]:
        return [settings["gan_width"]] if settings["gan_width"] else []
    try:
        configs = [bundle_path(bundle) / "configs" / "inference.yaml" for bundle in settings["gans"].values()]
        return [int(yaml.safe_load(config.read_text(encoding="utf-8"))["width"]) for config in configs]
    except (InputError, OSError, yaml.YAMLError, KeyError, TypeError):
        return []


def patches_seen(results: StudyResults) -> int | None:
    """Returns the number of patches that the training of one U-Net of Table 2 used, repeated patches included.

    The number is computed from the options of the training, or from its recorded losses. It is None if neither holds
    what is needed.
    """
    tuned = next((line["chosen"] for line in results.lines("tuning", model="real")), "")
    words = shlex.split(f"{results.settings['unet_train']} {tuned}".replace("=", " "))
    options = {word: value for word, value in pairwise(words) if word.startswith("--")}
    try:
        return int(options["--pairs_per_epoch"]) * int(options["--max_epochs"])
    except (KeyError, ValueError):
        pass
    courses = [line["epochs"] for line in results.lines("losses", model="U-Net on real")]
    try:
        return int(courses[-1][-1]["iteration"]) * int(options["--batch_size"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def findings(results: StudyResults) -> dict[str, Any]:
    """Dict from the name of a finding to its numbers; the value is None or empty if the study did not measure it.

    Returns:
        real: the interval of the test DSC of U-Nets trained on real pairs, on site A.
        thresholds: (split on which the single threshold was chosen, its DSC, comparison with real pairs).
        alone: (DSC of U-Nets trained on the chosen GAN's pairs alone, this DSC over the DSC of real pairs).
        rivals: (site, DSC of the chosen GAN, DSC of procedural pairs, comparison of both).
        transfer: comparisons of pre-trained U-Nets with U-Nets from scratch, for the fewest patients of site B.
    """

    def dsc(name: str, site: str = "A") -> float | None:
        """Returns the mean test DSC of U-Nets trained on the set `name`; None if it was not measured."""
        scores = results.table2.get((name, site, "test"))
        return scores.mean("dsc") if scores else None

    def differences(**wanted: Any) -> list[Line]:
        """Returns the lines that compare DSC values and have the given values."""
        return results.lines("comparison", measure="dsc", **wanted)

    real, best = dsc("real"), dsc(results.best_gan)
    k = next(iter(results.counts), None)
    return {
        "real": next(iter(results.lines("interval", of="table2", model="real", cohort="A", measure="dsc")), None),
        "thresholds": [
            (chosen_on, results.thresholds[chosen_on, "A"].mean("dsc"), line)
            for chosen_on, model in BASELINES.items()
            for line in differences(about="real", first="real", second=model)
        ],
        "alone": (best, best / real) if real and best is not None else None,
        "rivals": [
            (site, dsc(line["first"], site), dsc(line["second"], site), line)
            for site in "AB"
            for line in differences(about=PROCEDURAL, cohort=site)
        ],
        "transfer": differences(about="transfer", n_training=k, first="pretrained", second="scratch"),
    }


def thresholds(results: StudyResults) -> list[tuple[str, float, float, float]]:
    """List of the probability thresholds with the best DSC on validation patients, for two training sets.

    The training sets are the real pairs and the chosen GAN's pairs. Each entry is (training set, threshold, test DSC at
    this threshold, test DSC at 0.5).
    """
    found = []
    for name in dict.fromkeys(("real", results.best_gan)):
        scores = [results.table2.get((name, "A", split)) for split in ("validation", "test")]
        validation, test = (one.threshold_curve() if one else None for one in scores)
        if validation is not None and test is not None:
            at, half = int(np.argmax(validation)), PROBABILITIES.index(0.5)
            found.append((name, PROBABILITIES[at], float(test[at]), float(test[half])))
    return found
