"""The bench of generators at tiny size: each column once, what is trained on what, and the tables and curves."""

from __future__ import annotations

import importlib
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.helpers.clinic import GAN, write_stacks
from tofgan_monai import InputError, PairDataset
from tofgan_monai.bundle_runs.paths import bundle_names
from tofgan_monai.exchange.installing import unpack
from tofgan_monai.metrics.stacks.diversity import similarity_within
from tofgan_monai.metrics.stacks.features import EFFICIENTNETS
from tofgan_monai.segmentation.results import write_results
from tofgan_monai.training.checkpoint import FORMAT
from tofgan_monai.training.weights import save_weights

SCRIPTS = Path(__file__).parents[2] / "scripts"
PATIENTS = {"training": 4, "floor": 4, "reference": 6, "validation": 2, "procedural": 4, "B_0": 1, "B_1": 1}
LITE0 = "FD(EfficientNet-Lite0)"
N = 26  # fewest pairs whose density the attacks estimate


class MeanFeatures:
    """An extractor that costs nothing, under the name of a real one: means over squares of a size."""

    def __init__(self, name, size):
        self.name, self.size, self.dim, self.sha256 = f"FD({name})", size, (96 // size) ** 2, f"{size:064d}"

    def __call__(self, images):
        return torch.nn.functional.avg_pool2d(images, self.size).flatten(1)


@pytest.fixture
def scripts(monkeypatch):
    """The modules of the bench: measure_generators, generator_columns and draw_generators."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return [importlib.import_module(name) for name in ("measure_generators", "generator_columns", "draw_generators")]


@pytest.fixture
def bench(tmp_path, write_pairs, bundle_files, scripts, monkeypatch):
    """A bench whose stacks exist, and a bundle of width 2 beside it; real pairs are a copy of the floor's."""
    monkeypatch.setattr(scripts[1], "similarity_within", partial(similarity_within, n_comparisons=10))
    unpack(bundle_files(GAN), tmp_path / GAN)
    pairs = tmp_path / "work" / "pairs"
    write_stacks(pairs, PATIENTS, "simulated", write_pairs)
    for ending in ("npy", "json"):
        shutil.copy(pairs / f"floor.{ending}", pairs / f"real.{ending}")
        shutil.copy(pairs / f"validation.{ending}", pairs / f"validation_B.{ending}")
    networks = [MeanFeatures(name, size) for name, size in zip(EFFICIENTNETS, (24, 48), strict=True)]
    settings = {"seeds": [0, 1], "unet_train": "--max_epochs 1", "unet_width": 2}
    return scripts[1].Bench(tmp_path / "work", n=N, draws=2, extractors=networks, settings=settings)


def lines_of(bench):
    return [json.loads(row) for row in (bench.work / "results.jsonl").read_text("utf-8").splitlines()]


def by_name(bench):
    return {f"{line['engine']} {line['snapshot']}".strip(): line for line in lines_of(bench)}


def test_quality_stands_beside_its_floor_and_is_measured_once(bench, scripts, tmp_path, monkeypatch):
    measure, columns, drawing = scripts
    measure.measure(bench, [tmp_path / GAN], ["quality"])
    found = by_name(bench)
    assert list(found) == [f"{GAN} shipped", "real", "procedural"]
    for line in found.values():
        quality = line["quality"]
        assert quality["reference_digest"] == PairDataset(bench.stack("reference")).digest
        for network in (quality[one.name] for one in bench.extractors):
            assert network["fd_times_floor"] == pytest.approx(network["fd"] / network["fd_floor"], rel=1e-4)
    same, own = found["real"]["quality"], found[f"{GAN} shipped"]["quality"]
    assert same[LITE0]["fd_times_floor"] == 1, "other patients are the floor"
    assert same["ms_ssim"]["own"] == same["ms_ssim"]["others"]
    assert same["vessels"]["contrast to noise"]["distance"] == same["vessels"]["contrast to noise"]["floor"] > 0
    assert own[LITE0]["fd_times_floor"] > 2, "an untrained generator is far off"
    assert found[f"{GAN} shipped"]["core_hours"] is None
    header, row, *_ = drawing.quality_rows(lines_of(bench))
    assert row[header.index("contrast to noise")] == "none", "it draws no vessel"

    monkeypatch.setitem(columns.COLUMNS, "quality", lambda bench, candidate: {"is new": candidate.snapshot})
    save_weights(torch.load(tmp_path / GAN / "models/model.pt"), bench.work / "snapshots" / GAN / "0.25.pt")
    measure.measure(bench, [tmp_path / GAN], ["quality"])
    again = by_name(bench)
    new = again.pop(f"{GAN} 0.25")
    assert new["quality"] == {"is new": "0.25"} and new["core_hours"] == 0.25
    assert again == found, "what was measured stays as it was"


def test_attacks_see_copies_of_the_training_pairs(bench, scripts):
    columns = scripts[1]
    for ending in ("npy", "json"):
        shutil.copy(bench.work / f"pairs/training.{ending}", bench.work / f"pairs/real.{ending}")
    found = {
        name: columns.attacks(bench, columns.Candidate(name, "", None, None, ())) for name in ("real", "procedural")
    }
    assert found["real"]["auc"]["nearest image"]["value"] == 1 > found["procedural"]["auc"]["nearest image"]["value"]
    assert found["real"]["n_near_copies"] > found["procedural"]["n_near_copies"]
    assert (found["real"]["n_members"], found["real"]["n_non_members"]) == (4, 4)


@pytest.fixture
def commands(bench, scripts, monkeypatch):
    """List of the commands that ran; a generator copies procedural pairs, U-Nets have made-up scores of two heads."""
    ran = []

    def run(*words):
        words = list(map(str, words))
        ran.append(words)
        for ending in (".npy", ".json") if words[0] == "generate" else ():
            shutil.copy(bench.stack("procedural").with_suffix(ending), Path(words[2]).with_suffix(ending))
        if words[0] == "evaluate":
            scores = words[words.index("--results") + 1]
            common = {"model": "m", "cohort": "c", "split": "test", "hd95_mm": 1.0, "empty": ""}
            write_results(scores, [{**common, "patient": f"test-0{i}", "dsc": 0.5 + i / 4} for i in range(2)])

    monkeypatch.setattr(scripts[1], "run", run)
    monkeypatch.setattr(scripts[1].Bench, "heads", lambda self, cohort: self.work / "prepared" / cohort)
    return ran


def options(words, name):
    return [Path(words[i + 1]).stem for i, word in enumerate(words) if word == name]


def test_unets_learn_from_the_pairs_that_their_column_names(bench, commands, scripts):
    columns = scripts[1]
    procedural = columns.Candidate("procedural", "", None, None, ())
    two_patients = [[0.5, 0.75]] * 2
    assert columns.alone(bench, procedural) == {"A": two_patients, "B": two_patients}
    trainings = [words for words in commands if words[0] == "train"]
    assert [options(words, "--pairs") for words in trainings] == [["procedural"]] * 2
    assert [options(words, "--seed") for words in trainings] == [["0"], ["1"]]
    assert [Path(words[1]).name for words in commands if words[0] == "evaluate"] == ["others", "B"] * 2

    commands.clear()
    columns.with_real(bench, procedural)
    trainings = [words for words in commands if words[0] == "train"]
    assert [options(words, "--pairs") for words in trainings] == [["real", "procedural"]] * 2

    commands.clear()
    assert columns.transfer(bench, procedural) == {"B": [two_patients] * 2}
    trainings = [words for words in commands if words[0] == "train"]
    assert [options(words, "--pairs") for words in trainings] == [["B_0"], ["B_0"], ["B_1"], ["B_1"]]
    starts = [Path(words[words.index("--pretrained") + 1]) for words in trainings]
    assert starts == [bench.work / "unets" / "procedural" / seed / "best.pt" for seed in "0101"]

    commands.clear()
    columns.transfer(bench, columns.Candidate("scratch", "", None, None, ()))
    trainings = [words for words in commands if words[0] == "train"]
    assert len(trainings) == 4 and not any("--pretrained" in words for words in trainings)


def test_training_is_kept_after_each_number_of_core_hours(bench, scripts, tmp_path, monkeypatch):
    asked = []

    def run(*words):
        words = list(map(str, words))
        asked.append(int(words[words.index("--max_epochs") + 1]))
        folder = Path(words[words.index("--output-dir") + 1])
        state = {"average": {"n": torch.tensor(asked[-1])}}
        save_weights({"format": FORMAT, "recipe": {}, "state": state}, folder / "checkpoint.pt")
        rows = [json.dumps({"seconds": 900, "processor_seconds": 360})] * asked[-1]  # a tenth of a core-hour
        (folder / "losses.jsonl").write_text("\n".join(rows))

    monkeypatch.setattr(scripts[0], "run", run)
    scripts[0].train(bench, tmp_path / GAN, [1.0, 0.25])
    kept = bench.work / "snapshots" / GAN
    assert {path.stem: int(torch.load(path)["n"]) for path in kept.iterdir()} == {"0.25": 3, "1": 10}
    n = len(asked)
    scripts[0].train(bench, tmp_path / GAN, [1.0, 0.25])
    assert len(asked) == n, "nothing is trained twice"
    (kept / "0.25.pt").unlink()
    with pytest.raises(InputError, match=r"1.00 core-hours, but .*0.25.pt is missing; delete this folder"):
        scripts[0].train(bench, tmp_path / GAN, [1.0, 0.25])


def test_engines_are_the_packages_bundles_that_make_pairs(scripts):
    found = scripts[0].pair_bundles()
    assert {"tof_mra_dcgan", "tof_mra_wgan_gp", "tof_mra_wgan_gp_sn", "tof_mra_dp_wgan_gp"} <= set(found)
    assert not [name for name in found if "segmentation" in name] and set(found) < set(bundle_names())


def test_tables_and_curves_of_what_is_there(bench, commands, scripts, tmp_path, capsys):
    measure, _, drawing = scripts
    save_weights(torch.load(tmp_path / GAN / "models/model.pt"), bench.work / "snapshots" / GAN / "0.25.pt")
    measure.measure(bench, [tmp_path / GAN], ["transfer", "alone"])
    measure.measure(bench, [tmp_path / GAN], ["quality"])
    told = [row.rsplit(": ", 1)[1] for row in capsys.readouterr().out.splitlines() if not row.endswith("pairs")]
    assert told == [*["alone"] * 4, *["transfer"] * 4, *["quality"] * 4], "a column for all before the next"
    drawing.main(bench.work / "results.jsonl", tmp_path / "curves.svg")
    tables = [
        {cells[0]: cells[1:] for row in table.splitlines() if (cells := [one.strip() for one in row.split("|")[1:-1]])}
        for table in capsys.readouterr().out.split("\n\n")
    ]
    distances, scores, attacks = tables[:3]
    assert distances[f"{GAN}, shipped"] == distances["procedural pairs"] and distances["other patients (floor)"][
        0
    ].endswith("(1)")
    assert scores[f"{GAN}, 0.25 core-hours"][:2] == ["0.625 (0.500 to 0.750)", "+0.000 (+0.000 to +0.000)"]
    assert scores[f"{GAN}, shipped"][-2:] == ["0.625", "+0.000 (+0.000 to +0.000)"]
    assert scores["no pairs"][-2:] == ["0.625", ""] and list(attacks) == ["pairs", "---"]
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")
