"""The list of what a bundle from elsewhere may name; it stands in allowed.yaml, a line a callable."""

from __future__ import annotations

import builtins
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import yaml


class Allowed(NamedTuple):
    """What allowed.yaml says, by dotted name."""

    targets: frozenset[str]
    calls: dict[str, tuple[str, ...]]
    values: frozenset[str]
    modules: frozenset[str]
    attributes: frozenset[str]
    methods: dict[str, tuple[str, ...]]
    read: frozenset[str]
    written: frozenset[str]
    folders: frozenset[str]
    datasets: frozenset[str]
    file_names: frozenset[str]
    file_keys: frozenset[str]
    classes: dict[str, frozenset[str]]
    refused: frozenset[str]


@cache
def allowed() -> Allowed:
    """The list, read once."""
    content = yaml.safe_load((files(__package__) / "allowed.yaml").read_text("utf-8"))
    targets = {f"{module}.{name}" for module, names in content["targets"].items() for name in names}
    short = {name for module, names in content["targets"].items() if module.startswith("monai.") for name in names}
    arguments = content["arguments"]
    return Allowed(
        frozenset(targets | short),
        dict(map(_signature, content["calls"])),
        frozenset(content["values"]),
        frozenset(content["modules"]),
        frozenset(content["attributes"]),
        dict(map(_signature, content["methods"])),
        frozenset(arguments["read"]),
        frozenset(arguments["written"]),
        frozenset(arguments["folders"]),
        frozenset(arguments["datasets"]),
        frozenset(arguments["file_names"]),
        frozenset(arguments["file_keys"]),
        {name: frozenset(classes) for name, classes in arguments["classes"].items()},
        frozenset(arguments["refused"]),
    )


def _signature(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, parameters = text.rstrip(")").partition("(")
    return name, tuple(parameters.split(", ")) if parameters else ()


_HARM = {
    r"(builtins\.)?(eval|exec|compile|breakpoint|__import__|getattr|setattr|globals|vars)$": "run any code",
    r"(os|posix|nt|subprocess|pty|shutil|signal)\.|monai\.utils\.(misc\.)?run_cmd": "run any command of this machine",
    r"(pickle|dill|joblib|marshal|shelve|torch\.load|torch\.jit|monai\.data\.Persistent)": "unpickle, so run any code",
    r"torch\.hub|monai\.(apps|bundle)\.|urllib|requests|socket|http": "fetch and run what it likes, or send data away",
    r"torch\.utils\.cpp_extension|ctypes|importlib|pydoc|runpy|monai\.utils\.(module\.)?(optional_import|load_sub)":
        "import or build code of its choice",
    r"(builtins\.)?open$|io\.|pathlib\.|tempfile|numpy\.(load|save|fromfile|memmap)|glob": "read or write any file",
    r".*[Ll]ambd": "call any function",
}  # fmt: skip


def harm(name: str) -> str:
    """What a callable that is not on the list could do, in a few words, for the message."""
    for pattern, could in _HARM.items():
        if re.match(pattern, name):
            return f"could {could}"
    return "could be any code of an installed package"


def is_builtin(name: str) -> bool:
    """Whether an expression finds a bare name among Python's builtins."""
    return hasattr(builtins, name)
