"""A report's HTML page as the tests read it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

VOID = ("meta", "img", "br", "input")


class Page(HTMLParser):
    """What an HTML page shows and loads. Every tag must be closed, and every picture needs an alternative text.

    A page with a vessel tree has two scripts, any other has none.

    Attributes:
        source: the whole file without its scripts.
        scripts: the text of each script.
        policy: the Content-Security-Policy, which tells a browser what the page may load and run.
        text: all text outside the style sheet.
        rows: the cells of every table row; a `|` stands before the text of a span in a cell.
        loaded: every address that the page would load.
        links: the targets of its links.
        ids: the elements that a link can reach.
    """

    def __init__(self, path: Path, *, n_scripts: int = 0) -> None:
        super().__init__()
        whole = path.read_text(encoding="utf-8")
        self.scripts = re.findall(r"<script>(.*?)</script>", whole, flags=re.DOTALL)
        self.source = re.sub(r"<script>.*?</script>", "", whole, flags=re.DOTALL)
        self.policy = ""
        assert len(self.scripts) == n_scripts
        self.text = ""
        self.rows: list[list[str]] = []
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self._open: list[str] = []
        self.feed(self.source)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._read(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._read(tag, attrs)

    def _read(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "link", "base")
        assert tag != "img" or dict(attrs)["alt"]
        self.loaded += [value or "" for key, value in attrs if key in ("src", "srcset", "data", "xlink:href")]
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"] or ""
        self.links += [value or "" for key, value in attrs if key == "href"]
        self.ids |= {value or "" for key, value in attrs if key == "id"}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data
        if "tr" in self._open:
            self.rows[-1][-1] += ("|" if "span" in self._open else "") + data

    def row(self, label: str, n_cells: int) -> list[str]:
        """The first row with this label, without its tag, and with this many cells."""
        return next(row for row in self.rows if row[0].split("|")[0].strip() == label and len(row) == n_cells)

    def assert_self_contained(self, n_pictures: int) -> None:
        """The page loads nothing: its pictures, so many of them, are in the file, and its links stay on the page."""
        assert len(self.loaded) == n_pictures and self.policy.startswith("default-src 'none'; ")
        assert ("script-src" in self.policy) == bool(self.scripts)
        assert all(source.startswith("data:image/") for source in self.loaded)
        assert not re.search(r"url\(|@import|https?:", self.source.replace('"http://www.w3.org/2000/svg"', ""))
        assert all(link.startswith("#") and link[1:] in self.ids for link in self.links)
