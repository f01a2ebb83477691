"""Every check of a bundle's files before anything of it runs."""

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
    """Everything that is wrong with the files of a bundle, given by their paths in the archive.

    A text in another encoding than UTF-8 hides what else is wrong with it, so that alone is told.
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
