"""Shadow models: segmentations trained as the audited one was, on patients who are neither members nor non-members."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tofgan_monai.attacks.on_segmentation import load_unet, weights_file
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.target import SegmentationTarget, Target
from tofgan_monai.errors import InputError
from tofgan_monai.segmentation.networks import HalfUNet
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.recipe import pairs_digest
from tofgan_monai.training.weights import weights_digest

_logger = logging.getLogger(__name__)


def read_shadows(paths: Sequence[str | os.PathLike], target: Target, cohorts: Cohorts) -> dict[str, HalfUNet]:
    """Reads shadow models; returns them by the digests of their weights, in the given order.

    The pairs that a shadow model was trained on are known only if its training's `checkpoint.pt` lies beside its
    weights. They are compared with the members' and non-members' stacks; other patches of the same patients are not
    recognised.

    Args:
        paths: weights, or segmentation bundles.
        target: what is audited.
        cohorts: no shadow model may have been trained on their members or non-members.

    Raises:
        InputError: the target is not a segmentation; or weights are the target's own, are given twice, or come from a
            training on members or non-members.
    """
    if not paths:
        return {}
    if not isinstance(target, SegmentationTarget):
        raise InputError(f"{paths[0]}: only a segmentation has shadow models; leave --shadow out for any other target")
    files = [weights_file(path) for path in paths]
    networks = [load_unet(file) for file in files]
    digests = [weights_digest(network.state_dict()) for network in networks]
    if problems := [*_repeated(files, digests, target), *_members(files, cohorts)]:
        raise InputError(problems)
    if len(files) == 1:
        _logger.warning(f"{files[0]}: this is the only shadow model, so LiRA is left out; give two or more")
    return dict(zip(digests, networks, strict=True))


def _repeated(files: Sequence[Path], digests: Sequence[str], target: SegmentationTarget) -> Iterator[str]:
    """Yields a problem for each file that holds the target's weights or those of an earlier file."""
    known = {target.weights_sha256: "the audited network"}
    for file, digest in zip(files, digests, strict=True):
        if digest in known:
            yield f"{file}: has the same weights as {known[digest]}; give a training of its own on other patients"
        known.setdefault(digest, str(file))


def _members(files: Sequence[Path], cohorts: Cohorts) -> Iterator[str]:
    """Yields a problem for each weights file whose training used the members' or the non-members' pairs."""
    seen = {cohorts.members.digest: "members", cohorts.non_members.digest: "non-members"}
    for file in files:
        if (file.parent / "checkpoint.pt").exists():
            pairs = pairs_digest(read_checkpoint(file.parent)[1]["recipe"])
            if pairs in seen:
                yield f"{file}: was trained on the {seen[pairs]}' pairs; give a training on other patients"
