"""All that is asked of a bundle's files before anything of it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files as package_files
from typing import Any

import jsonschema

from tofgan_monai.exchange.data_card import check_card
from tofgan_monai.exchange.inspection.configs import check_configs
from tofgan_monai.exchange.inspection.logging_conf import check_logging
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import Document, read_document
from tofgan_monai.exchange.layout import AUDIT, CARD, INFERENCE, LOGGING, METADATA, WEIGHTS, check_layout, config_names
from tofgan_monai.exchange.weights import check_weights, declared_network


def check_files(files: Mapping[str, bytes]) -> list[Problem]:
    """Everything that is wrong with a bundle's files, by their paths in the bundle."""
    problems = [*check_layout(files), *_check_texts(files)]
    documents: dict[str, Document] = {}
    for name in [*config_names(files), *([METADATA] if METADATA in files else [])]:
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
    if CARD in files:
        problems += check_card(files[CARD], files.get(WEIGHTS, b""), files.get(AUDIT))
    network = None
    if INFERENCE in documents and not any(problem.file == INFERENCE for problem in problems):
        network, found = declared_network(documents[INFERENCE])
        problems += found
    if WEIGHTS in files:
        problems += check_weights(WEIGHTS, files[WEIGHTS], network)
    return problems


def _check_texts(files: Mapping[str, bytes]) -> Iterator[Problem]:
    for name, data in files.items():
        if name.endswith((".md", ".txt")) or name == "LICENSE":
            text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
            bad = next((char for char in text if not char.isprintable() and char not in "\n\t"), "")
            if bad or "\ufffd" in text:
                line = text[: text.index(bad or "\ufffd")].count("\n") + 1
                yield Problem(name, line, f"{shown(bad)}, no text", "could rewrite what a terminal shows")


@cache
def _schema() -> Any:
    """MONAI's own schema of metadata, Apache-2.0.

    Source: github.com/Project-MONAI/MONAI-extra-test-data, release 0.8.1.
    """
    text = (package_files(__package__) / "meta_schema_20240725.json").read_text("utf-8")
    return jsonschema.Draft201909Validator(json.loads(text))


def _check_metadata(metadata: Document) -> Iterator[Problem]:
    for error in _schema().iter_errors(metadata.content):
        line = metadata.lines.get(tuple(error.absolute_path), 1)
        yield Problem(METADATA, line, shown(error.message, 160)[1:-1], "is no metadata of a bundle")
