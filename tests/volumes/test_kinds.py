"""What records tell of their data, those of earlier versions too; what cannot be told counts as real patients'."""

from __future__ import annotations

from tofgan_monai.volumes.kinds import kind_of

SIMULATED = [
    {"kind": "simulated"},
    {"kind": "real", "simulated": True},
    {"simulated": True},
]  # the latter two are older
REAL = [
    {}, {"kind": "real"}, {"kind": None}, {"kind": ["simulated"]}, {"kind": "real", "simulated": "yes"},
    {"kind": "real", "simulated": 1}, {"kind": "anonymous", "simulated": True}, {"simulated": False},
]  # fmt: skip


def test_records_tell_their_kind_and_all_others_count_as_real() -> None:
    assert {kind_of(record) for record in SIMULATED} == {"simulated"}
    assert {kind_of(record) for record in REAL} == {"real"}
    assert kind_of({"kind": "synthetic"}) == kind_of({"kind": "synthetic", "simulated": True}) == "synthetic"
