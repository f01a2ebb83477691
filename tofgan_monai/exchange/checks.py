"""Runs all checks on the files of a bundle; no code or configuration of the bundle runs meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tofgan_monai.bundle_runs.paths import misencoded
from tofgan_monai.exchange.data_card import check_card
from tofgan_monai.exchange.declared_network import declared_network
from tofgan_monai.exchange.inspection import inspect_bundle
from tofgan_monai.exchange.inspection.problems import Problem
from tofgan_monai.exchange.layout import AUDIT, CARD, INFERENCE, TENSORS, check_layout
from tofgan_monai.exchange.weights import check_weights


def check_files(files: Mapping[str, bytes]) -> list[Problem]:
    """Returns the list of all problems with the files of a bundle; an empty list means that the bundle is accepted.

    If a text is not in UTF-8, only the problems with encodings are returned, as the text cannot be checked further.

    Args:
        files: dict from path in the archive to content.
    """
    if problems := [Problem(*found) for found in misencoded(files)]:
        return problems
    documents, found = inspect_bundle(files)
    problems = [*check_layout(files, TENSORS), *found]
    weights = files.get(TENSORS, b"")
    if CARD in files:
        problems += check_card(files[CARD], hashlib.sha256(weights).hexdigest(), files.get(AUDIT))
    network = None
    if INFERENCE in documents and not any(problem.file == INFERENCE for problem in problems):
        network, found = declared_network(documents[INFERENCE])
        problems += found
    if TENSORS in files:
        problems += check_weights(TENSORS, weights, network)
    return problems
