"""Calls that are refused with an InputError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tofgan_monai import InputError


def refused(told: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> list[str]:
    """Checks that a call raises an InputError whose text matches `told`; the lines of its problems."""
    with pytest.raises(InputError, match=told) as caught:
        function(*arguments, **named)
    return caught.value.problems
