"""Stacks from weights: the same bytes each time, whole or not at all, told what is wrong; weights into a bundle."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from tofgan_monai import (
    Critic,
    GaussianLatents,
    Generator,
    InputError,
    LatentDataset,
    adopt,
    open_stack,
    raw_labels,
    start_from,
    weights_file_digest,
)
from tofgan_monai.bundle_runs.runs import run_bundle
from tofgan_monai.gan import generation
from tofgan_monai.training.weights import load_weights, save_weights

GAN = Path(__file__).parents[2] / "bundles" / "tof_mra_wgan_gp_sn"
UNET = GAN.parent / "tof_mra_vessel_segmentation"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    save_weights(Generator(100, 2).state_dict(), path)
    return path


def generate(path, trained, size=10, **overrides):
    given = {"output": str(path), "weights": str(trained), "n": size, "width": 2, "label_threshold": 0.0, **overrides}
    run_bundle(GAN, ["inference.yaml"], given)
    return path


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_call_gives_the_same_bytes_and_more_pairs_begin_with_the_same(weights, tmp_path):
    for name, n, seed in (("a", 10, 3), ("b", 10, 3), ("more", 70, 3), ("other", 10, 4)):
        torch.manual_seed(n)  # nothing of the global generator matters
        generate(tmp_path / f"{name}.npy", weights, n, seed=seed)
    content = files(tmp_path)
    assert content["a.npy"] == content["b.npy"] != content["other.npy"] and content["a.json"] == content["b.json"]
    more, _ = open_stack(tmp_path / "more.npy")
    assert len(more) == 70 and len(np.unique(more.reshape(70, -1), axis=0)) == 70
    np.testing.assert_array_equal(more[:10], open_stack(tmp_path / "a.npy")[0])


def test_manifest_says_where_pairs_come_from_and_names_no_path(weights, tmp_path):
    _, manifest = open_stack(generate(tmp_path / "a.npy", weights, 3, seed=5))
    assert manifest == {
        "kind": "synthetic",
        "bundle": "tof_mra_wgan_gp_sn",
        "seed": 5,
        "weights_sha256": weights_file_digest(weights),
        "label_threshold": 0.0,
        "threads": torch.get_num_threads(),
        "n": 3,
        "shape": [3, 2, 96, 96],
        "dtype": "float16",
    }


def test_pairs_are_what_the_generator_makes_of_the_fixed_latents(weights, tmp_path):
    pairs, _ = open_stack(generate(tmp_path / "a.npy", weights, 3, seed=5))
    generator = Generator(100, 2).eval()
    start_from(generator, weights)
    with torch.no_grad():
        raw = generator(GaussianLatents(100).fixed(64, seed=5))[:3].numpy()
    np.testing.assert_allclose(pairs[:, 0], raw[:, 0], atol=1e-3)
    np.testing.assert_array_equal(pairs[:, 1], np.where(raw[:, 1] > 0, 1, -1))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"width": 3}, "do not fit the configuration.s Generator"),
        ({"weights": "nowhere.pt"}, r"nowhere\.pt does not exist"),
        ({"n": 0}, "--n 0: out of range"),
        ({"seed": -1}, "--seed -1: out of range"),
        ({"output": "pairs.npz"}, r"pairs\.npz is not a name for a stack"),
    ],
)
def test_wrong_input_is_one_clear_line(weights, tmp_path, overrides, told):
    with pytest.raises(InputError, match=told) as caught:
        generate(tmp_path / "a.npy", weights, **overrides)
    assert len(caught.value.problems) == 1 and not list(tmp_path.iterdir())


def test_truncated_weights_and_a_file_for_a_folder_are_told(weights, tmp_path):
    cut = tmp_path / "cut.pt"
    cut.write_bytes(weights.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"cut\.pt cannot be read as weights"):
        generate(tmp_path / "a.npy", cut)
    with pytest.raises(InputError, match=r"a\.npy cannot be written"):
        generate(cut / "a.npy", weights)


def test_run_that_fails_midway_leaves_the_stack_of_before(weights, tmp_path, monkeypatch, full_disk):
    path = generate(tmp_path / "a.npy", weights, 5)
    before = files(tmp_path)
    with full_disk(1_000_000), pytest.raises(InputError, match=r"a\.npy cannot be written \(File too large\)"):
        generate(path, weights, 70)
    assert files(tmp_path) == before

    labels = [generation.binarise_labels]  # of the first chunk; for the second there is none
    monkeypatch.setattr(generation, "binarise_labels", lambda *pairs: labels.pop()(*pairs))
    with pytest.raises(Exception, match=r"pop from empty list|run"):
        generate(path, weights, 70)
    assert files(tmp_path) == before


def test_latents_fill_whole_chunks_and_depend_on_the_index():
    dataset = LatentDataset(GaussianLatents(4), n=65, seed=1)
    assert len(dataset) == 128 and dataset[64]["image"].equal(GaussianLatents(4).fixed(65, seed=1)[64])
    with pytest.raises(IndexError):
        dataset[128]


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "my_gan"
    shutil.copytree(GAN / "configs", folder / "configs")
    config = folder / "configs" / "inference.yaml"
    config.write_text(re.sub(r"(?m)^width: \d+", "width: 2", config.read_text()))
    return folder


@pytest.fixture
def training(tmp_path):
    """Two generators: the best's and the last's."""
    folder = tmp_path / "run"
    for name, seed in (("best.pt", 1), ("checkpoint.pt", 2)):
        torch.manual_seed(seed)
        weights = Generator(100, 2).state_dict()
        save_weights(weights if name == "best.pt" else {"state": {"average": weights}}, folder / name)
    return folder


def test_adopted_weights_fit_the_bundle_and_bring_their_threshold(bundle, training, tmp_path, write_pairs):
    config = bundle / "configs" / "inference.yaml"
    before = config.read_text()
    target, threshold = adopt(training, bundle, validation_pairs=write_pairs(tmp_path / "real.npy"))
    assert target == bundle / "models" / "model.pt"
    start_from(Generator(100, 2), target)
    assert target.read_bytes() == (training / "best.pt").read_bytes()
    parser = ConfigParser()
    parser.read_config(str(config))
    assert -1 < threshold < 1 and parser["label_threshold"] == pytest.approx(threshold, abs=5e-4)
    changed = [line for line in config.read_text().splitlines() if line not in before.splitlines()]
    assert len(changed) == 1 and "# a raw label" in changed[0]
    pairs = generate(tmp_path / "synthetic.npy", target, 64, label_threshold=threshold)
    share = (open_stack(pairs)[0][:, 1] > 0).mean()
    assert share == pytest.approx(8 / 96, abs=0.03)  # the real pairs' share of vessels


def test_private_training_brings_its_own_share_of_vessels(bundle, training):
    (training / "guarantee.json").write_text('{"vessel_share": 0.04}')
    target, threshold = adopt(training, bundle)
    labels = raw_labels(start_from(Generator(100, 2), target))
    assert (labels > threshold).mean() == pytest.approx(0.04, abs=1e-4)


def test_last_weights_are_adopted_on_request(bundle, training):
    _, threshold = adopt(training, bundle, last=True)
    expected = load_weights(training / "checkpoint.pt")["state"]["average"]
    adopted = load_weights(bundle / "models" / "model.pt")
    assert threshold is None and all(value.equal(expected[name]) for name, value in adopted.items())


def test_what_does_not_fit_is_not_adopted(bundle, training, tmp_path, write_pairs):
    adopt(training, bundle)
    before = (bundle / "models" / "model.pt").read_bytes()
    save_weights(Critic(2).state_dict(), training / "best.pt")
    with pytest.raises(InputError, match=r"run.best\.pt holds weights that do not fit"):
        adopt(training, bundle)
    with pytest.raises(InputError, match="does not exist"):
        adopt(tmp_path / "nowhere", bundle)
    with pytest.raises(InputError, match=r"none\.npy"):
        adopt(training, bundle, last=True, validation_pairs=tmp_path / "none.npy")
    assert (bundle / "models" / "model.pt").read_bytes() == before


def test_a_segmentation_has_no_label_threshold(training, tmp_path, write_pairs):
    folder = tmp_path / "unet"
    shutil.copytree(UNET / "configs", folder / "configs")
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.yaml"))
    save_weights(parser.get_parsed_content("network_def").state_dict(), training / "best.pt")
    with pytest.raises(InputError, match="has no label_threshold"):
        adopt(training, folder, validation_pairs=write_pairs(tmp_path / "real.npy", 2))
    assert not (folder / "models").exists()
