"""MkDocs hooks that write parts of pages from the code, and that adapt links to files outside docs/.

A page links to another file of the repository by the file's relative path, which works on GitHub. On the site, such a
file lies below `repository/`. A Markdown file becomes a page; any other file can be downloaded.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from tofgan_monai.cli import app

ROOT = Path(__file__).parents[1]
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "findings/README.md")  # menu pages, added without links too
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)")


def help_of_verbs() -> str:
    """Returns the help text of every `tofgan` command as Markdown."""
    group = typer.main.get_command(app)
    help_text = get_docs_for_click(obj=group, ctx=typer.Context(group, info_name="tofgan"), name="tofgan")
    return help_text[help_text.index("\n## ") :]


def entries_of_names() -> str:
    """Markdown with a mkdocstrings entry for each name in `tofgan_monai/__init__.pyi`, with a heading per package."""
    rooms: dict[str, list[str]] = defaultdict(list)
    stub = (ROOT / "tofgan_monai" / "__init__.pyi").read_text("utf-8")
    for module, name in re.findall(r"^from \.(\S+) import (\w+)", stub, flags=re.MULTILINE):
        rooms[module.split(".")[0]].append(f"::: tofgan_monai.{name}")
    return "\n\n".join("\n\n".join([f"## {room}", *entries]) for room, entries in rooms.items())


MADE = {"reference/verbs.md": help_of_verbs, "reference/names.md": entries_of_names}


def source_of(src_uri: str) -> str:
    """Path in the repository of a page or file of the site, given its path in the site."""
    return src_uri.removeprefix("repository/") if src_uri.startswith("repository/") else f"docs/{src_uri}"


def place_of(source: str) -> str:
    """Path in the site of a file of the repository, given its path in the repository."""
    return source.removeprefix("docs/") if source.startswith("docs/") else f"repository/{source}"


def linked_sources(source: str, text: str) -> list[str]:
    """List of the repository paths of the existing files that a page links to.

    Args:
        source: path of the page in the repository.
        text: Markdown of the page.
    """
    folder = posixpath.dirname(source)
    paths = (posixpath.normpath(posixpath.join(folder, link)) for link in LINK.findall(text))
    return [path for path in paths if (ROOT / path).is_file()]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds to the site every file of the repository that a page links to; MkDocs calls this hook."""
    waiting = [*ALWAYS]
    for file in files.documentation_pages():
        waiting += linked_sources(source_of(file.src_uri), file.content_string)
    while waiting:
        source = waiting.pop()
        if source.startswith("docs/") or place_of(source) in files.src_uris:
            continue
        files.append(File.generated(config, place_of(source), abs_src_path=str(ROOT / source)))
        if source.endswith(".md"):
            waiting += linked_sources(source, (ROOT / source).read_text("utf-8"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Changes links between repository files to links between their paths in the site; appends text made from the code.

    MkDocs calls this hook for each page.
    """
    here = source_of(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        source = posixpath.normpath(posixpath.join(posixpath.dirname(here), match[1]))
        place = place_of(source)
        return posixpath.relpath(place, posixpath.dirname(page.file.src_uri)) if place in files.src_uris else match[1]

    made = MADE.get(page.file.src_uri, str)()
    return f"{LINK.sub(moved, markdown)}\n\n{made}"
