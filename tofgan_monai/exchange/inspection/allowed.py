"""Reads allowed.yaml, the list of the callables, arguments and modules that a bundle from another clinic may name."""

from __future__ import annotations

import builtins
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import yaml


class Allowed(NamedTuple):
    """The content of allowed.yaml; the comments in that file explain each group.

    `targets`, `values`, `modules` and `attributes` are names. `calls` and `methods` are dicts from name to allowed
    parameters. `classes` is a dict from the name of an argument to the class names allowed in it. `folders` and
    `datasets` are targets that may stand for paths. The other fields are names of arguments with rules of their own.
    """

    targets: frozenset[str]
    calls: dict[str, tuple[str, ...]]
    methods: dict[str, tuple[str, ...]]
    values: frozenset[str]
    modules: frozenset[str]
    attributes: frozenset[str]
    classes: dict[str, frozenset[str]]
    read: frozenset[str]
    written: frozenset[str]
    folders: frozenset[str]
    datasets: frozenset[str]
    file_names: frozenset[str]
    file_keys: frozenset[str]
    refused: frozenset[str]


@cache
def allowed() -> Allowed:
    """Returns the content of allowed.yaml, which is read only once."""
    content = yaml.safe_load((files(__package__) / "allowed.yaml").read_text("utf-8"))
    targets = {f"{module}.{name}" for module, names in content["targets"].items() for name in names}
    short = {name for module, names in content["targets"].items() if module.startswith("monai.") for name in names}
    classes = {name: frozenset(known) for name, known in content["arguments"].pop("classes").items()}
    plain = {key: content[key] for key in ("values", "modules", "attributes")} | content["arguments"]
    return Allowed(
        targets=frozenset(targets | short),
        calls=dict(map(_signature, content["calls"])),
        methods=dict(map(_signature, content["methods"])),
        classes=classes,
        **{key: frozenset(names) for key, names in plain.items()},
    )


def _signature(text: str) -> tuple[str, tuple[str, ...]]:
    """Returns name and parameters of a callable in allowed.yaml: `f(a, b)` gives `("f", ("a", "b"))`."""
    name, _, parameters = text.rstrip(")").partition("(")
    return name, tuple(parameters.split(", ")) if parameters else ()


_HARM = {
    r"(builtins\.)?(eval|exec|compile|breakpoint|__import__|getattr|setattr|globals|vars)$": "run any code",
    r"(os|posix|nt|subprocess|pty|shutil|signal)\.|monai\.utils\.(misc\.)?run_cmd": "run any command on this machine",
    r"(pickle|dill|joblib|marshal|shelve|torch\.load|torch\.jit|monai\.data\.Persistent)": "unpickle, so run any code",
    r"torch\.hub|monai\.(apps|bundle)\.|urllib|requests|socket|http": "fetch and run what it likes, or send data away",
    r"torch\.utils\.cpp_extension|ctypes|importlib|pydoc|runpy|monai\.utils\.(module\.)?(optional_import|load_sub)":
        "import or build code of its choice",
    r"(builtins\.)?open$|io\.|pathlib\.|tempfile|numpy\.(load|save|fromfile|memmap)|glob": "read or write any file",
    r".*[Ll]ambd": "call any function",
}  # fmt: skip


def harm(name: str) -> str:
    """Returns, as words for a message, the harm that a callable could do which is not in allowed.yaml."""
    if re.match(r"tofgan_monai\.\w+\.", name):
        return "is a path of tofgan_monai 0.1.0 or a private name; write a public name, tofgan_monai.NAME"
    for pattern, could in _HARM.items():
        if re.match(pattern, name):
            return f"could {could}"
    return "could be any code of an installed package"


def is_builtin(name: str) -> bool:
    """Whether a name without a dot in an expression is one of Python's builtins, such as `eval`."""
    return hasattr(builtins, name)


def may_import(origin: str) -> bool:
    """Whether allowed.yaml lists this dotted name as a module, a callable or a value, so that it may be imported."""
    known = allowed()
    return origin in known.modules or origin in known.calls or origin in known.values
