"""Reads configurations by MONAI's own loaders, and refuses files in which two readers could see different things.

YAML has a hundred ways to say one thing. A bundle needs few of them: ASCII, one document, no tags, anchors, aliases,
merge keys, duplicate keys or keys that are no strings. Then MONAI and a person who reads the file see the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from monai.utils.misc import CheckKeyDuplicatesYamlLoader

from tofgan_monai.exchange.inspection.problems import Problem, shown

MAX_BYTES, MAX_ITEMS, MAX_DEPTH = 2**16, 10_000, 32
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")}

Path = tuple[str | int, ...]


class Document(NamedTuple):
    """A configuration file: its content as MONAI reads it, and the line number of each item by its path of keys."""

    file: str
    content: dict[str, Any]
    lines: dict[Path, int]


def read_document(file: str, data: bytes) -> tuple[Document | None, list[Problem]]:
    """The document in a YAML or JSON file with no problems; or None and the problems."""

    def refused(line: int, what: str, could: str = "could hide code from a reader of the file") -> Any:
        return None, [Problem(file, line, what, could)]

    if len(data) > MAX_BYTES:
        return refused(0, f"{len(data)} bytes, where {MAX_BYTES} are enough", "could exhaust the memory")
    if not data.isascii():
        line = next(i for i, text in enumerate(data.split(b"\n"), 1) if not text.isascii())
        return refused(line, "a character that is not ASCII; write ASCII, in JSON for example \\u00fc")
    text = data.decode("ascii").replace("\r\n", "\n").replace("\r", "\n")
    is_json = file.lower().endswith(".json")
    marked = text.replace("\t", " ") if is_json else text  # JSON allows tabs where YAML does not
    try:
        if odd := list(_oddities(marked)):
            return None, [Problem(file, *found) for found in odd]
        node = yaml.compose(marked, yaml.SafeLoader)
        lines: dict[Path, int] = {}
        if odd := list(_structure(node, (), 1, lines)):
            return None, [Problem(file, *found) for found in odd]
        content = json.loads(text) if is_json else yaml.load(text, CheckKeyDuplicatesYamlLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return refused(mark.line + 1 if mark else 0, f"not readable ({error.problem})")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return refused(0, f"not readable ({shown(str(error))})")
    if not isinstance(content, dict):
        return refused(1, "not a mapping of names to values")
    if {path for path, _ in walk(content)} != set(lines):
        return refused(1, "read in two ways by two readers")
    return Document(file, content, lines), []


def _oddities(text: str) -> Iterator[tuple[int, str, str]]:
    """Tags, anchors, aliases, further documents and deep nesting, found before anything is built from the text."""
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        line, tag = (event.start_mark.line if event.start_mark else 0) + 1, getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            yield line, "a YAML anchor or alias", "could grow to fill the memory, or hide what is merged"
        elif tag:
            yield line, f"the YAML tag {shown(tag)}", "could build any Python object"
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1 or event.version or event.tags:
                yield line, "a directive or a second document", "could hide code from a reader"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > 2 * MAX_ITEMS:
            yield line, f"nested deeper than {MAX_DEPTH} or too many items", "could exhaust the memory"
            return


def _structure(node: Any, path: Path, line: int, lines: dict[Path, int]) -> Iterator[tuple[int, str, str]]:
    """Records the lines of a node and of the nodes below it in `lines`; yields keys and values with two readings."""
    if node is None:
        return
    lines[path] = line
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _structure(item, (*path, index), item.start_mark.line + 1, lines)
    elif isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            where = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                yield where, f"the key {shown(key.value)}, which is no string", "could merge or replace others"
            elif (*path, key.value) in lines:
                yield where, f"a second {shown(key.value)}", "replaces the first one without a notice"
            else:
                yield from _structure(item, (*path, key.value), where, lines)
    elif node.tag not in _PLAIN:
        yield line, f"{shown(node.value)}, which is no plain value", "could be read in two ways; put it in quotes"


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Path and content of a value and of every item in it, in the order of the file."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from walk(item, (*path, key))
