"""A study's page: every figure in it is that of the lines, the paper's stand beside ours, and nothing else is told.

All results here are made up; they only have the form of a study's.
"""

# ruff: noqa: RUF001 - the page prints true minus and times signs, apostrophes and dashes

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats
from typer.testing import CliRunner

from tofgan_monai.cli import app
from tofgan_monai.errors import InputError
from tofgan_monai.metrics.bootstrap import hierarchical_difference, mean_interval
from tofgan_monai.metrics.segmentation.overlap import Overlap
from tofgan_monai.pairs.stack import StackWriter
from tofgan_monai.report import write_comparison, write_report
from tofgan_monai.segmentation.error_maps import save_error_map
from tofgan_monai.segmentation.results import result_lines, write_results
from tofgan_monai.study.data import BASELINES, as_results
from tofgan_monai.study.plan import arms, shareable, training_sets
from tofgan_monai.study.settings import read_settings
from tofgan_monai.study.statistics import statistics

N_PATIENTS = {"validation": 4, "test": 10}
DSC = {
    "real": 0.83,
    "real+DCGAN": 0.832,
    "real+WGAN-GP": 0.835,
    "real+WGAN-GP-SN": 0.829,
    "real+procedural": 0.84,
    "DCGAN": 0.76,
    "WGAN-GP": 0.78,
    "WGAN-GP-SN": 0.77,
    "procedural": 0.71,
    "scratch": 0.72,
    "pretrained": 0.78,
}
RULES = """digraph snakemake_dag {
    0[label = "all"]; 1[label = "simulate"]; 2[label = "extract"]; 3[label = "train_unet"]; 4[label = "<own> rule"];
    5[label = "collect"]
    1 -> 2
    2 -> 3
    1 -> 3
    2 -> 4
    3 -> 5
    4 -> 5
    5 -> 0
}
"""


def scored(rng: np.random.Generator, mean: float, *, split: str, model: str, cohort: str, more: dict) -> list[dict]:
    """A line a patient."""
    n = N_PATIENTS[split]
    dsc = np.clip(mean + rng.normal(0, 0.03, n), 0, 1).round(5)
    curve = 1 - 1.5 * (np.linspace(0.05, 0.95, 19) - 0.4) ** 2
    return [
        {
            "model": model,
            "cohort": cohort,
            "split": split,
            "patient": f"{split}-{index:02d}",
            "dsc": float(value),
            "hd95_mm": round(float(30 * (1 - value)), 4),
            "empty": "",
            "dsc_small": round(float(value) - 0.2, 5),
            "dsc_large": None if index == 1 else round(float(value) + 0.05, 5),
            "dsc_at": (value * curve).round(4).tolist(),
            "n": n,
            **more,
        }
        for index, value in enumerate(dsc)
    ]


def made_up_lines(seed: int = 0, **changes) -> list[dict]:
    """Results of a study that never was: 10 test patients, 2 seeds, 3 draws of one patient of site B."""
    rng = np.random.default_rng(seed)
    own = {
        "grid": {"lr": [0.001, 0.003], "dropout": [0.0, 0.1]},
        "transfer": {1: 3, 5: 1, 15: 1},
        "unet_train": "--batch_size 16 --pairs_per_epoch 2500 --max_epochs 4",
    }
    settings = {**read_settings("laptop"), **own, **changes}
    shown = shareable(settings)
    lines = [
        {
            "experiment": "settings",
            "measure": "settings",
            "settings": shown,
            "simulated": ["A", "B"],
            "n_real": 8000,
            "n_synthetic": 8000,
            "n_A": [16, 4, 10],
            "n_B": [15, 4, 10],
        },
        {
            "experiment": "tuning",
            "measure": "validation DSC",
            "model": "real",
            "tried": {
                "lr0.001_dropout0.0": 0.81,
                "lr0.001_dropout0.1": 0.811,
                "lr0.003_dropout0.0": 0.825,
                "lr0.003_dropout0.1": 0.82,
                "classical": 0.818,
            },
            "chosen": "--lr 0.003 --dropout 0.0 --overlay plain",
        },
        {
            "experiment": "best GAN",
            "measure": "validation DSC",
            "tried": {"DCGAN": 0.76, "WGAN-GP": 0.784, "WGAN-GP-SN": 0.771},
            "chosen": "WGAN-GP",
        },
    ]
    distances = {"others": 8.25, "DCGAN": 31.5, "WGAN-GP": 24.125, "WGAN-GP-SN": 22.75, "procedural": 40.0}
    lines += [
        {
            "experiment": "table1",
            "model": stack,
            "measure": "FD(EfficientNet-Lite0)",
            "stack": stack,
            "reference": "real",
            "value": value,
            "n": 2000,
            "dim": 1280,
            "wall_s": 30.0,
            "low": value - 1,
            "high": value + 1.5,
            "n_patients": 3,
            "without_each": [value - 0.5, value, value + 1],
        }
        for stack, value in distances.items()
    ]
    cost = {"wall_s": 60.0, "peak_mb": 900}
    for name in training_sets(settings):
        for run in settings["seeds"]:
            for cohort, split in (("A", "validation"), ("A", "test"), ("B", "test")):
                more = {"experiment": "table2", "seed": run, **cost}
                mean = DSC[name] - 0.05 * (cohort == "B")
                lines += scored(rng, mean, split=split, model=name, cohort=cohort, more=more)
    for cohort in "AB":
        for model, mean in zip(BASELINES.values(), (0.68, 0.71), strict=True):
            threshold = scored(
                rng, mean, split="test", model=model, cohort=cohort, more={"experiment": "threshold", **cost}
            )
            lines += [{k: v for k, v in line.items() if k != "dsc_at"} for line in threshold]
    for arm in arms(settings):
        for k, n_draws in settings["transfer"].items():
            for draw in range(n_draws):
                for run in settings["seeds"]:
                    more = {"experiment": "transfer", "arm": arm, "n_training": k, "draw": draw, "seed": run, **cost}
                    gain = 0.06 * np.log(k) / np.log(15) if arm != "scratch" else 0.1 * np.log(k) / np.log(15)
                    for split in N_PATIENTS:
                        lines += scored(rng, DSC[arm] + gain, split=split, model=arm, cohort="B", more=more)
    lines += [
        {
            "experiment": "losses",
            "measure": "losses",
            "model": f"U-Net on {name}",
            "epochs": [
                {"epoch": n, "iteration": 157 * n, "loss": 0.6 / n, "val_dice": DSC[name] - 0.1 / n}
                for n in range(1, 5)
            ],
        }
        for name in training_sets(settings)
    ]
    steps = ["simulate/A", "simulate/B", "frechet", *(f"train_unet/{name}_0" for name in training_sets(settings))]
    lines += [{"experiment": "cost", "measure": "cost", "step": step, **cost} for step in steps]
    lines += statistics(as_results(lines))
    return [{**line, "versions": {"monai": "1.6.1", "torch": "2.13.0"}, "commit": "0123abc+"} for line in lines]


def write_lines(folder: Path, lines: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"cohort_a": "/home/someone/sub-Miller/cohort.json"}))
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def write_study(folder: Path, **changes) -> Path:
    """A study's folder with everything in it."""
    write_lines(folder, made_up_lines(**changes))
    (folder / "rules.dot").write_text(RULES)
    (folder / "pairs").mkdir()
    rng = np.random.default_rng(0)
    for name in ("real", "DCGAN", "WGAN-GP", "WGAN-GP-SN", "procedural", "others"):
        with StackWriter(folder / "pairs" / f"{name}.npy", 9, {"kind": "real", "label_threshold": 0.25}) as stack:
            stack.append(np.stack([rng.uniform(-1, 1, (9, 96, 96)), rng.choice([-1, 1], (9, 96, 96))], axis=1))
    volume = rng.random((8, 8, 4))
    save_error_map(folder / "figures/errors.png", volume, prediction=volume > 0.7, truth=volume > 0.8)
    return folder


@pytest.fixture(scope="module")
def lines() -> list[dict]:
    return made_up_lines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reported study."""
    study = write_study(tmp_path_factory.mktemp("study"))
    write_report(study)
    return study


class Cells(HTMLParser):
    """The rows of all tables as lists of texts, and what a page would load; its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "link")
        self.sources += [value or "" for key, value in attrs if key in ("src", "srcset", "data")]
        if tag not in ("meta", "img", "br", "line", "circle"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "tr" in self.open:
            self.rows[-1][-1] += ("|" if "span" in self.open else "") + data


def read(page: Path) -> tuple[str, Cells]:
    text = page.read_text(encoding="utf-8")
    cells = Cells()
    cells.feed(text)
    assert not cells.open
    return text, cells


def of_patients(lines: list[dict], score: str = "dsc", **wanted) -> np.ndarray:
    """Seed- and draw-averaged scores, by hand: (patients,)."""
    found: dict[str, list[float]] = {}
    for line in lines:
        if all(line.get(key) == value for key, value in wanted.items()):
            found.setdefault(line["patient"], []).append(line[score])
    return np.array([np.mean(scores) for _, scores in sorted(found.items())])


def test_table_2_has_the_lines_figures_with_the_papers_beside_them(folder: Path, lines: list[dict]) -> None:
    _, cells = read(folder / "report.html")
    row = next(row for row in cells.rows if row[0] == "WGAN-GP |chosen on validation" and len(row) == 13)
    wanted = {"experiment": "table2", "model": "WGAN-GP", "cohort": "A"}
    dsc, hd95 = (of_patients(lines, score, split="test", **wanted) for score in ("dsc", "hd95_mm"))
    validation = of_patients(lines, split="validation", **wanted)
    low, high = (lambda interval: (interval.low, interval.high))(mean_interval(dsc))
    assert row[1:3] == [f"{validation.mean():.3f}", "0.82"]
    assert row[3] == f"{dsc.mean():.3f}|{low:.3f} to {high:.3f}|± {dsc.std(ddof=1):.3f}" and row[4] == "0.78"
    assert row[5] == f"{of_patients(lines, 'dsc_small', split='test', **wanted).mean():.3f}"
    large = [line["dsc_large"] for line in lines if all(line.get(k) == v for k, v in wanted.items())
             and line["split"] == "test" and line["dsc_large"] is not None]  # fmt: skip
    assert row[6] == f"{np.mean(large):.3f}"
    assert row[9].startswith(f"{hd95.mean():.2f}|") and row[8] == "34.64" and row[10] == "33.70"
    assert row[11:] == ["10 × 2", "0"]


@pytest.mark.parametrize(
    ("label", "published"),
    [
        ("real", [["0.88", "0.89", "29.50", "26.57"], ["", "", "", ""]]),
        ("real + DCGAN", [["0.89", "0.90", "30.22", "25.61"]]),
        ("real + WGAN-GP-SN", [["0.89", "0.89", "29.91", "26.51"]]),
        ("WGAN-GP-SN", [["0.85", "0.82", "30.88", "28.97"], ["", "0.88", "", "25.68"]]),
        ("procedural", [["", "", "", ""], ["", "", "", ""]]),
    ],
)
def test_the_papers_table_2_stands_where_it_belongs(folder: Path, label: str, published: list[list[str]]) -> None:
    _, cells = read(folder / "report.html")
    rows = [row for row in cells.rows if len(row) == 13 and row[0] == label]
    assert [[row[i] for i in (2, 4, 8, 10)] for row in rows] == published


def test_table_1_is_no_fid(folder: Path) -> None:
    text, cells = read(folder / "report.html")
    rows = {row[0].split("|")[0].strip(): row[1:] for row in cells.rows if len(row) == 3}
    assert rows["DCGAN"] == ["31.50|30.50 to 33.00", "105.96"]
    assert rows["WGAN-GP-SN"] == ["22.75|21.75 to 24.25", "38.05"]
    assert rows["procedural, made without patients"] == ["40.00|39.00 to 41.50", ""]
    assert rows["real pairs of 4 patients of validation: the floor"] == ["8.25|7.25 to 9.75", ""]
    assert "over the 3 patients of the real pairs" in text
    assert "WGAN-GP − WGAN-GP-SN: +1.38 (" in text  # 24.125 - 22.75, paired
    assert "FD(EfficientNet-Lite0) is no FID" in text and "2,000 images against 2,000" in text


def test_comparisons_are_paired_by_patient(folder: Path, lines: list[dict]) -> None:
    text, cells = read(folder / "report.html")
    row = next(row for row in cells.rows if row[0].startswith("DCGAN − real"))
    a, b = (of_patients(lines, experiment="table2", model=m, cohort="A", split="test") for m in ("DCGAN", "real"))
    assert row[1].startswith(f"{(a - b).mean():+.3f}".replace("-", "−"))
    assert row[2] == f"{stats.wilcoxon(a - b).pvalue:.3f}" and row[-1] == "10"
    assert "not corrected for multiplicity" in text
    labels = [row[0] for row in cells.rows]
    assert labels.count("pre-trained on WGAN-GP − from scratch") == 3  # one, five and fifteen patients
    assert labels.count("WGAN-GP − procedural") == 2  # on site A and on site B


def test_findings_are_computed_from_the_lines(folder: Path, lines: list[dict]) -> None:
    text, _ = read(folder / "report.html")
    real, best = (
        of_patients(lines, experiment="table2", model=m, cohort="A", split="test") for m in ("real", "WGAN-GP")
    )
    flattered, honest = (
        of_patients(lines, experiment="threshold", model=BASELINES[chosen], cohort="A")
        for chosen in (None, "validation")
    )
    assert f"DSC {real.mean():.3f} (" in text and f"a share of {best.mean() / real.mean():.2f} of real" in text
    for threshold in (flattered, honest):
        assert f"(DSC {threshold.mean():.3f}): {(real - threshold).mean():+.3f} (" in text
    tables = {}
    for line in lines:
        if line["experiment"] == "transfer" and line["n_training"] == 1 and line["split"] == "test":
            tables[line["arm"], line["draw"], line["seed"], int(line["patient"][-2:])] = line["dsc"]
    difference = np.array([[[tables["pretrained", d, s, p] - tables["scratch", d, s, p] for p in range(10)]
                            for s in range(2)] for d in range(3)])  # fmt: skip
    interval = hierarchical_difference(difference)
    assert (
        f"DSC {difference.mean():+.3f} ({interval.low:+.3f} to {interval.high:+.3f} over 3 draws, 2 seeds and 10 test "
        "patients); the paper: +0.06."
    ) in text


def test_the_first_paragraph_tells_scale_and_cost(folder: Path) -> None:
    text, _ = read(folder / "report.html")
    for words in (
        "All patients are simulated heads, cropped",
        "has 16, 4, 10",
        "has 15, 4, 10",
        "8,000 real pairs of site A stand against 8,000 of each GAN",
        "width 8 (the paper: 32)",
        "10,000 patches each (the paper: 615,000)",
        "of width 16, 12, 12",
        "may differ from the paper’s",
        "All steps together took 12 minutes of one core, 6.0 of two; the budget was 150 minutes of two.",
    ):
        assert words in text


def test_calibration_is_that_of_the_mean_curves(folder: Path, lines: list[dict]) -> None:
    text, _ = read(folder / "report.html")
    wanted = {"experiment": "table2", "model": "real", "cohort": "A"}
    curve = np.mean([line["dsc_at"] for line in lines if all(line.get(k) == v for k, v in wanted.items())
                     and line["split"] == "test"], axis=0)  # fmt: skip
    assert f"validation would choose 0.40, test DSC {curve[7]:.3f} there and {curve[9]:.3f} at 0.50" in text


def test_choices_and_costs(folder: Path) -> None:
    text, cells = read(folder / "report.html")
    assert ["lr 0.003 dropout 0.0", "0.825"] in cells.rows
    assert "Chosen for real: lr 0.003 dropout 0.0 overlay plain." in text
    assert ["train unet", "9", "9.0", "60", "900"] in cells.rows
    assert "Commit 0123abc+ (with changes that are not committed)" in text


def test_the_page_is_self_contained_and_escaped(folder: Path) -> None:
    text, cells = read(folder / "report.html")
    assert all(source.startswith("data:image/") for source in cells.sources)
    assert len(cells.sources) == 5 * 8 + 4  # pairs, Fig. 3 and 4, calibration, courses
    assert not re.search(r"url\(|@import|<own>", text)
    assert "&lt;own&gt; rule" in text and ">train U-Nets" in text and ">all<" not in text


def test_no_path_and_no_subject_is_told(folder: Path, tmp_path: Path) -> None:
    lines = made_up_lines(unet_train="--init /home/someone/sub-Miller/x.pt", gans={"DCGAN": "/home/someone/dcgan"})
    written = write_report(write_lines(tmp_path, lines))
    for page in (folder / "report.html", folder / "report.md", written, written.with_suffix(".md")):
        text = page.read_text(encoding="utf-8")
        assert "someone" not in text and "Miller" not in text and str(page.parent) not in text


def test_the_same_study_gives_the_same_bytes(folder: Path) -> None:
    names = ["report.html", "report.md", *(f"figures/{path.name}" for path in sorted((folder / "figures").iterdir()))]
    before = [(folder / name).read_bytes() for name in names]
    write_report(folder)
    assert [(folder / name).read_bytes() for name in names] == before


def test_markdown_has_the_same_tables_and_pictures_that_exist(folder: Path) -> None:
    text = (folder / "report.md").read_text(encoding="utf-8")
    named = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert named == [f"figures/{name}" for name in ("figure1.svg", "figure2.png", "calibration.svg", "figure3.svg",
                                                    "errors.png", "unets.svg")]  # fmt: skip
    assert all((folder / name).is_file() for name in named)
    row = next(row for row in text.splitlines() if row.startswith("| real |"))
    assert "[0.88]" in row and "[26.57]" in row and row.count(" | ") == 8
    assert "| DCGAN | 31.50 (30.50 to 33.00) [105.96] |" in text and "All patients are simulated heads" in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 6 and all(
        len({re.sub(r"\\\|", "", row).count("|") for row in table}) == 1 for table in tables
    )


def test_missing_parts_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    changes = {"procedural": 0, "seeds": [0], "transfer": {1: 1}}
    dropped = ("tuning", "table1", "threshold", "losses", "cost", "interval", "comparison")
    lines = [line for line in made_up_lines(**changes) if line["experiment"] not in dropped]
    for line in lines:
        for key in ("dsc_at", "dsc_small", "dsc_large"):
            line.pop(key, None)
    lines += statistics(as_results(lines))
    text, cells = read(write_report(write_lines(tmp_path, lines)))
    for missing in ("No Fig. 1", "No Table 1", "No Fig. 2", "No Fig. 4", "does not", "No costs", "No courses"):
        assert missing in text
    assert "probability threshold is not shown" in text and "All steps together" not in text and "nan" not in text
    row = next(row for row in cells.rows if row[0] == "real" and len(row) == 13)
    assert row[5:7] == ["–", "–"] and row[11] == "10 × 1"
    assert not any("procedural" in row[0] for row in cells.rows)
    assert "over 1 draw, 1 seed and 10 test patients" in text


def test_settings_alone_make_a_page(tmp_path: Path) -> None:
    text, _ = read(write_report(write_lines(tmp_path, made_up_lines()[:1])))
    for missing in ("Nothing yet", "No Table 2", "No Fig. 3", "No comparisons", "No choices"):
        assert missing in text


def test_a_cohort_of_ones_own_is_not_called_simulated(tmp_path: Path) -> None:
    lines = made_up_lines()
    lines[0]["simulated"] = ["B"]
    text, _ = read(write_report(write_lines(tmp_path, lines)))
    assert "those of site A are a cohort of the user’s own" in text and "falls under the same rules" in text


def test_lacking_patients_are_named_and_the_old_page_is_kept(folder: Path, tmp_path: Path) -> None:
    lines = made_up_lines()
    gone = next(i for i, line in enumerate(lines) if line.get("model") == "DCGAN" and line["experiment"] == "table2")
    write_lines(tmp_path, lines[:gone] + lines[gone + 1 :])
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(
        InputError, match=r"results.jsonl: table2, DCGAN A validation: 7 lines.*run `tofgan study` again"
    ):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"


def test_another_output_takes_its_figures_along(folder: Path, tmp_path: Path) -> None:
    assert write_report(folder, tmp_path / "page.html") == tmp_path / "page.html"
    assert (tmp_path / "page.md").is_file()
    assert (tmp_path / "figures/errors.png").read_bytes() == (folder / "figures/errors.png").read_bytes()
    with pytest.raises(InputError, match=r"page.md: a page's name ends in .html"):
        write_report(folder, tmp_path / "page.md")


def test_two_studies_and_another_run_stand_side_by_side(folder: Path, lines: list[dict], tmp_path: Path) -> None:
    other = write_lines(tmp_path / "other", made_up_lines(seed=1, unet_width=16, title="A <wider> one"))
    run = tmp_path / "run"
    scores = [Overlap(0.9, 2.0, ""), Overlap(0.8, 4.0, "")]
    write_results(run / "results.jsonl", result_lines(scores, model="U-Net on real", cohort="A", split="test"))
    text, cells = read(write_comparison([folder, other, run], tmp_path / "page.html"))
    assert "A &lt;wider&gt; one" in text and "is not recorded" in text and text.count("All patients are") == 2
    assert ["unet width", "8", "16", "–"] in cells.rows
    assert not any(row[0] in ("n synthetic", "title") and row[1] == row[2] == row[3] for row in cells.rows)
    real = of_patients(lines, experiment="table2", model="real", cohort="A", split="test")
    row = next(row for row in cells.rows if row[0] == "U-Net on real")
    assert row[1] == f"{real.mean():.3f}|± {real.std(ddof=1):.3f}" and row[3] == "10"
    assert row[7:] == ["0.850|± 0.071", "3.00|± 1.41", "2"]
    assert next(row for row in cells.rows if row[0] == "U-Net on DCGAN")[7:] == ["–", "–", "–"]
    assert "Cohort A, test patients" in text and "Cohort B, validation patients" in text
    assert str(tmp_path) not in text


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
    assert done.exit_code == 0 and done.output == f"{page}\n" and page.is_file()
    assert "no settings that differ" in page.read_text(encoding="utf-8").lower()
    refused = CliRunner().invoke(app, ["report", str(folder), str(folder)])
    assert isinstance(refused.exception, InputError) and "--output FILE.html" in str(refused.exception)


if __name__ == "__main__":
    import sys

    shutil.rmtree(sys.argv[1], ignore_errors=True)
    print(write_report(write_study(Path(sys.argv[1]))))
