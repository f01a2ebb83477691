"""The Frechet distance: closed forms, MONAI and scipy as oracles, streaming, the cache, the verb."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from monai.metrics.fid import FIDMetric
from scipy import linalg
from typer.testing import CliRunner

from tofgan_monai import InputError, StackWriter, frechet_distance, open_stack
from tofgan_monai.cli import app
from tofgan_monai.metrics.bootstrap import jackknife_interval
from tofgan_monai.metrics.stacks import features, frechet
from tofgan_monai.metrics.stacks.frechet import FeatureStats, compare_stacks, feature_stats, stack_stats


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Correlated features (n, d) whose deviations span a factor of ten."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.geomspace(1, 0.1, d) @ rng.normal(size=(d, d)) / np.sqrt(d) + shift


def gaussian(mean: list[float], variances: list[float]) -> FeatureStats:
    return FeatureStats(np.array(mean, float), 100, "given", covariance=np.diag(np.array(variances, float)))


def by_square_root(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as it is written, with a matrix square root."""
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b))
    root = linalg.sqrtm(cov_a @ cov_b).real
    return float(np.square(mean_a - mean_b).sum() + np.trace(cov_a + cov_b - 2 * root))


@dataclass
class RowMeans:
    """An extractor without a network: the means of the 96 rows; it counts the images that it saw."""

    name: str = "FD(rows)"
    dim: int = 96
    sha256: str = "0" * 64
    seen: list[int] = field(default_factory=list)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1:] == (1, 96, 96) and images.dtype == torch.float32 and images.abs().max() <= 1
        self.seen.append(len(images))
        return images.mean(dim=3)[:, 0]


def test_with_equal_covariances_it_is_the_squared_distance_of_the_means():
    given = draw(300, 20, seed=0)
    step = np.linspace(-1, 1, 20)
    assert frechet_distance(feature_stats(given), feature_stats(given + step)) == pytest.approx(step @ step, rel=1e-9)


def test_with_diagonal_covariances_deviations_are_subtracted():
    a, b = gaussian([0, 1, 2], [1, 4, 9]), gaussian([1, 1, 0], [4, 16, 0.25])
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + (1 - 2) ** 2 + (2 - 4) ** 2 + (3 - 0.5) ** 2)


def test_dead_features_are_no_obstacle():
    a, b = gaussian([0, 0, 0], [1, 0, 4]), gaussian([0, 0, 0], [9, 4, 0])
    assert frechet_distance(a, b) == pytest.approx((1 - 3) ** 2 + 4 + 4)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(gaussian([0, 2], [0, 0]), gaussian([0, 0], [0, 0])) == 4


@pytest.mark.parametrize("n", [40, 400])
def test_it_is_0_with_itself_and_symmetric(n):
    a, b = feature_stats(draw(n, 64, seed=1)), feature_stats(draw(n, 64, seed=2))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, b) > 1


@pytest.mark.parametrize(("n", "d"), [(300, 64), (1000, 256)])
def test_monai_agrees(n, d):
    a, b = draw(n, d, seed=3), draw(n, d, seed=4, shift=0.3)
    expected = FIDMetric()(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert frechet_distance(feature_stats(a), feature_stats(b)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n_a", "n_b"), [(12, 12), (12, 25), (12, 90), (90, 12), (30, 30), (90, 90)])
def test_low_rank_and_mixed_cases_are_the_full_formula(n_a, n_b):
    a, b = draw(n_a, 30, seed=5), draw(n_b, 30, seed=6, shift=0.1)
    fitted = feature_stats(a), feature_stats(b)
    assert [stats.covariance is None for stats in fitted] == [n_a < 30, n_b < 30]
    assert all(len(stats.root()) <= 30 for stats in fitted)
    assert frechet_distance(*fitted) == pytest.approx(by_square_root(a, b), rel=1e-5)  # sqrtm of a singular product


@pytest.mark.parametrize(("n_a", "n_b", "size"), [(5, 90, 5), (90, 5, 5), (9, 5, 5), (90, 90, 30)])
def test_the_eigenvalue_problem_is_as_small_as_the_smaller_root(n_a, n_b, size, monkeypatch):
    solved = []
    eigvalsh = frechet.linalg.eigvalsh
    monkeypatch.setattr(frechet.linalg, "eigvalsh", lambda x, **options: solved.append(x.shape) or eigvalsh(x))
    frechet_distance(feature_stats(draw(n_a, 30, seed=5)), feature_stats(draw(n_b, 30, seed=6)))
    assert solved == [(size, size)]


@pytest.mark.parametrize("n", [7, 29, 30, 31, 200])
@pytest.mark.parametrize("chunk", [1, 13, 64])
def test_streaming_is_the_direct_computation_even_far_from_0(n, chunk):
    given = draw(n, 30, seed=7) + 1e7
    given[: n // 2] -= 100  # the first chunk is unlike the rest
    whole = feature_stats(given)
    streamed = feature_stats((given[i : i + chunk] for i in range(0, n, chunk)), "FD(trial)")
    assert (streamed.n, streamed.extractor) == (n, "FD(trial)")
    for stats in (whole, streamed):
        covariance = stats.covariance if n >= 30 else stats.factor.T @ stats.factor
        assert np.allclose(stats.mean, given.mean(0), rtol=1e-14)
        assert np.allclose(covariance, np.cov(given - 1e7, rowvar=False), rtol=0, atol=1e-5)
    assert frechet_distance(feature_stats(given, "FD(trial)"), streamed) == pytest.approx(0, abs=1e-2)


def test_memory_does_not_grow_with_n():
    d = 128
    chunk = draw(64, d, seed=8).astype(np.float32)

    def peak(n: int) -> int:
        tracemalloc.start()
        feature_stats(chunk for _ in range(n // 64))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(640)
    assert peak(64_000) < 1.1 * peak(640) < 64_000 * d * 8 / 20


def test_bad_features_are_named():
    with pytest.raises(InputError, match="1 features"):
        feature_stats(np.zeros((1, 4)))
    with pytest.raises(InputError, match="0 features"):
        feature_stats([])
    with pytest.raises(InputError, match=r"shape \(2, 5\); they must be \(n, 4\)"):
        feature_stats([np.zeros((2, 4)), np.zeros((2, 5))])
    with pytest.raises(InputError, match="not finite"):
        feature_stats(np.full((8, 4), np.nan))


def test_different_extractors_are_not_compared():
    a = feature_stats(draw(50, 8, seed=0), "FID")
    with pytest.raises(InputError, match=r"FID \(8 dimensions\) and FD\(rows\) \(8 dimensions\)"):
        frechet_distance(a, replace(a, extractor="FD(rows)"))
    with pytest.raises(InputError, match="dimensions"):
        frechet_distance(a, feature_stats(draw(50, 9, seed=0), "FID"))


@pytest.mark.parametrize("n", [5, 50])
def test_statistics_come_back_from_disk(n, tmp_path):
    stats = feature_stats(draw(n, 20, seed=9), "FID")
    stats.save(tmp_path / "deep" / "stats.npz")
    loaded = FeatureStats.load(tmp_path / "deep" / "stats.npz")
    assert (loaded.n, loaded.extractor) == (n, "FID")
    assert np.array_equal(loaded.mean, stats.mean) and np.array_equal(loaded.root(), stats.root())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["stats.npz"]


def test_no_other_file_passes_for_statistics(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", mean=np.array([{}], dtype=object), n=2, extractor="", factor=np.zeros((2, 3)))
    (tmp_path / "text.npz").write_text("text")
    for name in ("array.npy", "other.npz", "pickled.npz", "text.npz", "none.npz"):
        with pytest.raises(InputError, match=f"{name}: no readable statistics"):
            FeatureStats.load(tmp_path / name)


def test_a_stack_gives_the_statistics_of_its_images(write_pairs, tmp_path):
    path, extractor = write_pairs(tmp_path / "a.npy", n=150), RowMeans()
    stats = stack_stats(path, extractor)
    expected = np.load(path)[:, 0].astype(np.float32).mean(axis=2)
    assert (stats.n, stats.extractor, extractor.seen) == (150, "FD(rows)", [64, 64, 22])
    assert np.allclose(stats.mean, expected.mean(0), atol=1e-6)
    assert np.allclose(stats.covariance, np.cov(expected, rowvar=False), atol=1e-6)


def test_n_pairs_are_drawn_without_replacement_by_the_seed(write_pairs, tmp_path):
    path = write_pairs(tmp_path / "a.npy", n=30)
    rows = np.load(path)[:, 0].astype(np.float32).mean(axis=2)
    first, again, other = (stack_stats(path, RowMeans(), n=12, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.mean, again.mean) and not np.array_equal(first.mean, other.mean)
    drawn = first.factor * np.sqrt(11) + first.mean
    which = [int(np.abs(rows - row).sum(1).argmin()) for row in drawn]
    assert len(set(which)) == 12 and np.allclose(rows[which], drawn, atol=1e-6)


def test_the_cache_serves_the_same_question_only(write_pairs, tmp_path):
    path, extractor, cache = write_pairs(tmp_path / "a.npy", n=20), RowMeans(), tmp_path / "cache"
    first = stack_stats(path, extractor, n=10, seed=0, cache=cache)
    again = stack_stats(path, extractor, n=10, seed=0, cache=cache)
    assert extractor.seen == [10] and np.array_equal(first.root(), again.root())
    for question in ({"n": 11}, {"n": 10, "seed": 1}):
        stack_stats(path, extractor, cache=cache, **question)
    for other in (RowMeans(name="FD(other)"), RowMeans(sha256="1" * 64)):
        assert stack_stats(path, other, n=10, cache=cache).extractor == other.name
        assert other.seen == [10]
    write_pairs(path, n=20, seed=1)
    assert not np.array_equal(stack_stats(path, extractor, n=10, cache=cache).mean, first.mean)
    assert extractor.seen == [10, 11, 10, 10]


def test_labels_alone_and_both_jointly_are_other_questions(write_pairs, tmp_path):
    path, extractor, cache = write_pairs(tmp_path / "a.npy", n=20), RowMeans(), tmp_path / "cache"
    rows = np.load(path).astype(np.float32).mean(axis=3)  # (20, 2, 96)
    expected = {"image": rows[:, 0], "label": rows[:, 1], "pair": rows.reshape(20, 192)}
    for _ in ("computed", "kept"):
        found = {channel: stack_stats(path, extractor, cache=cache, channel=channel) for channel in expected}
        assert [stats.extractor for stats in found.values()] == ["FD(rows)", "FD(rows) of labels", "FD(rows) of pairs"]
        for channel, stats in found.items():
            assert np.allclose(stats.mean, expected[channel].mean(0), atol=1e-6)
            assert np.allclose(stats.factor.T @ stats.factor, np.cov(expected[channel], rowvar=False), atol=1e-6)
    assert extractor.seen == [20] * 4
    with pytest.raises(InputError, match="fit both with the same"):
        frechet_distance(found["image"], found["label"])
    with pytest.raises(InputError, match="'both' is unknown; choose one of image, label, pair"):
        compare_stacks(path, [path], extractor, channel="both")


def test_images_of_other_labels_are_seen_by_the_joint_distance_only(write_pairs, tmp_path):
    real, mixed = write_pairs(tmp_path / "real.npy", n=40), tmp_path / "mixed.npy"
    pairs = np.array(open_stack(real)[0])
    pairs[:, 1] = np.roll(pairs[:, 1], 1, axis=0)
    with StackWriter(mixed, 40, {"kind": "trial"}) as stack:
        stack.append(pairs)
    lines = [compare_stacks(real, [mixed], RowMeans(), channel=channel)[0] for channel in ("image", "label", "pair")]
    assert [line["value"] for line in lines[:2]] == pytest.approx([0, 0], abs=1e-5) and lines[2]["value"] > 0.1
    assert [(line["measure"], line["dim"]) for line in lines[1:]] == [
        ("FD(rows) of labels", 96),
        ("FD(rows) of pairs", 192),
    ]


def test_stacks_are_compared_n_against_n(write_pairs, tmp_path):
    real, small = write_pairs(tmp_path / "real.npy", n=40), write_pairs(tmp_path / "small.npy", n=25, seed=1)
    lines = compare_stacks(real, [small, real], RowMeans(), output=tmp_path / "out.jsonl", cache=tmp_path / "cache")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == lines
    assert [line["n"] for line in lines] == [25, 25]
    expected = frechet_distance(*(stack_stats(path, RowMeans(), n=25) for path in (real, small)))
    assert lines[0] == {
        "measure": "FD(rows)",
        "stack": "small",
        "reference": "real",
        "value": round(expected, 5),
        "n": 25,
        "dim": 96,
        "extractor_sha256": "0" * 64,
    }
    assert lines[0]["value"] > 0 and lines[1]["value"] == pytest.approx(0, abs=1e-5)


def test_the_interval_is_over_the_real_stacks_patients(write_pairs, tmp_path):
    real, made = write_pairs(tmp_path / "real.npy", n=40), write_pairs(tmp_path / "made.npy", n=40, seed=1)
    with pytest.raises(InputError, match=r"real\.npy: .*manifest does not assign the pairs"):
        compare_stacks(real, [made], extractor := RowMeans(), over_patients=True)
    assert not extractor.seen
    pairs, sizes = np.array(open_stack(real)[0]), (12, 8, 20)
    volumes = [{"patient": i, "n_vessel": size // 2, "n_random": size // 2} for i, size in enumerate(sizes)]
    with StackWriter(real, 40, {"kind": "real", "volumes": volumes}) as stack:
        stack.append(pairs)
    (line,) = compare_stacks(real, [made], RowMeans(), over_patients=True)
    (plain,) = compare_stacks(real, [made], RowMeans())
    assert plain.items() <= line.items() and line["n_patients"] == 3
    left = []
    for rows in np.split(np.arange(40), np.cumsum(sizes)[:-1]):
        features = RowMeans()(torch.from_numpy(np.delete(pairs, rows, axis=0)[:, :1].astype(np.float32)))
        left.append(frechet_distance(feature_stats(features, "FD(rows)"), stack_stats(made, RowMeans())))
    assert line["without_each"] == pytest.approx(left, abs=2e-5)
    assert (line["low"], line["high"]) == pytest.approx(
        (lambda found: (found.low, found.high))(jackknife_interval(plain["value"], left)), abs=1e-4
    )


def test_stacks_that_are_too_small_are_all_named_before_anything_is_computed(write_pairs, tmp_path):
    real, extractor = write_pairs(tmp_path / "real.npy", n=20), RowMeans()
    small = [write_pairs(tmp_path / f"{name}.npy", n=9) for name in "ab"]
    with pytest.raises(InputError) as error:
        compare_stacks(real, small, extractor, n=10)
    found = [problem.split(" pairs")[0] for problem in error.value.problems]
    assert found == [f"{path}: the stack has 9" for path in small]
    with pytest.raises(InputError, match="not 1"):
        stack_stats(real, extractor, n=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        compare_stacks(real, small, extractor, output=tmp_path / "file" / "out.jsonl")
    assert not extractor.seen


def test_the_verb_prints_a_line_for_each_stack(write_pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "load_extractor", lambda weights, network: RowMeans(name=f"FD({weights or network})"))
    stacks = [write_pairs(tmp_path / f"{name}.npy", n=12, seed=seed) for seed, name in enumerate(("real", "a", "b"))]
    output = tmp_path / "quality.jsonl"
    output.write_text("what was there before")
    words = ["frechet", *stacks, "--output", output, "--n", 10, "--inception-weights", "w"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(line["stack"], line["measure"], line["n"]) for line in lines] == [("a", "FD(w)", 10), ("b", "FD(w)", 10)]
    printed = [line for line in done.output.splitlines() if "FD(w)" in line]
    assert printed == [f"{line['stack']}: FD(w) {line['value']:.5f} to real, n 10" for line in lines]
    done = CliRunner().invoke(app, [*map(str, words), "--channel", "label"])
    assert done.exit_code == 0 and done.output.count("FD(w) of labels ") == 2, done.output
    words = ["frechet", *map(str, stacks), "--n", "10", "--network", "EfficientNet-Lite2"]
    assert CliRunner().invoke(app, words).output.count("FD(EfficientNet-Lite2)") == 2
    with pytest.raises(InputError, match="EfficientNet-Lite2 and --inception-weights name two networks"):
        CliRunner().invoke(app, [*words, "--inception-weights", "w"], catch_exceptions=False)
