"""The 3D network: sizes, folding, intensities, and the forms in which it travels."""

from __future__ import annotations

import copy

import onnxruntime
import pytest
import safetensors.torch
import torch
from torch import nn

from tofgan_monai import InputError, VesselUNet3D
from tofgan_monai.training.weights import to_safetensors

FOLDS = (1, 2)


def network(fold=2, **options):
    torch.manual_seed(0)
    return VesselUNet3D(width=3, levels=3, in_plane_fold=fold, **options).eval()


def window(*shape, seed=0):
    return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed)) * 500


@torch.no_grad()
@pytest.mark.parametrize("fold", FOLDS)
def test_logits_have_the_shape_of_the_image(fold):
    for shape in ((8 * fold, 4 * fold, 4), (16 * fold, 12 * fold, 8)):
        assert network(fold)(window(*shape)).shape == (1, 1, *shape)


@pytest.mark.parametrize("fold", FOLDS)
def test_number_of_parameters(fold):
    """By hand: convolutions without bias, norms with scale and shift, transposed convolutions, the 1x1x1 head."""
    down = 27 * (fold**2 * 3 + 3 * 3) + 27 * (3 * 6 + 6 * 6) + 27 * (6 * 12 + 12 * 12) + 4 * (3 + 6 + 12)
    strides = [4 * fold, 8]  # voxels of a step up: in plane alone, if nothing is folded
    up = strides[1] * 12 * 6 + 27 * (12 * 6 + 6 * 6) + strides[0] * 6 * 3 + 27 * (6 * 3 + 3 * 3) + 4 * (6 + 3)
    assert sum(p.numel() for p in network(fold).parameters()) == down + up + fold**2 * (3 + 1)


def test_folding_moves_each_2x2_block_of_pixels_into_channels():
    image = torch.arange(4 * 6 * 2.0).reshape(1, 1, 4, 6, 2)
    folded = network()._folded(image)
    assert folded.shape == (1, 4, 2, 3, 2)
    for channel, (i, j) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert torch.equal(folded[0, channel], image[0, 0, i::2, j::2])
    assert torch.equal(network()._unfolded(folded), image)


@torch.no_grad()
@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 0.0), (70.0, -1024.0)])
def test_units_of_the_image_do_not_matter(fold, scale, shift):
    image = window(16, 16, 8)
    torch.testing.assert_close(network(fold)(image * scale + shift), network(fold)(image), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_each_window_of_a_batch_is_normalised_by_itself():
    images = torch.cat([window(16, 16, 8), 9 * window(16, 16, 8, seed=1)])
    alone = torch.cat([network()(image[None]) for image in images])
    torch.testing.assert_close(network()(images), alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_constant_window_gives_finite_logits():
    assert torch.isfinite(network()(torch.full((1, 1, 16, 16, 8), 7.0))).all()


@pytest.mark.parametrize("fold", FOLDS)
def test_every_weight_gets_a_gradient(fold):
    net = network(fold).train()
    net(window(16, 16, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@torch.no_grad()
def test_activation_and_dropout_change_no_weight():
    plain, image = network(), window(16, 16, 8)
    probable, dropping = network(activation=nn.Sigmoid()), network(dropout=0.5)
    for other in (probable, dropping):
        other.load_state_dict(plain.state_dict())
    torch.testing.assert_close(probable(image), plain(image).sigmoid())
    assert torch.equal(dropping(image), plain(image))
    assert not torch.equal(dropping.train()(image), plain(image))


@pytest.mark.parametrize("wrong", [{"levels": 1}, {"in_plane_fold": 3}])
def test_sizes_without_sense_are_refused(wrong):
    with pytest.raises(InputError, match="give 2 or more levels, and a fold 1 or 2"):
        VesselUNet3D(2, **wrong)


@torch.no_grad()
@pytest.mark.parametrize("fold", FOLDS)
def test_scripted_traced_and_copied_networks_take_windows_of_other_sizes(fold):
    net, image = network(fold), window(16, 24, 4)
    for other in (torch.jit.script(net), torch.jit.trace(net, window(32, 32, 8)), copy.deepcopy(net)):
        assert torch.equal(other(image), net(image))


def test_weights_travel_in_safetensors_each_under_one_name():
    weights = network().state_dict()
    assert len({tensor.data_ptr() for tensor in weights.values()}) == len(weights)
    again = network()
    again.load_state_dict(safetensors.torch.load(to_safetensors(weights)))
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in weights.items())


@torch.no_grad()
@pytest.mark.parametrize("fold", FOLDS)
def test_onnx_exported_at_one_size_serves_at_others(fold, tmp_path):
    """BasicUNet does not: it keeps the padding of the example."""
    net, path = network(fold), str(tmp_path / "net.onnx")
    free = {"image": {0: "batch", 2: "x", 3: "y", 4: "z"}}  # torch's newer exporter takes 40 times as long
    torch.onnx.export(net, (window(32, 32, 16),), path, dynamo=False, input_names=["image"], dynamic_axes=free)
    session = onnxruntime.InferenceSession(path)
    for image in (window(32, 32, 12), window(16, 40, 16), torch.cat([window(16, 16, 8)] * 3)):
        (got,) = session.run(None, {"image": image.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), net(image), atol=1e-4, rtol=0)
