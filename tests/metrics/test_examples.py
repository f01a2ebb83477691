"""The examples in the docstrings give what they show."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import walk_packages

import numpy as np
import pytest

from tofgan_monai import metrics

MODULES = [module.name for module in walk_packages(metrics.__path__, f"{metrics.__name__}.") if not module.ispkg]
OTHERS = [f"tofgan_monai.{name}" for name in ("pairs.stack", "phantom.trunks", "volumes.volume")]


@pytest.mark.parametrize("name", MODULES + OTHERS)
def test_examples(name: str) -> None:
    assert doctest.testmod(import_module(name), extraglobs={"np": np}).failed == 0
