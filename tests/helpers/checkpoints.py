"""Whether two trainings are in the same state."""

from __future__ import annotations

from typing import Any

import torch

TIMES = ("seconds", "processor_seconds")


def same(a: Any, b: Any) -> bool:
    """Bit-equal tensors and equal values, whatever the seconds it took."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a if key not in TIMES)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a.equal(b) if isinstance(a, torch.Tensor) else a == b
