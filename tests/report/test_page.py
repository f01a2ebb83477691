"""The report page: self-contained, escaped, complete where the folder is, and clear where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.pages import Page
from tofgan_monai import InputError, StackWriter, installation
from tofgan_monai.metrics.segmentation.overlap import Overlap
from tofgan_monai.report.page import write_report
from tofgan_monai.segmentation.error_maps import error_classes, save_error_map
from tofgan_monai.segmentation.results import BASELINE_MODEL, result_lines, write_results
from tofgan_monai.volumes.writing import write_label


def write_stack(path: Path, **manifest: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with StackWriter(path, 10, manifest) as stack:
        stack.append(np.stack([rng.uniform(-1, 1, (10, 96, 96)), rng.choice([-1, 1], (10, 96, 96))], axis=1))


def write_scores(folder: Path, model: str, cohort: str, scores: list[Overlap], more: list[dict] | None = None) -> None:
    lines = result_lines(scores, model=model, cohort=cohort, split="test", more=more)
    write_results(folder / "results.jsonl", lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with everything in it."""
    write_stack(tmp_path / "pairs" / "dcgan.npy", kind="synthetic", label_threshold=0.25)
    write_stack(tmp_path / "pairs" / "train_a.npy", kind="real")
    for cohort in "AB":
        write_scores(tmp_path, BASELINE_MODEL, cohort, [Overlap(0.6, 9.0, ""), Overlap(0.5, 8.0, "")])
        write_scores(tmp_path, "U-Net", cohort, [Overlap(0.9, 2.0, ""), Overlap(0, 99, "prediction")])
    for name, rows in {
        "dcgan": [{"epoch": n, "critic_loss": 1.0 / n, "generator_loss": 2.0, "note": "x"} for n in range(1, 4)],
        "unet": [{"epoch": 1, "loss": 0.5, "val_dice": float("nan")}, {"epoch": 2, "loss": 0.4, "val_dice": 0.7}],
    }.items():
        losses = tmp_path / "train" / name / "losses.jsonl"
        losses.parent.mkdir(parents=True)
        losses.write_text("".join(json.dumps(row) + "\n" for row in rows))
    volume = np.random.default_rng(0).random((8, 8, 4))
    prediction, truth = volume > 0.7, volume > 0.8
    save_error_map(tmp_path / "figures/x.png", volume, prediction=prediction, truth=truth, title="U-Net, test-00")
    about = {
        "title": "A <run>",
        "paragraphs": ["All heads are simulated."],
        "captions": {"dcgan": "The DCGAN", "train_a": "Real pairs <A>"},
    }
    (tmp_path / "about.json").write_text(json.dumps(about))
    return tmp_path


def test_a_whole_folder_becomes_one_self_contained_page(folder: Path) -> None:
    path = write_report(folder)
    page = Page(path)
    assert path == folder / "report.html" and str(folder) not in page.source
    page.assert_self_contained(2 * 8 + 1 + 2 + 1)  # pairs; losses of a GAN; losses and Dice of a U-Net; an error map


def test_the_page_says_what_was_found(folder: Path) -> None:
    page = Page(write_report(folder))
    assert "A &lt;run&gt;" in page.source and "Real pairs &lt;A&gt;" in page.source
    assert page.text.index("Real pairs") < page.text.index("The DCGAN")
    assert page.row("U-Net", 6)[1] == "0.450| ± 0.636"  # the empty prediction is in the mean
    models = [row[0] for row in page.rows if len(row) == 6]
    assert models.index("U-Net") < models.index(BASELINE_MODEL)
    for words in ("label threshold 0.25", "U-Net, test-00", "Cohort A, test patients", "28.97", "All heads are"):
        assert words in page.text
    assert "about.json" not in page.text and "There are no" not in page.text
    assert "What the Dice coefficient does not see" not in page.text  # these results lack the further scores


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


def test_missing_parts_are_named_on_the_page(tmp_path: Path) -> None:
    write_scores(tmp_path, "U-Net", "", [Overlap(0.9, 2.0, "")])
    page = Page(write_report(tmp_path))
    for missing in ("No pairs", "No error maps", "No loss curves", "No description"):
        assert missing in page.text
    assert "No scores" not in page.text and ["Test patients"] in page.rows


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "about.json").write_text("{}")
    with pytest.raises(InputError, match="nothing to report"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_all_broken_parts_are_named_and_the_old_report_is_kept(folder: Path) -> None:
    old = write_report(folder).read_bytes()
    stack = folder / "pairs" / "dcgan.npy"
    stack.write_bytes(stack.read_bytes()[:-100])
    (folder / "train" / "unet" / "losses.jsonl").write_text("{broken")
    (folder / "results.jsonl").write_text("{}\n")
    with pytest.raises(InputError) as caught:
        write_report(folder)
    assert all(name in str(caught.value) for name in ("dcgan.npy", "losses.jsonl", "results.jsonl"))
    assert (folder / "report.html").read_bytes() == old


@pytest.mark.parametrize(
    ("name", "content"), [("about.json", "[1"), ("about.json", '{"title": 3}'), ("figures/x.png", "?")]
)
def test_files_of_another_form_are_named(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=name):
        write_report(folder)


def test_scores_that_dice_does_not_contain_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    more = [
        {"cl_dice": 0.75, "betti_errors": [3, 1, 0], "asd_mm": 0.5, "average_hausdorff_mm": 0.25},
        {"cl_dice": 0.85, "betti_errors": [4, 2, 0], "asd_mm": 0.7, "average_hausdorff_mm": 0.35},
    ]
    write_scores(tmp_path, "U-Net", "A", [Overlap(0.9, 2.0, ""), Overlap(0.8, 3.0, "")], more)
    write_scores(tmp_path, "older", "A", [Overlap(0.9, 2.0, "")])
    page = Page(write_report(tmp_path))
    assert page.row("U-Net", 7)[1:] == ["0.800", "3.5", "1.5", "0.0", "0.60", "0.30"]
    assert [len(row) for row in page.rows if row[0] == "older"] == [6]


# ---- the vessels that turn


def add_errors(folder: Path) -> np.ndarray:
    """Writes the error map x of the folder as a label; returns its values."""
    volume = np.random.default_rng(0).random((8, 8, 4))
    classes = error_classes(volume > 0.7, np.roll(volume, 1, axis=0) > 0.8)
    write_label(classes, folder / "figures" / "x.nii.gz", affine=np.diag([0.5, 0.5, 0.7, 1]))
    return classes


def test_the_first_error_map_turns(folder: Path) -> None:
    classes = add_errors(folder)
    page = Page(write_report(folder), n_scripts=2)
    page.assert_self_contained(2 * 8 + 1 + 2 + 1)
    plotly, drawn = page.scripts
    assert "plotly.js" in plotly[:200] and drawn.startswith("const vesselTree = {")
    assert "In three dimensions: U-Net, test-00" in page.text and "needs JavaScript" not in page.text
    for value, name in enumerate(("true positive", "false positive", "false negative"), start=1):
        assert f"{name}, {(classes == value).sum() * 0.175:.0f} mm³" in page.text
    assert (folder / "report.html").stat().st_size < 8e6


def test_without_the_extra_the_error_maps_remain_and_a_line_says_so(folder: Path, monkeypatch, caplog) -> None:
    add_errors(folder)
    monkeypatch.setitem(installation.EXTRAS["page"].packages, "plotly", (99,))
    page = Page(write_report(folder))
    page.assert_self_contained(2 * 8 + 1 + 2 + 1)
    assert 'pip install "tofgan-monai[page]"' in page.text
    assert [record.getMessage().count("The vessels on the page do not turn") for record in caplog.records] == [1]


def test_a_page_without_an_error_label_says_so(folder: Path) -> None:
    assert "No vessels to turn" in Page(write_report(folder)).text


def test_a_label_of_something_else_is_named(folder: Path) -> None:
    write_label(np.full((3, 4, 5), 7), folder / "figures" / "x.nii.gz", affine=np.eye(4))
    with pytest.raises(InputError, match=r"x\.nii\.gz: the value 7 is of no error map; remove the file"):
        write_report(folder)
