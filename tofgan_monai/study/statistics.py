"""Computes the statistics of a study as lines of results.jsonl: intervals of means, and paired comparisons.

The report shows these lines and computes no statistics. Each patient's scores are first averaged over seeds (training
runs) and draws (random sets of training patients of site B). All intervals are 95% intervals. An arm of the transfer to
site B says where the U-Nets start: "scratch", "pretrained" (on the chosen GAN's pairs) or "procedural" (on pairs made
without patients).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from tofgan_monai.metrics.bootstrap import (
    hierarchical_difference,
    jackknife_interval,
    mean_interval,
    paired_difference,
)
from tofgan_monai.segmentation.results import Line
from tofgan_monai.study import plan
from tofgan_monai.study.data import BASELINES, Scores, StudyResults

COMPARED = ("dsc", "hd95_mm")
ARMS = (("pretrained", "scratch"), ("pretrained", plan.PROCEDURAL), (plan.PROCEDURAL, "scratch"))


def statistics(results: StudyResults) -> Iterator[Line]:
    """Yields the lines of a study's statistics: intervals of means over test patients, then comparisons."""
    seeds = {"seeds": results.settings["seeds"]}
    for line in [*_intervals(results), *_comparisons(results), *_distances(results)]:
        yield {**line, **seeds}


def _intervals(results: StudyResults) -> Iterator[Line]:
    """Yields lines with the mean over test patients and its interval, for each set of scores."""
    for (name, site, split), scores in results.table2.items():
        if split == "test":
            yield from _interval(scores, of="table2", model=name, cohort=site)
    for (chosen_on, site), scores in results.thresholds.items():
        yield from _interval(scores, of="threshold", model=BASELINES[chosen_on], cohort=site)
    for (arm, k, split), scores in results.transfer.items():
        if split == "test":
            yield from _interval(scores, of="transfer", arm=arm, n_training=k, cohort="B")


def _interval(scores: Scores, **names: Any) -> Iterator[Line]:
    """Yields a line with mean and interval for each score in `COMPARED`; `names` are added to the lines."""
    for score in COMPARED:
        interval = mean_interval(scores.runs(score))
        yield {"experiment": "interval", **names, "measure": score, **_rounded(vars(interval))}


def _comparisons(results: StudyResults) -> Iterator[Line]:
    """Yields the lines of all comparisons between training sets, thresholds and arms, paired by test patient."""

    def of(name: str, site: str) -> Scores | None:
        """Returns the scores of U-Nets trained on the set `name` on a site's test patients; None if there are none."""
        return results.table2.get((name, site, "test"))

    best, settings = results.best_gan, results.settings
    others = [name for name in plan.training_sets(settings) if name != "real"]
    for chosen_on, name in BASELINES.items():
        threshold = results.thresholds.get((chosen_on, "A"))
        yield from _comparison(of("real", "A"), threshold, about="real", first="real", second=name, cohort="A")
    for site, name in product("AB", others):
        yield from _comparison(of(name, site), of("real", site), about="real", first=name, second="real", cohort=site)
    for name in settings["gans"]:
        if name != best:
            yield from _comparison(of(best, "A"), of(name, "A"), about="GANs", first=best, second=name, cohort="A")
    rival = plan.PROCEDURAL
    for site in "AB":
        yield from _comparison(of(best, site), of(rival, site), about=rival, first=best, second=rival, cohort=site)
    for k, (first, second) in product(results.counts, ARMS):
        pair = (results.transfer.get((arm, k, "test")) for arm in (first, second))
        yield from _comparison(*pair, about="transfer", first=first, second=second, cohort="B", n_training=k)


def _comparison(one: Scores | None, other: Scores | None, **names: Any) -> Iterator[Line]:
    """Yields a line for each score in `COMPARED` with the difference `one` minus `other`, paired by patient.

    No line comes if one of the two is None or if they are scores of different patients. `names` are added to the
    lines. If both have the same numbers of draws and seeds, the key `all_levels` holds an interval of the DSC or 95HD
    difference over draws, seeds and patients.
    """
    if one is None or other is None or one.patients != other.patients:
        return
    for score in COMPARED:
        paired = paired_difference(one.runs(score), other.runs(score))
        line = {"experiment": "comparison", **names, "measure": score, **_rounded(vars(paired))}
        if one.values[score].shape == other.values[score].shape:
            levels = hierarchical_difference(one.values[score] - other.values[score])
            line["all_levels"] = {
                **dict(zip(("draws", "seeds", "patients"), one.values[score].shape, strict=True)),
                **_rounded({"low": levels.low, "high": levels.high}),
            }
        yield line


def _distances(results: StudyResults) -> Iterator[Line]:
    """Yields a line for each other synthetic stack: the chosen GAN's Frechet distance minus this stack's distance.

    The intervals are jackknife intervals over the patients of the real stack.
    """
    lines = {line["stack"]: line for line in results.lines("table1") if "without_each" in line}
    best = lines.pop(results.best_gan, None)
    for name in plan.synthetic_sets(results.settings):
        if best is not None and name in lines:
            other = lines[name]
            without = np.subtract(best["without_each"], other["without_each"])
            interval = jackknife_interval(best["value"] - other["value"], without)
            names = {"about": "distance", "first": best["stack"], "second": name, "cohort": "A"}
            yield {"experiment": "comparison", **names, "measure": best["measure"], **_rounded(vars(interval))}


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Returns a dict whose floats are rounded to six decimals."""
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}
