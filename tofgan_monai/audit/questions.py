"""List of the questions that a data protection officer must answer, with what an audit's figures say about each."""

from __future__ import annotations

from pathlib import Path

import yaml

# Each question has a dict: `question`, `source`, `attacks` (names of the attacks whose figures help to answer the
# question), `says` (what the figures say about it) and `cannot_say`.
MAPPING: list[dict] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
