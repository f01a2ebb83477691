"""The questions that a data protection officer must answer, and what an audit's figures say about them."""

from __future__ import annotations

from pathlib import Path

import yaml

# One entry for each question: `question`, `source`, the names of the `attacks` that bear on it, `says`, `cannot_say`.
MAPPING: list[dict] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
