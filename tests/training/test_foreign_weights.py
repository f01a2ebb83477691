"""Weights of other programs: loaded where only a prefix or a dictionary differs, else told for what they are."""

from __future__ import annotations

import warnings
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from tests.helpers.checkpoints import same
from tofgan_monai import HalfUNet, InputError, start_from
from tofgan_monai.training.weights import load_weights, save_weights


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(1)
    return HalfUNet(2)


def wrapped(network):
    return nn.DataParallel(network).state_dict()


WRAPPED = {
    "DataParallel": (lambda net: wrapped(net), "module.", ""),
    "compiled": (lambda net: torch.compile(net).state_dict(), "_orig_mod.", ""),
    "both": (lambda net: nn.DataParallel(torch.compile(net)).state_dict(), "module._orig_mod.", ""),
    "Lightning": (lambda net: {"epoch": 3, "state_dict": net.state_dict(), "optimizer": [1]}, "", "['state_dict']"),
    "MONAI": (lambda net: {"model": net.state_dict(), "trainer": {"iteration": 7}}, "", "['model']"),
    "nested": (lambda net: {"model": {"state_dict": wrapped(net)}}, "module.", "['model']['state_dict']"),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_weights_that_differ_by_prefix_or_dictionary_are_loaded_and_it_is_said(trained, tmp_path, caplog, kind):
    wrap, prefix, place = WRAPPED[kind]
    save_weights(wrap(trained), tmp_path / "theirs.pt")
    assert same(start_from(HalfUNet(2), tmp_path / "theirs.pt").state_dict(), trained.state_dict())
    (record,) = [record for record in caplog.records if record.name.startswith("tofgan_monai")]
    assert f"{tmp_path / 'theirs.pt'}: the weights of another program are used" in record.message
    assert (f"without the prefix '{prefix}'" in record.message) == bool(prefix)
    assert place in record.message and ("taken from" in record.message) == bool(place)


def test_own_weights_are_loaded_without_a_word(trained, tmp_path, caplog):
    save_weights(trained.state_dict(), tmp_path / "ours.pt")
    start_from(HalfUNet(2), tmp_path / "ours.pt")
    assert not caplog.records


def test_prefix_of_another_network_is_no_help(trained, tmp_path):
    save_weights({f"module.{name}x": value for name, value in trained.state_dict().items()}, tmp_path / "theirs.pt")
    with pytest.raises(InputError, match=r"do not fit the configuration's HalfUNet \(Missing key"):
        start_from(HalfUNet(2), tmp_path / "theirs.pt")
    save_weights(wrapped(HalfUNet(3)), tmp_path / "wider.pt")
    with pytest.raises(InputError, match=r"do not fit .* \(size mismatch"):
        start_from(HalfUNet(2), tmp_path / "wider.pt")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([torch.zeros(1)], "holds an object of type list in place of a network's state dict"),
        (torch.zeros(3), "holds an object of type Tensor"),
        ({"epoch": 1, "weights": {}}, r"holds a dictionary \(epoch, weights\) without a network's state dict"),
        ({"model": {"optimizer": 3}}, r"holds a dictionary \(model\) without"),
        ({"format": 2, "recipe": {}, "state": {}}, "the checkpoint of a training run; give the run's best.pt"),
    ],
)
def test_content_that_is_no_state_dict_is_told(tmp_path, content, told):
    save_weights(content, tmp_path / "theirs.pt")
    with pytest.raises(InputError, match=rf"theirs\.pt .*{told}") as caught:
        start_from(HalfUNet(2), tmp_path / "theirs.pt")
    assert len(caught.value.problems) == 1


def torchscript(network, path):
    torch.jit.script(network).save(str(path))


def bundle_archive(network, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("my_bundle/configs/inference.yaml", "width: 2")


def numpy_array(network, path):
    with open(path, "wb") as stream:
        np.save(stream, np.zeros(3))


FILES = {
    "TorchScript": (torchscript, "is a TorchScript program"),
    "whole network": (lambda network, path: torch.save(network, path), "is a file of Python objects, such as a whole"),
    "safetensors": (lambda network, path: safetensors.torch.save_file({"a": torch.zeros(2)}, path), "is a safetensors"),
    "archive": (bundle_archive, "is a zip archive; if it holds a bundle, install it by `tofgan install`"),
    "NumPy": (numpy_array, "is a NumPy array"),
    "Git LFS": (
        lambda network, path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
        "is a pointer of Git LFS",
    ),
    "Keras": (lambda network, path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "is an HDF5 file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_file_of_another_kind_is_told(trained, tmp_path, kind):
    write, told = FILES[kind]
    write(trained, tmp_path / "model.pt")
    with pytest.raises(InputError, match=rf"model\.pt {told}") as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(tmp_path / "model.pt")
    assert len(caught.value.problems) == 1 and "truncated" not in str(caught.value)


def test_onnx_is_told_by_its_name(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch")
    with pytest.raises(InputError, match=r"model\.onnx is an ONNX file"):
        load_weights(tmp_path / "model.onnx")
