"""Checks every item of a bundle's configurations against the list in allowed.yaml.

An item is one value in a configuration together with its key. Its id is the path of keys to it, such as
`train::dataset`. The checks cover targets (`_target_`), arguments, expressions (`$...`), references (`@id`) and paths.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tofgan_monai.exchange.inspection.allowed import allowed, harm, is_builtin, may_import
from tofgan_monai.exchange.inspection.expressions import Found, check_constant, check_expression
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import Document, Path, walk
from tofgan_monai.exchange.inspection.scope import Scope, as_written, import_of, leaves_the_settings

_ID = re.compile(r"\+?[A-Za-z_]\w*((#|::)\w+)*", re.ASCII)
_UNREADABLE_KEY = re.compile(r"::|#|^[$@%+]|[^ -~]")
_REFERENCE = re.compile(r"@\w+((#|::)\w+)*", re.ASCII)
_RELATIVE = re.compile(r"[@%](#|::)")
_FILE_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_.=-]*")
_RESERVED = {"_target_", "_disabled_", "_requires_", "_desc_", "_mode_"}


def check_configs(documents: Iterable[Document], metadata: Document | None) -> list[Problem]:
    """Returns a problem for each item in a bundle's configurations that is not allowed; empty if all is allowed.

    The result holds for any choice of the files, as the user decides which of them MONAI merges.

    Args:
        documents: the configurations.
        metadata: metadata.json; None if there is none.
    """
    documents = list(documents)
    scope = Scope(documents, metadata)
    problems = [Problem(document.file, *found) for document in documents for found in _check_imports(document, scope)]
    for document in [*documents, *([metadata] if metadata else [])]:
        for path, value in walk(document.content):
            if path and path[0] not in ("imports", "+imports"):
                line = document.lines.get(path, 0)
                found = _check_item(path, value, scope, is_metadata=document is metadata)
                problems += [Problem(document.file, line, what, could) for what, could in found]
    return list(dict.fromkeys(problems))  # an item within an argument is checked as an item and as an argument


def _check_imports(document: Document, scope: Scope) -> Iterator[tuple[int, str, str]]:
    """Yields line, fault and possible harm of each import that is not allowed; records the other imports in `scope`.

    A name must mean the same in all files, as the user decides which of them MONAI merges.
    """
    for key in ("imports", "+imports"):
        statements = document.content.get(key, [])
        for index, statement in enumerate(statements if isinstance(statements, list) else [statements]):
            line = document.lines.get((key, index), document.lines.get((key,), 0))
            found = import_of(statement) if isinstance(statement, str) and statement.startswith("$") else None
            if found is None:
                yield line, f"{shown(statement)} is not one plain import", "could be any code"
                continue
            name, origin = found
            if not may_import(origin):
                yield line, f"imports {origin}, which is not on the list", harm(f"{origin}.")
            elif is_builtin(name) or name.startswith("_"):
                yield line, f"{name} is a name of Python's own", "could hide eval behind a harmless name"
            elif scope.names.setdefault(name, origin) != origin:
                what = f"{name} means {origin} here, elsewhere {scope.names[name]}"
                yield line, what, "could call another function than a reader expects"


def _check_item(path: Path, value: Any, scope: Scope, *, is_metadata: bool) -> Iterator[Found]:
    """Yields the faults of one item of a configuration: in its key, in its value, and in the value under this key.

    Args:
        path: path of keys to the item.
        value: the value of the item.
        scope: meaning of names and references in all configurations.
        is_metadata: whether the item is in metadata.json.
    """
    key, is_id = path[-1], len(path) == 1
    if isinstance(key, str):
        hides = not is_id and bool(_UNREADABLE_KEY.search(key))
        if is_id and not is_metadata:
            hides = not _ID.fullmatch(key) or key.lstrip("+").startswith("_meta_")
        if hides:
            yield (
                f"the {'id' if is_id else 'key'} {shown(key)} is not plain",
                "could stand for another id than a reader sees",
            )
        if not is_id and not is_metadata:
            yield from check_constant(key)
        name = re.split("#|::", key)[-1].lstrip("+") if is_id else key
        yield from _check_named(name, value, path, scope, is_metadata=is_metadata)
    if isinstance(value, str):
        yield from _check_text(value, scope, is_metadata=is_metadata)
    elif not isinstance(value, dict | list):
        yield from check_constant(value)


def _check_named(name: str, value: Any, path: Path, scope: Scope, *, is_metadata: bool) -> Iterator[Found]:
    """Yields the faults of a value under its name, which is an argument of a component or an id; see `_check_item`."""
    if name.startswith("_") and name.endswith("_") and name not in _RESERVED:
        yield f"{shown(name)} is a name which MONAI reserves for itself", "could stop the run in a debugger"
    elif name == "_target_":
        yield from _target_problems(value)
        yield from _path_problems(_owner(path), {name: value}, scope)
    elif name == "_mode_" and value != "default":
        yield f"the mode {shown(value)} is not allowed", "could hand a function to other code, which then calls it"
    elif not is_metadata:
        yield from _argument_problems(name, value, scope)


def _check_text(value: str, scope: Scope, *, is_metadata: bool) -> Iterator[Found]:
    """Yields the faults of a text value: macro, expression, reference or plain text; see `_check_item`."""

    def check_argument(name: str, node: ast.expr) -> Iterator[Found]:
        """Yields the faults of an argument in a call, by the same rules as for an argument of a component."""
        plain = node.value if isinstance(node, ast.Constant) else "$" + as_written(node)
        return _argument_problems(name, plain, scope, called=True)

    if value.startswith("%"):
        yield f"the macro {shown(value)} is not allowed", "could bring in any file without a check"
    elif value[:1] in ("$", "@") and (not value.isascii() or _RELATIVE.search(value)):
        yield f"{shown(value)} has a relative id, or letters beyond ASCII", "could mean another name than a reader sees"
    elif value.startswith("$"):
        yield from check_expression(value, scope, check_argument)
    elif _REFERENCE.fullmatch(value):
        if leaves_the_settings(value[1:].replace("#", "::")):
            yield f"{value} refers to a module or the metadata", "could reach anything in it"
    elif not is_metadata:
        yield from check_constant(value)


def _owner(path: Path) -> str:
    """Returns the name of the argument or id whose value is a component, or a list that contains this component.

    Args:
        path: path of keys to the `_target_` of the component.
    """
    names = [name for key in path for name in re.split("#|::", str(key)) if not name.isdecimal()]
    return names[-2].lstrip("+") if len(names) > 1 else ""


def _target_problems(value: Any) -> Iterator[Found]:
    """Yields the fault of a `_target_` that is not on the list in allowed.yaml."""
    if not isinstance(value, str):
        yield f"the target {shown(value)} is no name", "could be any callable"
    elif value not in allowed().targets:
        yield f"the target {shown(value)[1:-1]} is not on the list", harm(value)


def _path_problems(name: str, value: Any, scope: Scope, *, called: bool = False) -> Iterator[Found]:
    """Yields the fault of an argument that names a file or folder which may be outside the bundle.

    Args:
        name: name of the argument.
        value: its value.
        scope: meaning of names and references in all configurations.
        called: whether the argument is in a call within an expression. No call on the list writes files, so the rule
            for paths that are read applies there.
    """
    known = allowed()
    if name in known.written and not called:
        if not scope.is_inside(value, written=True):
            yield (
                f"{name} {shown(value)} is no allowed path; give null or \"$@bundle_root + '/output'\", "
                "but no path in models, docs or configs",
                _ANY_FILE,
            )
    elif name in known.read | known.written and not scope.is_inside(value) and (name, value) != ("dataset_dir", "."):
        yield f"{name} {shown(value)} is no allowed path; give null or \"$@bundle_root + '/...'\"", _ANY_FILE


def _argument_problems(name: str, value: Any, scope: Scope, *, called: bool = False) -> Iterator[Found]:
    """Yields the fault of an argument of a component or call by the rule for its name; Args as in `_path_problems`."""
    known = allowed()
    if name in known.refused:
        if value is not None:
            yield f"the argument {name} is not allowed", "could load or compile code, reach a server, or name any file"
    elif name == "bundle_root":
        if value != ".":
            yield f"bundle_root {shown(value)} is not allowed; write '.', as only the user may give another", _ANY_FILE
    elif name in known.file_keys:
        if not (isinstance(value, dict) and all(map(_FILE_NAME.fullmatch, value))):
            yield f"{name} {shown(value)} has keys that are no plain file names", _ANY_FILE
    elif name in known.file_names:
        if not (value is None or (isinstance(value, str) and _FILE_NAME.fullmatch(value))):
            yield f"{name} {shown(value)} is no plain file name", _ANY_FILE
    elif name in known.classes:
        items = value if isinstance(value, list) else [value]
        if any(item is not None and item not in known.classes[name] for item in map(_hashable, items)):
            yield (
                f"{name} {shown(value)} is not on the list; give one of {', '.join(sorted(known.classes[name]))}",
                _ANY_CLASS,
            )
    else:
        yield from _path_problems(name, value, scope, called=called)


_ANY_FILE = "could read or overwrite any file of whoever runs it"
_ANY_CLASS = "could import any class by its name"


def _hashable(value: Any) -> Any:
    """Returns a text or None unchanged, and any other value as text, so that the result can be looked up in a set."""
    return value if isinstance(value, str) or value is None else repr(value)
