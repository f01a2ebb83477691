"""The quality of a stack as a whole: what stands in it, equal numbers, floors, and what copies do to it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tofgan_monai import InputError, frechet_distance
from tofgan_monai.metrics.stacks import quality as module
from tofgan_monai.metrics.stacks.features import drawn
from tofgan_monai.metrics.stacks.frechet import feature_stats
from tofgan_monai.metrics.stacks.kernel_distance import kernel_distance
from tofgan_monai.metrics.stacks.quality import quality


class Coarse:
    """An extractor without a network: the image in 6 x 6 pixels; it counts what it saw."""

    name, dim, sha256 = "FD(coarse)", 36, "0" * 64

    def __init__(self):
        self.n_seen = 0

    def __call__(self, images):
        assert images.shape[1:] == (1, 96, 96) and images.dtype == torch.float32
        self.n_seen += len(images)
        return torch.nn.functional.avg_pool2d(images, 16).flatten(1)


def draw(n: int, seed: int, *, brightness: float = 0.8) -> np.ndarray:
    """Pairs of one vertical vessel each, somewhere, of some width."""
    rng = np.random.default_rng(seed)
    starts, widths = rng.integers(5, 80, n), rng.integers(2, 7, n)
    columns = np.arange(96)
    label = (columns >= starts[:, None]) & (columns < (starts + widths)[:, None])  # (n, 96)
    label = np.broadcast_to(label[:, None], (n, 96, 96))
    image = (rng.normal(-0.4, 0.1, (n, 96, 96)) + brightness * label).clip(-1, 1)
    return np.stack([image, np.where(label, 1, -1)], axis=1).astype(np.float16)


@pytest.fixture(scope="module", autouse=True)
def few_comparisons():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "N_COMPARISONS", 30)
        yield


@pytest.fixture(scope="module")
def found():
    return quality(draw(60, 2, brightness=0.3), draw(50, 0), draw(40, 1), Coarse())


def test_all_sections_stand_in_it_and_are_json(found):
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["n"] == 40 and found["extractor"] == {"name": "FD(coarse)", "sha256": "0" * 64}
    assert [line["name"] for line in found["distances"]] == [
        f"{measure}, {what}"
        for what in ("images", "labels", "images and labels jointly")
        for measure in ("Frechet distance", "Kernel distance (KID)")
    ]
    assert all(line["n"] == 40 for line in found["distances"])
    assert set(found["manifold"]["floor"]) == {"precision", "recall", "density", "coverage"} < set(found["manifold"])
    assert set(found["diversity"]) == {"name", "synthetic", "real", "others", "n_comparisons"}
    assert all(line["n"]["synthetic"] == 40 for line in found["vessels"] if line["unit"] == "per patch")
    assert "copies" in found["warning"]


def test_each_figure_is_the_measures_own_on_equal_numbers(found):
    sets = [
        of[drawn(len(of), 40, 0)].astype(np.float32) for of in (draw(60, 2, brightness=0.3), draw(50, 0), draw(40, 1))
    ]
    images, labels = ([Coarse()(torch.from_numpy(of[:, c : c + 1])).numpy() for of in sets] for c in (0, 1))
    jointly = [np.concatenate(both, axis=1) for both in zip(images, labels, strict=True)]
    for (synthetic, real, others), frechet, kernel in zip(
        (images, labels, jointly), found["distances"][::2], found["distances"][1::2], strict=True
    ):
        for key, of in (("value", synthetic), ("floor", others)):
            assert frechet[key] == pytest.approx(frechet_distance(feature_stats(of), feature_stats(real)), rel=1e-5)
            assert kernel[key] == pytest.approx(kernel_distance(of, real).value, rel=1e-5)


def test_a_duller_stack_is_seen_where_it_is_duller_only(found):
    images, labels = found["distances"][0], found["distances"][2]
    assert images["value"] > 3 * images["floor"] and labels["value"] < 3 * labels["floor"]
    contrast = found["vessels"][-1]
    assert contrast["distance"] > 3 * contrast["floor"]
    assert contrast["means"]["synthetic"] == pytest.approx(0.3 / 0.1, rel=0.1)
    assert found["manifold"]["recall"] < found["manifold"]["floor"]["recall"]


def test_copies_of_the_training_set_have_the_best_distances_of_all():
    members, others = draw(40, 0), draw(40, 1)
    copied = quality(members, members, others, Coarse())
    honest = quality(draw(40, 3), members, others, Coarse())
    for copy, new in zip(copied["distances"], honest["distances"], strict=True):
        assert copy["value"] < min(copy["floor"], new["value"])
    assert copied["distances"][0]["value"] == pytest.approx(0, abs=1e-9)
    assert copied["manifold"]["precision"] == copied["manifold"]["recall"] == copied["manifold"]["coverage"] == 1
    assert all(line["distance"] == 0 for line in copied["vessels"])
    assert copied["diversity"]["synthetic"] == copied["diversity"]["real"]


def test_the_network_sees_each_image_and_label_once_and_no_more_than_stated(monkeypatch):
    monkeypatch.setattr(module, "N_FEATURES", 20)
    found = quality(draw(25, 2), draw(28, 0), draw(30, 1), extractor := Coarse())
    assert extractor.n_seen == 20 * 3 * 2
    assert {line["n"] for line in found["distances"]} == {20} == {found["manifold"]["n"]}
    assert found["n"] == 25 == found["vessels"][1]["n"]["others"]


def test_constant_pairs_are_measured_without_nan():
    constant = np.full((10, 2, 96, 96), -1, np.float16)
    found = quality(constant, draw(10, 0), draw(10, 1), Coarse())
    assert json.dumps(found, allow_nan=False)
    assert found["vessels"][0]["distance"] is None and found["vessels"][1]["distance"] > 0
    assert found["manifold"]["recall"] == 0


def test_sets_that_are_too_small_are_named_before_anything_is_computed():
    with pytest.raises(InputError, match=r"n of 6 pairs; 7 or more .*synthetic 6, real 12, others 14"):
        quality(draw(6, 2), draw(12, 0), draw(14, 1), extractor := Coarse())
    assert extractor.n_seen == 0
