"""What records tell of their data, those of earlier versions too; what cannot be told counts as real patients'."""

from __future__ import annotations

import pytest

from tofgan_monai.volumes.kinds import kind_of


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"kind": "simulated"}, "simulated"),
        ({"kind": "synthetic"}, "synthetic"),
        ({"kind": "real"}, "real"),
        ({"kind": "real", "simulated": True}, "simulated"),  # an earlier version's manifest
        ({"simulated": True}, "simulated"),  # an item of an earlier version's cohort.json
        ({"kind": "synthetic", "simulated": True}, "synthetic"),
        ({}, "real"),
        ({"kind": "real", "simulated": "yes"}, "real"),
        ({"kind": "real", "simulated": 1}, "real"),
        ({"kind": "anonymous", "simulated": True}, "real"),
        ({"kind": None}, "real"),
        ({"kind": ["simulated"]}, "real"),
    ],
)
def test_kind_of_a_record(record: dict, kind: str) -> None:
    assert kind_of(record) == kind
