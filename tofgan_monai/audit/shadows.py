"""Reader of shadow models, which the attack LiRA and a control need.

A shadow model is a segmentation network that was trained like the audited one, but on patients who are neither members
(training patients) nor non-members (held-out patients).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.target import SegmentationTarget, Target, network_with
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.errors import InputError
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.recipe import pairs_digest
from tofgan_monai.training.weights import load_weights, weights_digest

_logger = logging.getLogger(__name__)


def read_shadows(paths: Sequence[str | os.PathLike], target: Target, cohorts: Cohorts) -> dict[str, nn.Module]:
    """Reads shadow models; returns a dict from the digest of the weights to the network, in the given order.

    If `checkpoint.pt` of the training lies beside the weights, the function checks that the training used neither the
    members' stack nor the non-members' stack (or cohort of heads). It cannot recognise other patches of the same
    patients, nor a part of these patients. Without `checkpoint.pt` the pairs of the training cannot be checked.

    Args:
        paths: for each shadow model a `.pt` file of weights, or the name or folder of a segmentation bundle.
        target: the audited stack, generator or segmentation network.
        cohorts: pairs of members, non-members and references.

    Raises:
        InputError: the target is not a segmentation network; or weights do not fit the target's architecture, are equal
            to the target's weights, are given twice, or come from a training on the members' or the non-members' data.
    """
    if not paths:
        return {}
    if not isinstance(target, SegmentationTarget):
        raise InputError(
            f"{paths[0]}: the target is not a segmentation network, and only this kind has shadow models; leave out "
            "`--shadow`"
        )
    files = [_weights_file(path) for path in paths]
    weights = [load_weights(file) for file in files]
    networks = [network_with(target, state, file) for state, file in zip(weights, files, strict=True)]
    digests = [weights_digest(state) for state in weights]
    if problems := [*_repeated(files, digests, target), *_members(files, cohorts)]:
        raise InputError(problems)
    if len(files) == 1:
        _logger.warning(
            f"{files[0]}: this is the only shadow model, so the attack LiRA is left out; give two or more (`--shadow`)"
        )
    return dict(zip(digests, networks, strict=True))


def _weights_file(weights: str | os.PathLike) -> Path:
    """Returns the path of a network's weights file: a `.pt` file itself, or models/model.pt of a bundle."""
    return Path(weights) if Path(weights).suffix == ".pt" else bundle_path(weights) / "models" / "model.pt"


def _repeated(files: Sequence[Path], digests: Sequence[str], target: SegmentationTarget) -> Iterator[str]:
    """Yields an error message for each file that holds the same weights as the target or as an earlier file.

    Args:
        files: weights files of the shadow models.
        digests: digest of the weights in each file.
        target: the audited segmentation network.
    """
    known = {target.weights_sha256: "the audited network"}
    for file, digest in zip(files, digests, strict=True):
        if digest in known:
            yield (
                f"{file}: the file has the same weights as {known[digest]}; give weights of a separate training on "
                "other patients"
            )
        known.setdefault(digest, str(file))


def _members(files: Sequence[Path], cohorts: Cohorts) -> Iterator[str]:
    """Yields an error message for each weights file whose training used the members' or the non-members' data.

    A file without `checkpoint.pt` beside it is not checked.
    """
    seen = {cohorts.members.digest: "members", cohorts.non_members.digest: "non-members"}
    for file in files:
        if (file.parent / "checkpoint.pt").exists():
            pairs = pairs_digest(read_checkpoint(file.parent)[1]["recipe"])
            if pairs in seen:
                yield (
                    f"{file}: the shadow model was trained on the {seen[pairs]}' pairs; give weights of a training on "
                    "other patients"
                )
