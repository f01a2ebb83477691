"""Searches the texts of a bundle for traces of the sender's computer and patients: paths, subjects, names, dates."""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Iterator, Mapping

from tofgan_monai.bundle_runs.paths import misencoded
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import read_document, walk
from tofgan_monai.exchange.layout import METADATA, TENSORS

_NOT_OF_ANYONE = {"root", "user", "admin", "localhost"}
_ROOTS = r"data|datasets?|export|home|media|mnt|nas|projects?|scratch|srv|storage|Users|Volumes|work"
_PATH = (
    rf"(?:/[\w.~-]+){{2,}}|/(?:{_ROOTS})\b|~/[\w.]+"  # of Unix
    r"|\b[A-Za-z]:[\\/]+\w+|\\{2,}[\w.-]+\\+[\w.$-]+|\bfile:/+[\w.]+"  # of Windows, of a network, as an address
)
_TEXT = re.compile(rf"(?<![\w.~/\\$%{{}}<>)\]@-])(?:{_PATH})")
_EXPRESSION = re.compile(rf"(?:^|(?<=[\s(=:,])|(?<=[\"'])(?<!\+.)(?<!\+ .))(?:{_PATH})")  # "+ '/a'" extends a path
_COMMENT = re.compile(r"(?:^|\s)#(.*)")
_MARKS = {
    "subject": re.compile(r"(?i)(?<![a-z0-9])(?:(?:sub|pat|subject|patient)[-_][a-z]*|subject|patient)[0-9]+"),
    "study": re.compile(r"(?<![\w.])[0-2](?:\.[0-9]+){5,}(?![\w.])"),  # a DICOM UID
}
_DATED = {
    "person": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}"),
    "day": re.compile(r"\b(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]\b|\b[0-3]?[0-9]\.[01]?[0-9]\.(?:19|20)[0-9]{2}\b"),
}


def leaks(name: str, data: bytes) -> Iterator[Problem]:
    """Yields a problem for each text in a file that reveals the sender's computer or a patient of the cohort.

    Args:
        name: path of the file in the bundle; weights, and files that are not in UTF-8, are not searched.
        data: content of the file.
    """
    if name == TENSORS or any(misencoded({name: data})):
        return
    marks = {**_MARKS, **_whose()} | ({} if name == "LICENSE" else _DATED)
    for line, text in _texts(name, data):
        path = _EXPRESSION if text.startswith("$") else _TEXT
        for what, pattern in {"path": path, **marks}.items():
            if found := pattern.search(text):
                could = f"tells the {what} of this machine or cohort; remove this text, or write a general word instead"
                yield Problem(name, line, shown(found[0]), could)


def _texts(name: str, data: bytes) -> Iterator[tuple[int, str]]:
    """Yields line number and text of each part of a file that is to be searched.

    In a configuration (JSON or YAML) the parts are its keys, its values and its comments; in any other file, and in a
    configuration that cannot be read, they are the lines.
    """
    lines = list(enumerate(data.decode("utf-8", errors="replace").splitlines(), 1))
    document = read_document(name, data)[0] if name.endswith((".json", ".yaml", ".yml")) else None
    if document is None:
        yield from lines
        return
    if not name.endswith(".json"):
        yield from ((number, found[1]) for number, line in lines if (found := _COMMENT.search(line)))
    for path, value in walk(document.content):
        if isinstance(value, str) and not (name == METADATA and path[0] == "changelog"):
            yield document.lines[path], value
        if path and isinstance(path[-1], str):
            yield document.lines[path], path[-1]


def _whose() -> Mapping[str, re.Pattern]:
    """Returns patterns that find the name of the user and of the computer, without common names such as `root`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = ""
    names = {"user": user, "host": platform.node().split(".")[0]}
    return {
        what: re.compile(rf"(?i)(?<![A-Za-z0-9_-]){re.escape(word)}(?![A-Za-z0-9_-])")
        for what, word in names.items()
        if len(word) > 2 and word.lower() not in _NOT_OF_ANYONE
    }
