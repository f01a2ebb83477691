"""The README and the site: built without a network, with links that lead to files and commands that exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml

import tofgan_monai
from tofgan_monai import StackWriter
from tofgan_monai.cli import app

ROOT = Path(__file__).parents[1]
WHERE = ("*.md", "docs/**/*.md", "bundles/*/docs/*.md", "findings/*.md")
PAGES = sorted(path for pattern in WHERE for path in ROOT.glob(pattern))
TUTORIALS = sorted(ROOT.glob("docs/tutorial*.md"))
VERBS = typer.main.get_command(app).commands
ELSEWHERE = re.compile(r"""(url\(|@import)\s*["']?(https?:)?//""")  # in a style sheet
LOADED = re.compile(r"""<(link|script|img|iframe|source|object)\s[^>]*?\b(href|src|srcset|data)=["']?(https?:)?//""")


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; a build that reaches for another host fails at the proxy."""
    folder = tmp_path_factory.mktemp("site")
    no_network = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **no_network, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    ran = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.slow
def test_no_page_of_the_site_asks_another_host_for_anything(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        text = page.read_text("utf-8")
        assert not LOADED.search(text), page
        assert not ELSEWHERE.search("".join(re.findall(r"<style.*?</style>", text, flags=re.DOTALL))), page
    for style in site.rglob("*.css"):
        assert not ELSEWHERE.search(style.read_text("utf-8")), style


@pytest.mark.slow
def test_reference_has_every_verb_and_every_public_name(site):
    verbs = (site / "reference" / "verbs.html").read_text("utf-8")
    assert [verb for verb in VERBS if f'id="tofgan-{verb}"' not in verbs] == []
    names = (site / "reference" / "names.html").read_text("utf-8")
    assert [name for name in tofgan_monai.__all__ if not re.search(rf'id="tofgan_monai[\w.]*\.{name}"', names)] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").split()) < 800


def test_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pairs = np.where(np.random.default_rng(0).random((4, 2, 96, 96)) < 0.1, 1, -1).astype(np.float16)
    with StackWriter("real.npy", len(pairs), {"kind": "real"}) as writer:
        writer.append(pairs)
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL)
    exec(program.replace("width=16", "width=2"), {})
    assert "wasserstein" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_prose_has_lines_of_at_most_120_characters(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    prose = [line for line in text.splitlines() if not line.startswith(("    ", "|", "!["))]
    assert [line for line in prose if len(line) > 120] == []


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_code_and_configurations_name_pages_that_exist():
    folders = (ROOT / name for name in ("tofgan_monai", "scripts", "bundles"))
    for file in (file for folder in folders for file in folder.rglob("*.*") if file.suffix in (".py", ".sh", ".yaml")):
        pages = re.findall(r"(?<![\w/])docs/(?!README)[\w/-]+\.md", file.read_text("utf-8"))
        assert [page for page in pages if not (ROOT / page).is_file()] == [], file


def settings(bundle: str) -> set[str]:
    """The ids that any configuration of a shipped bundle defines; those of all bundles for a bundle of one's own."""
    files = ROOT.glob(f"bundles/{bundle}/configs/*.yaml") if (ROOT / "bundles" / bundle).is_dir() else None
    files = files or ROOT.glob("bundles/*/configs/*.yaml")
    return {key for file in files for key in re.findall(r"^(\w+)", file.read_text("utf-8"), flags=re.MULTILINE)}


def commands(page: Path) -> list[list[str]]:
    """The words of every `tofgan VERB ...` in the page's indented blocks and bash cells, without their comments."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    cells = "".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)).splitlines()
    lines = re.findall(r"^ {4,}(.*)$", text, flags=re.MULTILINE)
    lines = [part for line in (*lines, *cells) for part in line.split("&&")]
    return [shlex.split(line, comments=True)[1:] for line in lines if re.match(r"\s*tofgan [a-z]", line)]


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=ids([p for p in PAGES if commands(p)]))
def test_commands_have_known_verbs_and_options(page):
    for verb, *words in commands(page):
        command = VERBS[verb]
        if verb == "study":
            continue  # its further options are Snakemake's
        options = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
        known = {"--help", *options}
        given = {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
        if command.context_settings.get("ignore_unknown_options"):
            given = {word for word in given if word[2:].split("#")[0] not in settings(words[0])}
        assert given <= known, (page.name, verb, given - known)


@pytest.mark.parametrize("page", TUTORIALS, ids=ids(TUTORIALS))
def test_cells_of_a_tutorial_are_python_or_known_verbs(page):
    cells = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert {language for language, _ in cells} == {"bash", "python"} and len(commands(page)) >= 7
    for language, cell in cells:
        if language == "python":
            compile(cell, page.name, "exec")
        else:
            assert all(line.startswith("tofgan ") for line in cell.splitlines())


def test_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= citation.keys()
    assert f"version = {citation['version']}\n" in (ROOT / "setup.cfg").read_text("utf-8")
    paper = citation["preferred-citation"]
    assert paper["doi"] == "10.1016/j.compbiomed.2021.104254" and paper["year"] == 2021 and len(paper["authors"]) == 12
