"""Whole volumes in, results.jsonl and CSV out; thresholds against brute force; error maps; the handler."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted, Compose, CopyItemsd, Lambdad

from tofgan_monai import InputError, Progress, ReadScand, ResultsWriter, cl_dice, overlap, read_cohort
from tofgan_monai.metrics.segmentation.calibre import dsc_by_calibre
from tofgan_monai.metrics.segmentation.distances import average_hausdorff_mm, average_surface_distance_mm
from tofgan_monai.metrics.segmentation.overlap import Overlap, dice
from tofgan_monai.metrics.segmentation.threshold_baseline import PROBABILITIES, best_threshold, dice_at
from tofgan_monai.metrics.segmentation.topology import betti_errors
from tofgan_monai.segmentation.error_maps import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    error_classes,
    error_map,
    projected_error_map,
    radiological,
    save_error_map,
)
from tofgan_monai.segmentation.evaluation import score_threshold
from tofgan_monai.segmentation.results import read_results, result_lines, write_results

SHAPE = (12, 14, 10)
SPACING_MM = (0.5, 0.6, 0.7)
AFFINE = np.diag([-0.5, 0.6, 0.7, 1.0])
KEYS = ["image", "label"]


def head(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image in which vessels are brighter, mostly, and its label."""
    rng = np.random.default_rng(seed)
    label = (rng.random(SHAPE) < 0.05).astype(np.uint8)
    return (rng.normal(100, 20, SHAPE) + 60 * label).astype(np.float32), label


def write_volume(path: Path, volume: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(volume, affine).to_filename(path)
    return path


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A prepared cohort with three test patients."""
    folder = tmp_path / "prepared"
    items = []
    for index in range(3):
        subject = f"sub-secret{index}"
        for name, volume in zip(("image", "label"), head(index), strict=True):
            write_volume(folder / subject / f"{name}.nii.gz", volume)
        paths = {name: f"{subject}/{name}.nii.gz" for name in ("image", "label")}
        items.append({"subject": subject, "patient": subject, **paths})
    content = {"format": 1, "training": [], "validation": [], "test": items}
    (folder / "cohort.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def volumes(cohort: Path) -> DataLoader:
    """The test patients' volumes, channel-first, one a batch."""
    items = [{key: item[key] for key in KEYS} for item in read_cohort(cohort, "test")]
    return DataLoader(Dataset(items, ReadScand(KEYS)), batch_size=1)


def test_a_repeated_evaluation_replaces_its_lines_and_keeps_the_others(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    for model, dsc in (("a", 0.1), ("b", 0.2), ("a", 0.3)):
        write_results(output, result_lines([Overlap(dsc, 1.0, "")] * 2, model=model, cohort="A", split="test"))
    found = [(line["model"], line["dsc"]) for line in read_results(output)]
    assert found == [("b", 0.2), ("b", 0.2), ("a", 0.3), ("a", 0.3)]
    assert len(output.with_suffix(".csv").read_text().splitlines()) == 3


def test_results_refuse_paths_and_broken_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="looks like a path"):
        ResultsWriter(tmp_path / "results.jsonl", model="/data/run1")
    path = tmp_path / "broken.jsonl"
    path.write_text('{"model": "a"}\nnot json\n')
    with pytest.raises(InputError) as caught:
        read_results(path)
    assert ["line 1" in caught.value.problems[0], "line 2" in caught.value.problems[1]] == [True, True]


def test_other_results_of_a_study_are_kept_and_passed_over(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    other = {"measure": "sliced Wasserstein", "model": "a", "value": 0.25}
    output.write_text(json.dumps(other) + "\n")
    assert read_results(output) == []
    for dsc in (0.1, 0.2):
        write_results(output, result_lines([Overlap(dsc, 1.0, "")], model="a", cohort="A", split="test"))
    assert [line["dsc"] for line in read_results(output)] == [0.2]
    assert json.loads(output.read_text().splitlines()[0]) == other
    assert len(output.with_suffix(".csv").read_text().splitlines()) == 2
    rows = [other, {"model": "a", "value": 0.25}, {**other, "patient": "test-00"}, ["measure"]]
    output.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError) as caught:
        read_results(output)
    told = zip((2, 3, 4), caught.value.problems, strict=True)
    assert all(f"line {number} is not a result" in problem for number, problem in told)


def test_the_older_name_of_the_average_hausdorff_distance_is_read(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    (line,) = result_lines([Overlap(0.5, 2.0, "")], model="a", cohort="A", split="test", more=[{"asd_mm": 0.4}])
    output.write_text(json.dumps({**line, "avd_mm": 0.3}) + "\n")
    assert read_results(output) == [{**line, "average_hausdorff_mm": 0.3}]
    write_results(output, result_lines([Overlap(0.1, 1.0, "")], model="b", cohort="A", split="test"))
    assert "avd_mm" not in output.read_text() and '"average_hausdorff_mm": 0.3' in output.read_text()


def test_further_fields_go_to_their_patients() -> None:
    described = {"model": "a", "cohort": "A", "split": "test"}
    scores = [Overlap(0.1, 1.0, ""), Overlap(0.2, 1.0, "")]
    lines = result_lines(scores, **described, more=[{"dsc_small": None}, {"dsc_small": 0.5}])
    assert [(line["dsc"], line["dsc_small"]) for line in lines] == [(0.1, None), (0.2, 0.5)]
    with pytest.raises(ValueError, match="shorter"):
        result_lines(scores, **described, more=[{}])


def test_dice_at_is_the_dice_of_each_threshold() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(SHAPE) < 0.2
    probability = np.clip(rng.normal(0.4, 0.3, SHAPE) + 0.3 * truth, 0, 1).astype(np.float32)
    probability.flat[:19] = PROBABILITIES  # a voxel at the threshold is vessel, in float32 too
    assert (PROBABILITIES[0], PROBABILITIES[-1], len(PROBABILITIES)) == (0.05, 0.95, 19)
    assert np.diff(PROBABILITIES) == pytest.approx(0.05)
    expected = [dice(torch.from_numpy(probability) >= threshold, truth) for threshold in PROBABILITIES]
    assert dice_at(probability, truth) == pytest.approx(expected, abs=1e-6)
    assert dice_at(probability, truth, (0.5,)) == pytest.approx(expected[9:10], abs=1e-6)


def test_dice_at_follows_the_rule_for_empty_volumes_and_names_bad_input() -> None:
    half = np.full(SHAPE, 0.5, np.float32)
    assert dice_at(half, np.zeros(SHAPE), (0.4, 0.5, 0.6)) == (0, 0, 1)
    assert dice_at(half, np.ones(SHAPE), (0.4, 0.5, 0.6)) == (1, 1, 0)
    with pytest.raises(InputError, match="ascending"):
        dice_at(half, half, (0.5, 0.4))
    with pytest.raises(InputError, match="must be equal"):
        dice_at(half, half[1:])


def test_best_threshold_is_the_best_by_brute_force() -> None:
    images, labels = zip(*(head(seed) for seed in range(3)), strict=True)
    baseline = best_threshold(images, labels)
    tried = np.unique(np.concatenate([image.ravel() for image in images]))
    curves = np.array(
        [[dice(image >= t, label) for t in tried[::3]] for image, label in zip(images, labels, strict=True)]
    )
    assert np.mean(baseline.dsc) >= curves.mean(axis=0).max() - 1e-6
    exact = [dice(image >= baseline.threshold, label) for image, label in zip(images, labels, strict=True)]
    assert baseline.dsc == pytest.approx(exact)
    loaded = best_threshold([lambda image=image: image for image in images], labels)
    assert loaded == baseline


def test_best_threshold_of_perfectly_bright_vessels_is_perfect() -> None:
    label = head(0)[1]
    assert best_threshold([label * 5.0 + 3], [label]).dsc == (1.0,)
    with pytest.raises(InputError, match="no label holds a vessel"):
        best_threshold([label * 1.0], [label * 0])


def test_the_threshold_row_lands_among_the_results(cohort: Path, tmp_path: Path) -> None:
    baseline = score_threshold(cohort, output=tmp_path / "results.jsonl", cohort="A")
    lines = read_results(tmp_path / "results.jsonl")
    assert [line["dsc"] for line in lines] == pytest.approx(baseline.dsc, abs=1e-5)
    assert {line["model"] for line in lines} == {"Best single threshold"}
    for line, (image, label) in zip(lines, map(head, range(3)), strict=True):
        small, large = dsc_by_calibre(image >= baseline.threshold, label, SPACING_MM)
        assert line["dsc_small"] == pytest.approx(small, abs=1e-5)
        assert line["dsc_large"] is large is None  # single voxels
        prediction = image >= baseline.threshold
        both = (prediction & (label > 0)).sum()
        assert line["precision"] == pytest.approx(both / prediction.sum(), abs=1e-5)
        assert line["recall"] == pytest.approx(both / (label > 0).sum(), abs=1e-5)
        assert line["cl_dice"] == pytest.approx(cl_dice(prediction, label), abs=1e-5)
        assert line["betti_errors"] == list(betti_errors(prediction, label))
        for name, distance in (("asd_mm", average_surface_distance_mm), ("average_hausdorff_mm", average_hausdorff_mm)):
            assert line[name] == pytest.approx(distance(prediction, label, spacing_mm=SPACING_MM), abs=1e-4)


def test_a_threshold_may_be_chosen_on_another_split(cohort: Path, tmp_path: Path) -> None:
    content = json.loads((cohort / "cohort.json").read_text())
    content["validation"], content["test"] = content["test"][:1], content["test"][1:]
    image, label = head(0)
    write_volume(cohort / content["validation"][0]["image"], image + 30)
    (cohort / "cohort.json").write_text(json.dumps(content))
    baseline = score_threshold(cohort, output=tmp_path / "results.jsonl", model="chosen before", chosen_on="validation")
    assert baseline == best_threshold([image + 30], [label])
    lines = read_results(tmp_path / "results.jsonl")
    expected = [dice(image >= baseline.threshold, label) for image, label in map(head, (1, 2))]
    assert [line["dsc"] for line in lines] == pytest.approx(expected, abs=1e-5)
    assert {(line["model"], line["split"], line["n"]) for line in lines} == {("chosen before", "test", 2)}
    flattered = score_threshold(cohort, output=tmp_path / "results.jsonl")
    assert np.mean(flattered.dsc) > np.mean(expected) + 0.01


def test_error_map_colours_each_class() -> None:
    image = np.linspace(0, 1, 16).reshape(4, 4)
    prediction, truth = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    prediction[0, 0] = truth[0, 0] = prediction[1, 1] = truth[2, 2] = True
    rgb = error_map(image, prediction, truth)
    assert [tuple(rgb[i, i]) for i in range(3)] == [TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE]
    assert rgb.dtype == np.uint8 and (rgb[3, 0] == rgb[3, 0, 0]).all()
    projected = projected_error_map(image[..., None].repeat(2, 2), prediction[..., None], truth[..., None])
    assert (projected[prediction | truth] == rgb[prediction | truth]).all()
    with pytest.raises(InputError, match="the shapes differ"):
        error_map(image, prediction[1:], truth)


def test_error_label_numbers_each_class() -> None:
    prediction, truth = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), np.float32)
    prediction[0, 0] = truth[0, :, 0] = 1
    classes = error_classes(prediction, truth)
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[[1, 2], [3, 0]], [[0, 0], [0, 0]]]


def test_pictures_show_anterior_up_and_the_left_on_the_right() -> None:
    ras = np.zeros((3, 5))
    ras[0, 4] = 1  # most left, most anterior
    assert radiological(ras).shape == (5, 3)
    assert radiological(ras)[0, 2] == 1


def test_error_map_becomes_a_picture_even_of_nothing(tmp_path: Path) -> None:
    empty = np.zeros(SHAPE)
    save_error_map(tmp_path / "map.png", empty, prediction=empty, truth=empty, affine=AFFINE, title="test-00")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["map.png"]


ENDS = ("png", "nii.gz")
CONFIG = """
key_metric:
  dsc:
    _target_: IgniteMetricHandler
    metric_fn: {_target_: tofgan_monai.OverlapMetric, score: dsc}
    output_transform: "$monai.handlers.from_engine(['pred', 'label'])"
more_metrics:
  hd95_mm:
    _target_: IgniteMetricHandler
    metric_fn: {_target_: tofgan_monai.OverlapMetric, score: hd95_mm}
    output_transform: "$monai.handlers.from_engine(['pred', 'label'])"
handlers:
- _target_: tofgan_monai.ResultsWriter
  path: "@output"
  model: threshold 130
  cohort: A
  error_maps: "@maps"
"""


class Thresholding(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image >= 130).float()


def test_an_evaluator_from_yaml_writes_the_same_scores(volumes: DataLoader, tmp_path: Path) -> None:
    parser = ConfigParser()
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    parser.read_config(path)
    parser.update({"output": str(tmp_path / "results.jsonl"), "maps": str(tmp_path / "maps")})
    parser["imports"] = ["$import monai"]
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=volumes,
        network=Thresholding(),
        key_val_metric=parser.get_parsed_content("key_metric"),
        additional_metrics=parser.get_parsed_content("more_metrics"),
        val_handlers=parser.get_parsed_content("handlers"),
    )
    for _ in range(2):  # a second run replaces the first
        evaluator.run()
    lines = read_results(tmp_path / "results.jsonl")
    scores = [overlap(image >= 130, label, spacing_mm=SPACING_MM) for image, label in map(head, range(3))]
    assert [line["dsc"] for line in lines] == pytest.approx([score.dsc for score in scores], abs=1e-5)
    assert [line["hd95_mm"] for line in lines] == pytest.approx([score.hd95_mm for score in scores], abs=1e-4)
    assert evaluator.state.metrics["dsc"] == pytest.approx(np.mean([score.dsc for score in scores]), abs=1e-5)
    assert evaluator.state.metrics["hd95_mm"] == pytest.approx(np.mean([score.hd95_mm for score in scores]), abs=1e-4)
    maps = [f"threshold-130_A_test-{index:02d}" for index in range(2)]
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {f"{name}.{end}" for name in maps for end in ENDS}
    errors, (image, label) = nibabel.load(tmp_path / "maps" / f"{maps[1]}.nii.gz"), head(1)
    np.testing.assert_array_equal(np.asarray(errors.dataobj), error_classes(image >= 130, label))
    np.testing.assert_allclose(errors.affine, AFFINE, atol=1e-5)
    assert "secret" not in (tmp_path / "results.jsonl").read_text()
    with open(tmp_path / "results.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["n"], row["n_empty"]) == ("3", "0")
    assert float(row["dsc_mean"]) == pytest.approx(np.mean([line["dsc"] for line in lines]), abs=1e-5)
    assert float(row["hd95_mm_sd"]) == pytest.approx(np.std([line["hd95_mm"] for line in lines], ddof=1), abs=1e-4)


class Scaling(torch.nn.Module):
    """Between 0 and 1, and 0.5 where the image is 130."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image / 260).clamp(0, 1)


def test_a_kept_probability_says_how_the_dsc_depends_on_the_threshold(
    volumes: DataLoader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run(postprocessing: list) -> list[dict]:
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=volumes,
            network=Scaling(),
            postprocessing=Compose(postprocessing),
            val_handlers=[ResultsWriter(tmp_path / "results.jsonl", model="scaling", cohort="A")],
        )
        for _ in range(2):  # a second run starts afresh
            evaluator.run()
        return read_results(tmp_path / "results.jsonl")

    keep, binarise = CopyItemsd("pred", names="probability"), AsDiscreted("pred", threshold=0.5)
    lines = run([keep, binarise])
    for line, (image, label) in zip(lines, map(head, range(3)), strict=True):
        probability = np.clip(image / np.float32(260), 0, 1)
        expected = [dice(probability >= np.float32(threshold), label) for threshold in PROBABILITIES]
        assert line["dsc_at"] == pytest.approx(expected, abs=1e-4)
        assert line["dsc_at"][9] == pytest.approx(line["dsc"], abs=1e-4)
        assert line["dsc_small"] == pytest.approx(dsc_by_calibre(image >= 130, label, SPACING_MM)[0], abs=1e-5)
        assert line["dsc_large"] is None
    assert not any("dsc_at" in line for line in run([binarise]))
    assert "dsc_at" not in caplog.text
    shifted = Lambdad("probability", lambda volume: MetaTensor(volume, affine=torch.eye(4)))
    with caplog.at_level(logging.WARNING):
        assert not any("dsc_at" in line for line in run([keep, binarise, shifted]))
    assert "test-02: the results have no dsc_at" in caplog.text


class Failing(Thresholding):
    """Stops at the third volume, as a machine may."""

    n_volumes = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.n_volumes += 1
        if self.n_volumes == 3:
            raise KeyboardInterrupt
        return super().forward(image)


def test_a_stopped_evaluation_goes_on_and_ends_with_the_same_results(cohort: Path, tmp_path: Path) -> None:
    def run(network: torch.nn.Module, output_dir: Path) -> str:
        progress = Progress(read_cohort(cohort, "test"), output_dir, settings={"threshold": 130})
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=DataLoader(Dataset(progress, ReadScand(KEYS)), batch_size=1),
            network=network,
            val_handlers=[ResultsWriter(output_dir / "results.jsonl", model="threshold 130", progress=progress)],
        )
        evaluator.run()
        return (output_dir / "results.jsonl").read_text()

    expected = run(Thresholding(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(Failing(), tmp_path / "stopped")
    assert "secret" not in (tmp_path / "stopped" / "unfinished.jsonl").read_text()
    rest = Failing()
    assert run(rest, tmp_path / "stopped") == expected and rest.n_volumes == 1
    assert [path.name for path in sorted((tmp_path / "stopped").iterdir())] == ["results.csv", "results.jsonl"]


def test_patients_without_labels_are_refused_by_name(cohort: Path, tmp_path: Path) -> None:
    content = json.loads((cohort / "cohort.json").read_text())
    for item in content["test"][1:]:
        del item["label"]
    (cohort / "cohort.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        score_threshold(cohort, output=tmp_path / "results.jsonl")
    told = caught.value.problems
    assert len(told) == 2 and all(f"sub-secret{i + 1} has no label" in problem for i, problem in enumerate(told))
