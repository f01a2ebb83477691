"""What the report of a synthesis shows, on made-up results."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from tests.helpers.pages import Page
from tofgan_monai import StackWriter
from tofgan_monai.files import write_json_lines
from tofgan_monai.metrics.segmentation.overlap import Overlap
from tofgan_monai.report.page import write_report
from tofgan_monai.segmentation.error_maps import save_error_map
from tofgan_monai.segmentation.results import result_lines, write_results
from tofgan_monai.study.synthesis.settings import completed, read_preset
from tofgan_monai.study.synthesis.steps import app
from tofgan_monai.volumes.cohort import write_cohort

NETWORKS = ("real", "synthetic")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a synthesis whose steps before the report are done, and where its steps run."""
    keys = ("subject", "patient", "image", "label")
    items = [{key: f"sub-{n}" for key in keys} for n in range(4)]
    cohort = write_cohort(tmp_path, {"training": items[:1], "validation": items[1:2], "test": items[2:]})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(completed(read_preset("quick"), cohort)), "utf-8")
    volume = np.random.default_rng(0).random((8, 8, 4))
    scores = [Overlap(0.8, 2.0, ""), Overlap(0.7, 3.0, "")]
    for name in NETWORKS:
        write_json_lines(tmp_path / "unets" / name / "0" / "losses.jsonl", [{"epoch": 1, "loss": 0.5}])
        lines = result_lines(scores, model=name, cohort="A", split="test")
        write_results(tmp_path / "unets" / name / "0" / "test_A.jsonl", lines)
        for n in range(2):
            path = tmp_path / "error_maps" / f"{name}_A_test-0{n}.png"
            save_error_map(path, volume, prediction=volume > 0.7, truth=volume > 0.8)
        with StackWriter(tmp_path / "pairs" / f"{name}.npy", 2, {"kind": name}) as stack:
            stack.append(np.ones((2, 2, 96, 96)))
    write_json_lines(tmp_path / "gans" / "synthetic" / "losses.jsonl", [{"epoch": 1, "critic_loss": 1.0}])
    write_results(
        tmp_path / "threshold" / "test_A.jsonl", result_lines(scores, model="threshold", cohort="A", split="test")
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_page_shows_the_error_maps_of_both_networks_patient_by_patient(folder):
    for _ in range(2):  # links are made anew
        ran = CliRunner().invoke(app, ["gather", "report"])
        assert ran.exit_code == 0, ran.exception
    page = Page(write_report("report"))
    captions = [f"U-Net on {name} pairs, test-0{n}" for n in range(2) for name in NETWORKS]
    places = [page.text.index(caption) for caption in captions]
    assert places == sorted(places) and "No error maps" not in page.text
