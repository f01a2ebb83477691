"""The page of a study: its figures are those of the results, the paper's figures stand beside them, no path is told."""

# ruff: noqa: RUF001 - the page prints true minus and times signs

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from tests.helpers.pages import Page
from tests.helpers.studies import made_up_lines, matching, of_patients, write_lines, write_study
from tofgan_monai import InputError, study
from tofgan_monai.cli import app
from tofgan_monai.metrics.bootstrap import hierarchical_difference, mean_interval
from tofgan_monai.metrics.segmentation.overlap import Overlap
from tofgan_monai.report.comparison import write_comparison
from tofgan_monai.report.page import write_report
from tofgan_monai.report.study.page import WORKFLOW
from tofgan_monai.segmentation.results import result_lines, write_results
from tofgan_monai.study.data import BASELINES, as_results
from tofgan_monai.study.statistics import statistics


@pytest.fixture(scope="module")
def lines() -> list[dict]:
    return made_up_lines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with its report."""
    folder = write_study(tmp_path_factory.mktemp("study"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(folder / "report.html")


def on_test(model: str, site: str = "A") -> dict:
    """What selects the test scores of a training set."""
    return {"experiment": "table2", "model": model, "cohort": site, "split": "test"}


def test_table_2_has_the_figures_of_the_lines_beside_the_papers(page: Page, lines: list[dict]) -> None:
    row = page.row("WGAN-GP", 13)
    wanted = on_test("WGAN-GP")
    dsc, small, hd95 = (of_patients(lines, score, **wanted) for score in ("dsc", "dsc_small", "hd95_mm"))
    large = [line["dsc_large"] for line in matching(lines, **wanted) if line["dsc_large"] is not None]
    validation = of_patients(lines, **{**wanted, "split": "validation"})
    interval = mean_interval(dsc)
    assert row[0] == "WGAN-GP |chosen on validation" and row[1:3] == [f"{validation.mean():.3f}", "0.82"]
    assert row[3] == f"{dsc.mean():.3f}|{interval.low:.3f} to {interval.high:.3f}|± {dsc.std(ddof=1):.3f}"
    assert row[4:7] == ["0.78", f"{small.mean():.3f}", f"{np.mean(large):.3f}"]
    assert row[8] == "34.64" and row[9].startswith(f"{hd95.mean():.2f}|") and row[10:] == ["33.70", "10 × 2", "0"]


@pytest.mark.parametrize(
    ("label", "published"),
    [
        ("real", [["0.88", "0.89", "29.50", "26.57"], [""] * 4]),
        ("real + DCGAN", [["0.89", "0.90", "30.22", "25.61"]]),
        ("real + WGAN-GP-SN", [["0.89", "0.89", "29.91", "26.51"]]),
        ("WGAN-GP-SN", [["0.85", "0.82", "30.88", "28.97"], ["", "0.88", "", "25.68"]]),
        ("procedural", [[""] * 4, [""] * 4]),
    ],
)
def test_the_papers_table_2_stands_where_it_belongs(page: Page, label: str, published: list[list[str]]) -> None:
    rows = [row for row in page.rows if len(row) == 13 and row[0] == label]
    assert [[row[i] for i in (2, 4, 8, 10)] for row in rows] == published


@pytest.mark.parametrize(
    ("label", "cells"),
    [
        ("DCGAN", ["31.50|30.50 to 33.00", "105.96"]),
        ("WGAN-GP-SN", ["22.75|21.75 to 24.25", "38.05"]),
        ("procedural, made without patients", ["40.00|39.00 to 41.50", ""]),
        ("real pairs of 4 patients of validation: the floor", ["8.25|7.25 to 9.75", ""]),
    ],
)
def test_table_1_has_distances_and_intervals(page: Page, label: str, cells: list[str]) -> None:
    assert page.row(label, 3)[1:] == cells


def test_table_1_is_no_fid(page: Page) -> None:
    for words in ("FD(EfficientNet-Lite0) is no FID", "over the 3 patients", "2,000 images against 2,000"):
        assert words in page.text
    assert "WGAN-GP − WGAN-GP-SN: +1.38 (" in page.text  # 24.125 - 22.75, paired


def test_comparisons_are_paired_by_patient(page: Page, lines: list[dict]) -> None:
    row = next(row for row in page.rows if row[0].startswith("DCGAN − real"))
    difference = of_patients(lines, **on_test("DCGAN")) - of_patients(lines, **on_test("real"))
    assert row[1].startswith(f"{difference.mean():+.3f}".replace("-", "−"))
    assert row[2] == f"{stats.wilcoxon(difference).pvalue:.3f}" and row[-1] == "10"
    assert f"The {2 * sum(len(row) == 7 and ' − ' in row[0] for row in page.rows)} p values" in page.text
    labels = [row[0] for row in page.rows]
    assert labels.count("pre-trained on WGAN-GP − from scratch") == 3  # one, five and fifteen patients
    assert labels.count("WGAN-GP − procedural") == 2  # on site A and on site B


def test_findings_are_computed_from_the_lines(page: Page, lines: list[dict]) -> None:
    real, best = (of_patients(lines, **on_test(model)) for model in ("real", "WGAN-GP"))
    assert f"DSC {real.mean():.3f} (" in page.text and f"{best.mean() / real.mean():.2f} of the DSC" in page.text
    for model in BASELINES.values():
        threshold = of_patients(lines, experiment="threshold", model=model, cohort="A")
        assert f"(DSC {threshold.mean():.3f}): {(real - threshold).mean():+.3f} (" in page.text
    tables = {
        (line["arm"], line["draw"], line["seed"], int(line["patient"][-2:])): line["dsc"]
        for line in matching(lines, experiment="transfer", n_training=1, split="test")
    }
    runs = product(range(3), range(2), range(10))
    differences = [tables["pretrained", *run] - tables["scratch", *run] for run in runs]
    interval = hierarchical_difference(np.reshape(differences, (3, 2, 10)))
    ends = f"{interval.low:+.3f} to {interval.high:+.3f} over 3 draws, 2 seeds and 10 test patients"
    assert f"DSC {np.mean(differences):+.3f} ({ends}); the paper: +0.06" in page.text


def test_the_first_paragraph_tells_scale_and_cost(page: Page) -> None:
    for words in (
        "All patients are simulated heads",
        "16, 4, 10 patients",
        "15, 4, 10 patients",
        "8,000 real pairs of site A and 8,000 pairs of each GAN",
        "width 8 (the paper: 32)",
        "10,000 patches (the paper: 615,000)",
        "of width 16, 12, 12",
        "12 minutes of one core, or 6.0 of two; the budget was 150 minutes",
    ):
        assert words in page.text


def test_calibration_is_that_of_the_mean_curves(page: Page, lines: list[dict]) -> None:
    curve = np.mean([line["dsc_at"] for line in matching(lines, **on_test("real"))], axis=0)
    assert f"threshold 0.40. The test DSC is {curve[7]:.3f} there and {curve[9]:.3f} at 0.50" in page.text


def test_choices_and_costs(page: Page) -> None:
    assert ["lr 0.003 dropout 0.0", "0.825"] in page.rows
    assert "Chosen for real: lr 0.003 dropout 0.0 overlay plain." in page.text
    assert ["train unet", "9", "9.0", "60", "900"] in page.rows
    assert "Commit 0123abc+ (with changes that are not committed)" in page.text


def test_the_page_is_self_contained(page: Page) -> None:
    page.assert_self_contained(5 * 8 + 4)  # pairs; Fig. 3 and 4, calibration, curves


def test_the_workflow_shows_every_rule_of_the_study(page: Page, folder: Path) -> None:
    room = Path(study.__file__).parent
    files = [room / "Snakefile", *room.glob("rules/*.smk")]
    rules = {rule for path in files for rule in re.findall(r"^\s*rule (\w+):", path.read_text("utf-8"), re.MULTILINE)}
    drawing = WORKFLOW.read_text("utf-8")
    assert len(rules) > 15 and set(re.findall("<title>(.*?)</title>", drawing)) == rules - {"all"}
    assert drawing.strip() in page.source and (folder / "figures/figure1.svg").read_text("utf-8") == drawing


def test_no_path_and_no_subject_is_told(folder: Path, tmp_path: Path) -> None:
    lines = made_up_lines(unet_train="--init /home/someone/sub-Miller/x.pt", gans={"DCGAN": "/home/someone/dcgan"})
    written = write_report(write_lines(tmp_path, lines))
    for path in (folder / "report.html", folder / "report.md", written, written.with_suffix(".md")):
        text = path.read_text(encoding="utf-8")
        assert "someone" not in text and "Miller" not in text and str(path.parent) not in text


def test_the_same_study_gives_the_same_bytes(folder: Path) -> None:
    paths = [folder / "report.html", folder / "report.md", *(folder / "figures").iterdir()]
    before = [path.read_bytes() for path in paths]
    write_report(folder)
    assert [path.read_bytes() for path in paths] == before


def test_markdown_has_the_same_tables_and_pictures_that_exist(folder: Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    named = re.findall(r"!\[[^]]*\]\(figures/([^)]+)\)", text)
    assert named == ["figure1.svg", "figure2.png", "calibration.svg", "figure3.svg", "errors.png", "unets.svg"]
    assert all((folder / "figures" / name).is_file() for name in named)
    row = next(row for row in text.splitlines() if row.startswith("| real |"))
    assert "[0.88]" in row and "[26.57]" in row and row.count(" | ") == 8
    assert "| DCGAN | 31.50 (30.50 to 33.00) [105.96] |" in text and "All patients are simulated heads" in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 6
    assert all(len({row.replace("\\|", "").count("|") for row in table}) == 1 for table in tables)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    dropped = ("tuning", "table1", "threshold", "losses", "cost", "interval", "comparison")
    lines = made_up_lines(procedural=0, seeds=[0], transfer={1: 1})
    lines = [line for line in lines if line["experiment"] not in dropped]
    for line in lines:
        for key in ("dsc_at", "dsc_small", "dsc_large"):
            line.pop(key, None)
    lines += statistics(as_results(lines))
    page = Page(write_report(write_lines(tmp_path, lines)))
    for missing in ("No Table 1", "No Fig. 2", "No Fig. 4", "No curve", "No costs", "No training curves"):
        assert missing in page.text
    assert "minutes of one core" not in page.text and "nan" not in page.source
    row = page.row("real", 13)
    assert row[5:7] == ["–", "–"] and row[11] == "10 × 1"
    assert not any("procedural" in row[0] for row in page.rows)
    assert "over 1 draw, 1 seed and 10 test patients" in page.text


def test_settings_alone_make_a_page_and_are_escaped(tmp_path: Path) -> None:
    page = Page(write_report(write_lines(tmp_path, made_up_lines(unet_train="<i>x")[:1])))
    assert "&lt;i&gt;x" in page.source and "<i>" not in page.source
    for missing in ("no findings yet", "No Table 2", "No Fig. 3", "No comparisons", "No choices"):
        assert missing in page.text


def test_a_cohort_of_ones_own_is_not_called_simulated(tmp_path: Path) -> None:
    lines = made_up_lines()
    lines[0]["simulated"] = ["B"]
    page = Page(write_report(write_lines(tmp_path, lines)))
    assert "The patients of site A are a cohort of the user’s own" in page.text
    assert "The patients of site A are not simulated" in page.text and "All patients" not in page.text


def test_lacking_patients_are_named_and_the_old_page_is_kept(tmp_path: Path) -> None:
    lines = made_up_lines()
    lines.remove(next(iter(matching(lines, model="DCGAN", experiment="table2"))))
    write_lines(tmp_path, lines)
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(InputError, match=r"results.jsonl: table2, DCGAN A validation: .*7 lines"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"


def test_another_output_takes_its_figures_along(folder: Path, tmp_path: Path) -> None:
    assert write_report(folder, tmp_path / "page.html") == tmp_path / "page.html"
    assert (tmp_path / "page.md").is_file()
    assert (tmp_path / "figures/errors.png").read_bytes() == (folder / "figures/errors.png").read_bytes()
    with pytest.raises(InputError, match=r"page.md: .*\.html"):
        write_report(folder, tmp_path / "page.md")


def test_two_studies_and_another_run_stand_side_by_side(folder: Path, lines: list[dict], tmp_path: Path) -> None:
    other = write_lines(tmp_path / "other", made_up_lines(seed=1, unet_width=16, title="A <wider> one"))
    run = tmp_path / "run"
    scores = [Overlap(0.9, 2.0, ""), Overlap(0.8, 4.0, "")]
    write_results(run / "results.jsonl", result_lines(scores, model="U-Net on real", cohort="A", split="test"))
    page = Page(write_comparison([folder, other, run], tmp_path / "page.html"))
    assert "A &lt;wider&gt; one" in page.source and "No description" in page.text
    assert page.text.count("All patients are simulated") == 2
    assert ["unet width", "8", "16", "–"] in page.rows
    assert not any(row[0] in ("n synthetic", "title") and row[1] == row[2] == row[3] for row in page.rows)
    real = of_patients(lines, **on_test("real"))
    row = page.row("U-Net on real", 10)
    assert row[1] == f"{real.mean():.3f}|± {real.std(ddof=1):.3f}" and row[3] == "10"
    assert row[7:] == ["0.850|± 0.071", "3.00|± 1.41", "2"]
    assert page.row("U-Net on DCGAN", 10)[7:] == ["–", "–", "–"]
    assert "Cohort A, test patients" in page.text and "Cohort B, validation patients" in page.text
    assert str(tmp_path) not in page.source


def test_runs_that_cannot_be_compared_are_all_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train" / "x").mkdir(parents=True)
    (tmp_path / "train" / "x" / "losses.jsonl").write_text('{"epoch": 1, "loss": 1.0}\n')
    with pytest.raises(InputError) as caught:
        write_comparison([tmp_path, folder, tmp_path / "none"], tmp_path / "page.html")
    assert len(caught.value.problems) == 2 and "no results.jsonl to compare" in caught.value.problems[0]
    with pytest.raises(InputError, match="two folders or more"):
        write_comparison([folder], tmp_path / "page.html")


def test_the_verb(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "both.html"
    done = CliRunner().invoke(app, ["report", str(folder), str(folder), "--output", str(page)])
    assert done.exit_code == 0 and done.output == f"{page}\n"
    assert "No settings that differ" in Page(page).text
    refused = CliRunner().invoke(app, ["report", str(folder), str(folder)])
    assert isinstance(refused.exception, InputError) and "--output FILE.html" in str(refused.exception)
