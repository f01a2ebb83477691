"""Intervals and comparisons as lines: each is what the bootstrap says of the patients' scores, and none is missing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.studies import made_up_lines, matching, of_patients
from tofgan_monai.metrics.bootstrap import jackknife_interval, mean_interval, paired_difference
from tofgan_monai.study.data import as_results
from tofgan_monai.study.statistics import statistics


@pytest.fixture(scope="module")
def lines():
    return made_up_lines()


def test_every_test_mean_has_its_interval(lines):
    keys = ("of", "model", "cohort", "arm", "n_training", "measure")
    found = [tuple(line.get(key) for key in keys) for line in matching(lines, experiment="interval")]
    assert len(found) == len(set(found)) == 2 * (9 * 2 + 2 * 2 + 3 * 3)  # sets and sites, thresholds, arms and counts
    (line,) = matching(lines, experiment="interval", of="table2", model="DCGAN", cohort="B", measure="hd95_mm")
    scores = of_patients(lines, "hd95_mm", experiment="table2", model="DCGAN", cohort="B", split="test")
    interval = mean_interval(scores)
    assert [line[key] for key in ("value", "low", "high")] == pytest.approx(
        [interval.value, interval.low, interval.high], abs=1e-6
    )
    assert line["n"] == 10 and line["seeds"] == [0, 1] and line["commit"]


def test_every_comparison_of_the_report_is_a_line(lines):
    dsc = matching(lines, experiment="comparison", measure="dsc")
    numbers = {about: len(matching(dsc, about=about)) for about in ("real", "GANs", "procedural", "transfer")}
    assert numbers == {"real": 2 + 8 * 2, "GANs": 2, "procedural": 2, "transfer": 3 * 3}
    (line,) = matching(dsc, about="GANs", second="DCGAN")
    a, b = (of_patients(lines, experiment="table2", model=m, cohort="A", split="test") for m in ("WGAN-GP", "DCGAN"))
    paired = paired_difference(a, b)
    assert [line[key] for key in ("value", "low", "high", "p")] == pytest.approx(
        [paired.value, paired.low, paired.high, paired.p], abs=1e-6
    )
    assert line["all_levels"].items() >= {"draws": 1, "seeds": 2, "patients": 10}.items()


def test_distances_are_compared_patient_by_patient(lines):
    (line,) = matching(lines, experiment="comparison", about="distance", second="procedural")
    interval = jackknife_interval(24.125 - 40, np.full(3, 24.125 - 40))
    assert [line[key] for key in ("value", "low", "high", "n")] == [interval.value, interval.low, interval.high, 3]


def test_other_patients_are_not_compared(lines):
    fewer = [line for line in lines if not (line.get("model") == "DCGAN" and str(line.get("patient")) == "test-03")]
    fewer = [line for line in fewer if line["experiment"] not in ("interval", "comparison")]
    compared = [line for line in statistics(as_results(fewer)) if line["experiment"] == "comparison"]
    pairs = [(line["first"], line["second"]) for line in compared if line["measure"] == "dsc"]
    assert pairs and not any("DCGAN" in pair for pair in pairs)
