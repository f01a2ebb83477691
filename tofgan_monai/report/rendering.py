"""Templates, filled: HTML that trusts no text, and Markdown."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from tofgan_monai.report.tables import markdown_table, markdown_text

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **content: Any) -> str:
    """A template's text; in HTML everything is escaped, in Markdown what passes the filter `plain`."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        finalize=_typographic,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": markdown_text, "table": markdown_table}
    return environment


def _typographic(value: Any) -> Any:
    """Text with the apostrophes of print; what is markup already stays as it is."""
    return value.replace("'", "\u2019") if isinstance(value, str) and not isinstance(value, Markup) else value
