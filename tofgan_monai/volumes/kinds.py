"""The kind of data (simulated, synthetic or real) in a record.

A record is the manifest of a stack (a file of image-label pairs), or the item of one scan in cohort.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = ("simulated", "synthetic", "real")
"""`simulated`: made by `tofgan phantom`; `synthetic`: made by a generator; `real`: of patients."""


def kind_of(record: Mapping[str, Any]) -> str:
    """Returns the kind of data in a record, one of `KINDS`.

    Earlier versions marked simulated data by the entry `"simulated": true`, in a manifest together with `"kind":
    "real"`. A record without a kind counts as data of real patients, so that patients never count as simulated heads.
    """
    kind = record.get("kind", "real")
    if kind == "real" and record.get("simulated") is True:
        return "simulated"
    return kind if kind in KINDS else "real"
