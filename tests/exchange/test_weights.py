"""Weights between clinics: the tensors of the network, byte by byte, and nothing that could travel beside them.

FORGED has a file for each place of a safetensors file in which something else could travel. Until version 0.1.0 weights
travelled as torch's zip of a pickle. Each attack on that form has its counterpart of the same name:

- two files, a byte before or behind, a comment, the padding, a record, an attribute, a note, a string in no tensor,
  bytes behind the pickle: the same bytes in the places that safetensors has for them;
- the name of the file (torch.save keeps it): safetensors keeps none, so it stands in the metadata here;
- a long storage, a tensor over itself: lengths and offsets in the header, as there are no storages;
- parameters, another device: safetensors has neither classes nor devices; a key of a tensor says it here;
- a number of memory, a long pickle, shared tuples as a key (a hash without end): safetensors has no machine with a
  memory; a header without end or of endless nesting is here what could exhaust the reader's.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict

import pytest
import torch
from torch import nn

from tofgan_monai import Generator, sha256, weights_digest, weights_file_digest
from tofgan_monai.exchange.weights import MAX_HEADER, check_weights
from tofgan_monai.training.weights import save_weights, to_safetensors


def weights() -> OrderedDict:
    torch.manual_seed(0)
    return Generator(width=2).state_dict()


def problems(data: bytes, network: nn.Module | None = None) -> str:
    found = check_weights("models/model.safetensors", data, network or Generator(width=2))
    assert all(str(problem).isprintable() for problem in found)
    return "\n".join(map(str, found))


def parts(data: bytes) -> tuple[dict, bytes]:
    """The entries of a safetensors file by the tensors' names, and the bytes of the values."""
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def made(header: dict | bytes, values: bytes) -> bytes:
    """A file of a header, padded as safetensors does it, and of values."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + values


def header_text(change) -> bytes:
    """The file with another text for a header."""
    data = to_safetensors(weights())
    end = 8 + int.from_bytes(data[:8], "little")
    return made(change(data[8:end]), data[end:])


def header(change) -> bytes:
    """The file with changes in the entries of its header."""
    entries, values = parts(to_safetensors(weights()))
    return made(change(entries) or entries, values)


def of_first(**more) -> bytes:
    """The file with other keys of its first tensor."""
    return header(lambda entries: next(iter(entries.values())).update(more))


def moved(entries, name, by):
    entries[name]["data_offsets"] = [offset + by for offset in entries[name]["data_offsets"]]


class Tied(nn.Module):
    """One tensor by two names, as MONAI's DynUNet has."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = self.first


def test_what_a_clinic_saves_is_plain():
    assert problems(to_safetensors(weights())) == ""
    assert problems(to_safetensors(Tied().state_dict()), Tied()) == ""
    channels_last = Generator(width=2).to(memory_format=torch.channels_last).state_dict()
    assert not channels_last["0.weight"].is_contiguous() and problems(to_safetensors(channels_last)) == ""
    assert problems(header(lambda entries: None)) == ""  # so the tests below test their changes
    assert check_weights("a", to_safetensors({}), None) == []
    (problem,) = check_weights("a", to_safetensors({"mask": torch.ones(1, dtype=torch.bool)}), None)
    assert problem.what == "mask is of torch.bool"  # a byte of 2 would be true, too


def test_one_digest_names_weights_in_every_file_order_and_memory_layout(tmp_path):
    plain = {"b": torch.arange(16.0).view(1, 2, 2, 4), "a": torch.tensor(3)}
    digest = "a70c23e318132f56fed38fbacae651b2206a2cb693e6aff7a86228d316a61736"
    assert weights_digest(plain) == digest
    assert weights_digest({name: plain[name] for name in "ab"}) == digest
    assert weights_digest({**plain, "b": plain["b"].to(memory_format=torch.channels_last)}) == digest
    assert weights_digest({**plain, "b": nn.Parameter(plain["b"])}) == digest
    save_weights(OrderedDict(plain), tmp_path / "sub-01.pt")
    assert weights_file_digest(tmp_path / "sub-01.pt") == digest
    others = [{**plain, "c": plain["a"]}, {**plain, "a": plain["a"].int()}, {**plain, "a": torch.tensor(4)}]
    others.append({**plain, "b": plain["b"].view(2, 1, 2, 4)})
    assert len({digest, *map(weights_digest, others)}) == 5


def test_checkpoint_is_named_by_its_file(tmp_path):
    save_weights({"epoch": 1, "state": {"critic": weights()}}, tmp_path / "checkpoint.pt")
    assert weights_file_digest(tmp_path / "checkpoint.pt") == sha256(tmp_path / "checkpoint.pt")


PLAIN = to_safetensors(weights())
FIRST, SECOND, *_ = parts(PLAIN)[0]
REFUSED = "no safetensors file|safetensors cannot read the file|differs from the bytes"
FORGED = {
    "two files, one after another": lambda: PLAIN + PLAIN,
    "a byte before": lambda: b"\0" + PLAIN,
    "a byte behind": lambda: PLAIN + b"\0",
    "a comment": lambda: header_text(lambda text: text + b"/* Hans Muster */"),
    "the padding": lambda: header_text(lambda text: text.rstrip() + b"\t \t\t \t  "),
    "the name of the file": lambda: header(lambda entries: {"__metadata__": {"file": "sub-01_Mueller"}, **entries}),
    "a long storage": lambda: of_first(shape=[0]),
    "a tensor over itself": lambda: of_first(shape=[2**40, 2**20]),
    "an attribute": lambda: of_first(patients=["Hans"]),
    "a note": lambda: header(lambda entries: {"__metadata__": {"format": "pt"}, **entries}),
    "something in a note": lambda: header(lambda entries: {"__metadata__": {"format": [0.0] * 50}, **entries}),
    "a record": lambda: to_safetensors({**weights(), "9999": torch.zeros(4)}),
    "parameters": lambda: of_first(requires_grad=True),
    "another device": lambda: of_first(device="cuda"),
    "bytes behind the pickle": lambda: header_text(lambda text: text + b"Hans"),
    "a string in no tensor": lambda: header(lambda entries: {"Hans": "Muster", **entries}),
    "a number of memory": lambda: b"\xff" * 8 + PLAIN,
    "a long pickle": lambda: made(b"[" * 200_000 + b"]" * 200_000, b""),
    "a name twice": lambda: header_text(lambda text: text.replace(f'"{SECOND}":'.encode(), f'"{FIRST}":'.encode(), 1)),
    "a key twice": lambda: header_text(lambda text: text.replace(b"{", b'{"dtype":"F64",', 2)),
    "a gap": lambda: header(lambda entries: moved(entries, SECOND, 8)),
    "an overlap": lambda: header(lambda entries: moved(entries, SECOND, -8)),
    "offsets backwards": lambda: of_first(data_offsets=[8, 0]),
    "a huge header": lambda: made(b"{}" + b" " * MAX_HEADER, b""),
    "blanks between": lambda: header_text(lambda text: text.replace(b",", b" ,", 8)),
    "letters by their numbers": lambda: header_text(lambda text: text.replace(b'F32"', b'F\\u00332"', 1)),
    "another order": lambda: header(lambda entries: dict(reversed(entries.items()))),
    "another order, whole": lambda: made(
        {name: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i, name in enumerate("ba")}, b"12"
    ),
    "an odd type": lambda: of_first(dtype="F8_E4M3"),
    "true twice over": lambda: of_first(dtype="BOOL"),
    "no type": lambda: of_first(dtype=["F32"]),
    "a shape that is none": lambda: of_first(shape=[-1, -2]),
    "a shape of halves": lambda: of_first(shape=[0.5, 2]),
    "many dimensions": lambda: of_first(shape=[1] * 9),
    "offsets that are no integers": lambda: header_text(lambda text: text.replace(b"[0,", b"[0.0,", 1).rstrip()),
    "a list": lambda: made(b"[]", b""),
    "nothing": lambda: b"",
    "not a number": lambda: to_safetensors({**weights(), "0.weight": weights()["0.weight"] * float("nan")}),
    "an infinite one": lambda: to_safetensors({**weights(), "0.weight": weights()["0.weight"] / 0}),
}
TOLD = {
    "a record": "9999 is missing or superfluous",
    "many dimensions": "is [1, 1",
    "not a number": "0.weight is not finite",
    "an infinite one": "0.weight is not finite",
}


@pytest.mark.parametrize("name", FORGED)
def test_nothing_travels_beside_the_tensors(name):
    begun, found = time.perf_counter(), problems(FORGED[name]())
    assert any(text in found for text in TOLD.get(name, REFUSED).split("|")), found
    assert time.perf_counter() - begun < 5
