"""The kind of data that a record tells of: a stack's manifest, or an item of cohort.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = ("simulated", "synthetic", "real")
"""`simulated`: made by `tofgan phantom`; `synthetic`: made by a generator; `real`: of patients."""


def kind_of(record: Mapping[str, Any]) -> str:
    """The kind of data of a manifest or of an item of cohort.json, one of `KINDS`.

    Earlier versions marked simulated data by `"simulated": true`, in a manifest beside `"kind": "real"`. A record that
    does not tell its kind counts as real patients' data, so that patients are never taken for simulated heads.
    """
    kind = record.get("kind", "real")
    if kind == "real" and record.get("simulated") is True:
        return "simulated"
    return kind if kind in KINDS else "real"
