"""Fills templates with data: HTML pages, Markdown pages, and the sentences that both share.

HTML templates escape every value. The templates are in report/templates.
"""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from tofgan_monai.files import write_whole
from tofgan_monai.report import tables

TEMPLATES = Path(__file__).parent / "templates"


class Sentences:
    """The sentences of a text template, filled with data.

    `sentences["methods"]` is the list of the lines that the template's macro `methods` gives. A text template does not
    escape values; the page that shows a sentence escapes it.

    Args:
        template: path of the text template inside report/templates.
        content: the data, by the names that the template uses.
    """

    def __init__(self, template: str, **content: Any) -> None:
        self._macros = _environment().get_template(template).make_module(content)

    def __getitem__(self, name: str) -> list[str]:
        """Returns the lines of the macro `name`, without empty lines."""
        lines = getattr(self._macros, name)().splitlines()
        return [" ".join(line.split()) for line in lines if line.strip()]


def render(template: str, **content: Any) -> str:
    """Fills a template with data and returns the text.

    In an HTML template every value is escaped. In a Markdown template only the filter `plain` escapes.

    Args:
        template: path of the template inside report/templates.
        content: the data, by the names that the template uses.
    """
    return _environment().get_template(template).render(**content)


def write_page(path: str | os.PathLike, template: str, **content: Any) -> Path:
    """Fills a template, writes it to a file and returns the path of the file.

    If that fails, a file that existed before stays as it was.

    Args:
        path: the file to write.
        template: path of the template inside report/templates.
        content: the data, by the names that the template uses.

    Raises:
        InputError: the file cannot be written.
    """
    write_whole(path, render(template, **content))
    return Path(path)


@cache
def _environment() -> Environment:
    """Returns the Jinja environment of all templates, with the filters of `tofgan_monai.report.tables`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        finalize=_typographic,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "counted": tables.counted,
        "ends": tables.ends,
        "fixed": tables.fixed,
        "place_words": lambda place: tables.place_words(*place),
        "plain": tables.markdown_text,
        "signed": tables.signed,
        "signed_ends": partial(tables.ends, write=tables.signed),
        "signed_with_ends": partial(tables.with_ends, write=tables.signed),
        "table": tables.markdown_table,
        "with_ends": tables.with_ends,
    }
    return environment


def _typographic(value: Any) -> Any:
    """Replaces the apostrophes of a text by typographic ones; returns markup and other values unchanged."""
    return value.replace("'", "\u2019") if isinstance(value, str) and not isinstance(value, Markup) else value
