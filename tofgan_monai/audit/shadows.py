"""Shadows: segmentations trained as the audited one was, on patients who are neither members nor non-members."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tofgan_monai.attacks.on_segmentation import load_unet, weights_file
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.target import Target
from tofgan_monai.audit.training import equal
from tofgan_monai.errors import InputError
from tofgan_monai.segmentation.networks import HalfUNet
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.weights import weights_digest
from tofgan_monai.training.recipe import pairs_digest

_logger = logging.getLogger(__name__)


def read_shadows(paths: Sequence[str | os.PathLike], target: Target, cohorts: Cohorts) -> dict[str, HalfUNet]:
    """The networks by the digest of their weights, in the order of the files.

    What a shadow was trained on is checked where its training's `checkpoint.pt` lies beside its weights, and there only
    against the very stacks of members and non-members: other patches of the same patients are not seen.

    Args:
        paths: weights, or segmentation bundles.
        target: what is audited.
        cohorts: whose members and non-members no shadow may have seen.

    Raises:
        InputError: the target is no segmentation, weights that are its own or given twice, or of a training on members
            or non-members.
    """
    if paths and not target.is_segmentation:
        raise InputError(f"{paths[0]}: shadows are of segmentations only; leave --shadow out for a generator or pairs")
    files = [weights_file(path) for path in paths]
    networks = [load_unet(file) for file in files]
    problems = [*_repeated(files, networks, target), *_members(files, cohorts)]
    if problems:
        raise InputError(problems)
    if len(files) == 1:
        _logger.warning(f"{files[0]}: is the only shadow, so LiRA is left out; give two or more")
    return {weights_digest(network.state_dict()): network for network in networks}


def _repeated(files: Sequence[Path], networks: Sequence[HalfUNet], target: Target) -> Iterator[str]:
    """Weights that are there already."""
    known = [] if target.network is None else [("the audited network", target.network)]
    for file, network in zip(files, networks, strict=True):
        for whose, other in known:
            if equal(network.state_dict(), other.state_dict()):
                yield f"{file}: has the weights of {whose}; give a training of its own on other patients"
        known.append((str(file), network))


def _members(files: Sequence[Path], cohorts: Cohorts) -> Iterator[str]:
    """Weights of a training on members or non-members."""
    seen = {cohorts.members.digest: "members", cohorts.non_members.digest: "non-members"}
    for file in files:
        if (file.parent / "checkpoint.pt").exists():
            pairs = pairs_digest(read_checkpoint(file.parent)[1]["recipe"])
            if pairs in seen:
                yield f"{file}: was trained on the {seen[pairs]}' pairs; give one of other patients"
