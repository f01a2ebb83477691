"""Reads configurations by MONAI's own loaders, and refuses files that can be read in two ways.

YAML has many ways to write the same content, and some of them hide content from a person who reads the file. So a
configuration must be one document in ASCII, without tags, anchors, aliases, merge keys and duplicate keys, and all keys
must be strings. Then MONAI and the person see the same content.
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
    """A configuration file: its content as MONAI reads it, and a dict from path of keys to line number.

    The path of keys to an item is a tuple of keys and list indices, such as `("train", "dataset", 0)`.
    """

    file: str
    content: dict[str, Any]
    lines: dict[Path, int]


def read_document(file: str, data: bytes) -> tuple[Document | None, list[Problem]]:
    """Reads a configuration; returns the document and no problem, or None and the problems.

    Args:
        file: path of the file; a name that ends in .json is read as JSON, any other as YAML.
        data: content of the file.
    """

    def refused(line: int, what: str, could: str = "could hide code from a reader of the file") -> Any:
        return None, [Problem(file, line, what, could)]

    if len(data) > MAX_BYTES:
        return refused(0, f"has {len(data)} bytes, where {MAX_BYTES} are allowed", "could fill the memory")
    if not data.isascii():
        line = next(i for i, text in enumerate(data.split(b"\n"), 1) if not text.isascii())
        return refused(line, "has a character that is not ASCII; write ASCII, in JSON for example \\u00fc")
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
        return refused(mark.line + 1 if mark else 0, f"is not readable ({error.problem})")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return refused(0, f"is not readable ({shown(str(error))})")
    if not isinstance(content, dict):
        return refused(1, "is not a mapping of names to values")
    if {path for path, _ in walk(content)} != set(lines):
        return refused(1, "is read in two ways by two YAML readers")
    return Document(file, content, lines), []


def _oddities(text: str) -> Iterator[tuple[int, str, str]]:
    """Yields line, fault and harm of tags, anchors, aliases, further documents and deep nesting; builds no objects."""
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, yaml.SafeLoader)):
        line, tag = (event.start_mark.line if event.start_mark else 0) + 1, getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            yield line, "has a YAML anchor or alias", "could grow until the memory is full, or hide what is merged"
        elif tag:
            yield line, f"has the YAML tag {shown(tag)}", "could build any Python object"
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1 or event.version or event.tags:
                yield line, "has a directive or a second document", "could hide code from a reader"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > 2 * MAX_ITEMS:
            yield line, f"is nested deeper than {MAX_DEPTH} levels, or has too many items", "could fill the memory"
            return


def _structure(node: Any, path: Path, line: int, lines: dict[Path, int]) -> Iterator[tuple[int, str, str]]:
    """Records the line numbers of a YAML node and the nodes below it; yields line, fault and harm of refused nodes.

    Args:
        node: the node.
        path: path of keys to the node.
        line: its line number.
        lines: dict from path of keys to line number, which is filled.
    """
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
                yield where, f"the key {shown(key.value)} is no string", "could merge or replace other keys"
            elif (*path, key.value) in lines:
                yield where, f"has a second key {shown(key.value)}", "replaces the first one without a notice"
            else:
                yield from _structure(item, (*path, key.value), where, lines)
    elif node.tag not in _PLAIN:
        yield line, f"{shown(node.value)} is no plain value", "could be read in two ways; put it in quotes"


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yields path of keys and content, for a value of a configuration and for every item in it, in the file's order."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from walk(item, (*path, key))
