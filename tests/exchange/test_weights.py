"""Weights between clinics: the tensors of the network, byte by byte, and nothing that could travel beside them."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.exchange.weights import check_weights
from tofgan_monai.gan.networks import Generator

BUNDLES = [
    "tof_mra_dcgan",
    "tof_mra_dp_wgan_gp",
    "tof_mra_wgan_gp",
    "tof_mra_wgan_gp_sn",
    "tof_mra_vessel_segmentation",
]


def saved(content: object, path: Path | None = None) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, path or buffer)
    return path.read_bytes() if path else buffer.getvalue()


def weights() -> OrderedDict:
    return Generator(width=2).state_dict()


def problems(data: bytes, network: nn.Module | None = None) -> str:
    return "\n".join(map(str, check_weights("models/model.pt", data, network or Generator(width=2))))


def with_pickle(data: bytes, change) -> bytes:
    """A file whose pickle is another, written anew as torch writes it."""
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            name = entry.filename.removeprefix("archive/")
            if name not in ("version", ".data/serialization_id"):  # the writer's own
                content = archive.read(entry)
                content = change(content) if name == "data.pkl" else content
                writer.write_record(name, content, len(content))
    writer.write_end_of_file()
    return buffer.getvalue()


class Tied(nn.Module):
    """One tensor by two names, as MONAI's DynUNet has."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = self.first


@pytest.mark.parametrize("bundle", BUNDLES)
def test_own_weights_are_plain(bundle):
    data = (bundle_path(bundle) / "models" / "model.pt").read_bytes()
    assert check_weights("models/model.pt", data, None) == []


def test_what_a_clinic_saves_is_plain():
    assert problems(saved(weights())) == ""
    assert problems(saved(dict(weights()))) == ""
    assert problems(saved(Tied().state_dict()), Tied()) == ""
    channels_last = Generator(width=2).to(memory_format=torch.channels_last).state_dict()
    assert not channels_last["0.weight"].is_contiguous() and problems(saved(channels_last)) == ""
    assert problems(with_pickle(saved(weights()), lambda pickle: pickle)) == ""  # so the tests below test the pickle


def hidden_in_storage(path):
    sd = weights()
    name, tensor = next(iter(sd.items()))
    sd[name] = torch.full((tensor.numel() + 1000,), 7.0)[: tensor.numel()].view_as(tensor)
    return saved(sd)


def hidden_as_attribute(path):
    sd = OrderedDict(weights())
    sd.patients = {"scan": torch.zeros(50), "name": "Hans"}
    return saved(sd)


def hidden_in_notes(path):
    sd = weights()
    sd._metadata["Hans Muster"] = {"version": 1}
    return saved(sd)


def hidden_in_a_note(path):
    sd = weights()
    sd._metadata[""]["patients"] = torch.zeros(50)
    return saved(sd)


def hidden_in_a_record(path):
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    with zipfile.ZipFile(io.BytesIO(saved(weights()))) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(("/version", "serialization_id")):
                writer.write_record(
                    entry.filename.removeprefix("archive/"), archive.read(entry), len(archive.read(entry))
                )
    writer.write_record("data/9999", b"Hans", 4)
    writer.write_end_of_file()
    return buffer.getvalue()


def with_comment(path):
    buffer = io.BytesIO(saved(weights()))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"Hans Muster"
    return buffer.getvalue()


def in_padding(path):
    data = saved(weights())
    return data.replace(b"ZZZZZZZZ", b"ZZHansZZ", 1)


FORGED = {
    "two files, one after another": (
        lambda path: saved(dict.fromkeys("ab", 1)) + saved(weights()),
        "torch.save writes",
    ),
    "a byte before": (lambda path: b"\0" + saved(weights()), "torch.save writes"),
    "a byte behind": (lambda path: saved(weights()) + b"\0", "torch.save writes|no zip file"),
    "a comment": (with_comment, "torch.save writes"),
    "the padding": (in_padding, "torch.save writes"),
    "the name of the file": (lambda path: saved(weights(), path / "sub-01_Mueller.pt"), "saved as 'sub-01_Mueller'"),
    "a long storage": (hidden_in_storage, "'0.weight' is a part of its storage"),
    "a tensor over itself": (
        lambda path: saved({**weights(), "0.weight": torch.zeros(1).expand(weights()["0.weight"].shape)}),
        "'0.weight' is a part of its storage",
    ),
    "an attribute": (hidden_as_attribute, "not a bare state dict"),
    "a note": (hidden_in_notes, "a note on 'Hans Muster' is one too many"),
    "something in a note": (hidden_in_a_note, "notes beside the tensors"),
    "a record": (hidden_in_a_record, "data/9999 is in no tensor"),
    "parameters": (lambda path: saved(dict(Generator(width=2).named_parameters())), "torch._utils _rebuild_parameter"),
    "another device": (
        lambda path: with_pickle(saved(weights()), lambda p: p.replace(b"\3\0\0\0cpu", b"\4\0\0\0cuda")),
        "a tensor on 'cuda'",
    ),
    "bytes behind the pickle": (lambda path: with_pickle(saved(weights()), lambda p: p + b"Hans"), "(STOP)"),
    "a string in no tensor": (
        lambda path: with_pickle(saved(weights()), lambda p: p[:2] + b"X\4\0\0\0Hans" + p[2:]),
        "not a bare state dict",
    ),
    "a number of memory": (
        lambda path: with_pickle(saved(weights()), lambda p: p.replace(b"q\x01", b"r\xff\xff\xff\x0f", 1)),
        "(LONG_BINPUT)",
    ),
    "a long pickle": (
        lambda path: with_pickle(saved({}), lambda p: b"\x80\x02" + b"]0" * 200_000 + b"}."),
        "could exhaust the memory",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_nothing_travels_beside_the_tensors(name, tmp_path):
    make, told = FORGED[name]
    found = problems(make(tmp_path))
    assert any(text in found for text in told.split("|")), found


def test_storage_longer_than_its_record_takes_no_memory():
    def grown(pickle):
        numel = struct.pack("<i", weights()["0.weight"].numel())
        at = pickle.index(b"cpu")
        assert pickle[at + 5 :].startswith((b"J" + numel, b"M" + numel[:2]))
        size = 5 if pickle[at + 5 : at + 6] == b"J" else 3
        return pickle[: at + 5] + b"\x8a\x05" + (2**36).to_bytes(5, "little") + pickle[at + 5 + size :]

    assert "'0.weight' is a part of its storage" in problems(with_pickle(saved(weights()), grown))


def test_shared_tuples_as_a_key_end_soon():
    """Its hash would take 2**60 steps."""
    pickle = b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01"
    pickle += b"".join(b"h" + bytes([1 + i]) + b"\x86q" + bytes([2 + i]) for i in range(60)) + b"K\x01s."
    begun = time.perf_counter()
    assert "(BINGET)" in problems(with_pickle(saved({}), lambda _: pickle))
    assert time.perf_counter() - begun < 5
