"""Inspects all text files of a MONAI bundle: configurations, metadata.json, logging.conf and documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files as package_files
from typing import Any

import jsonschema

from tofgan_monai.exchange.inspection.configs import check_configs
from tofgan_monai.exchange.inspection.logging_conf import check_logging
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import Document, read_document

METADATA, LOGGING = "configs/metadata.json", "configs/logging.conf"


def inspect_bundle(files: Mapping[str, bytes]) -> tuple[dict[str, Document], list[Problem]]:
    """Returns a dict from file name to configuration, and the list of problems with the text files of a bundle.

    Args:
        files: dict from path in the bundle to content; files that are not text are ignored.

    Returns:
        The configurations that could be read, without metadata.json; and the problems, empty if all is allowed.
    """
    problems = list(_check_documents(files))
    documents: dict[str, Document] = {}
    for name in [*_config_names(files), *([METADATA] if METADATA in files else [])]:
        document, found = read_document(name, files[name])
        problems += found
        if document is not None:
            documents[name] = document
    metadata = documents.pop(METADATA, None)
    problems += check_configs(documents.values(), metadata)
    if metadata is not None:
        problems += _check_metadata(metadata)
    if LOGGING in files:
        problems += check_logging(LOGGING, files[LOGGING])
    return documents, problems


def _config_names(names: Iterable[str]) -> list[str]:
    """Returns the sorted paths of the files that MONAI reads as configurations."""
    return sorted(name for name in names if name.startswith("configs/") and name not in (METADATA, LOGGING))


def _check_documents(files: Mapping[str, bytes]) -> Iterator[Problem]:
    """Yields a problem for each text for people (.md, .txt, LICENSE) with a control character or broken UTF-8."""
    for name, data in files.items():
        if name.endswith((".md", ".txt")) or name == "LICENSE":
            text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
            bad = next((char for char in text if char == "\ufffd" or not (char.isprintable() or char in "\n\t")), "")
            if bad:
                line, what = (
                    text[: text.index(bad)].count("\n") + 1,
                    f"contains the character {shown(bad)}, which is no text",
                )
                yield Problem(name, line, what, "could change what a terminal shows; remove this character")


@cache
def _schema() -> Any:
    """Returns a validator with MONAI's own JSON schema of metadata.json (licence Apache-2.0).

    Source: github.com/Project-MONAI/MONAI-extra-test-data, release 0.8.1.
    """
    text = (package_files(__package__) / "meta_schema_20240725.json").read_text("utf-8")
    return jsonschema.Draft201909Validator(json.loads(text))


def _check_metadata(metadata: Document) -> Iterator[Problem]:
    """Yields a problem for each place where metadata.json violates MONAI's schema."""
    for error in _schema().iter_errors(metadata.content):
        line = metadata.lines.get(tuple(error.absolute_path), 1)
        could = "does not fit MONAI's schema of metadata.json; correct this entry"
        yield Problem(METADATA, line, shown(error.message, 160)[1:-1], could)
