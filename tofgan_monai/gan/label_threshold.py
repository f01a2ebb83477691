"""The label threshold: the value above which a pixel of a generator's raw label is vessel."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import numpy as np

from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import open_stack

logger = logging.getLogger(__name__)


def choose_label_threshold(
    raw_labels: np.ndarray,
    validation_stack: str | os.PathLike | np.ndarray | Sequence[str | os.PathLike | np.ndarray] | None = None,
    share: float | None = None,
) -> float:
    """The threshold in (-1, 1) at which generated labels have as large a share of vessel pixels as real pairs have.

    The threshold lies midway between two neighbouring raw values, so `raw > threshold` gives the same pixels on any
    machine. Labels that are -1 or +1 almost everywhere cannot have every share: the nearest possible share is taken,
    and the threshold is 0 where no other value occurs. Raw labels with one value everywhere give 0, with a warning.

    Args:
        raw_labels: the generator's label channel (n, H, W) in [-1, 1], without a threshold; a few thousand are enough.
        validation_stack: real pairs (n, 2, H, W) of validation patients, label above 0 at vessels: an array, the path
            of a stack, or several of these.
        share: the share of vessel pixels, from 0 to 1; used if there is no validation stack.

    Raises:
        InputError: there are no labels, a value is outside [-1, 1], the share is outside [0, 1], or a stack cannot be
            read.
    """
    raw = np.asarray(raw_labels, dtype=np.float32).reshape(-1)
    if not raw.size or not np.abs(raw).max() <= 1:
        raise InputError("raw labels: values in [-1, 1] are needed, at least one; pass the generator's tanh output")
    share = share if validation_stack is None else vessel_share(validation_stack)
    if share is None or not 0 <= share <= 1:
        raise InputError(f"share of vessels {share}: give one from 0 to 1, or validation pairs")
    n_vessel = round(share * raw.size)
    if not n_vessel:
        logger.warning("the share of vessels is %s: no label will have a vessel", share)
    values, counts = np.unique(raw, return_counts=True)
    if len(values) == 1:
        logger.warning(f"all generated labels are {values[0]} everywhere: no threshold separates vessels; train longer")
        return 0.0
    n_above = raw.size - counts.cumsum()[:-1]  # vessel pixels of each cut between two neighbouring values
    cut = np.abs(n_above - n_vessel).argmin()
    return (float(values[cut]) + float(values[cut + 1])) / 2


def vessel_share(stacks: str | os.PathLike | np.ndarray | Sequence[str | os.PathLike | np.ndarray]) -> float:
    """Share of vessel pixels in the labels of one stack (n, 2, H, W) or of several together, from 0 to 1.

    Raises:
        InputError: the stacks have no pairs.
    """
    several = [stacks] if isinstance(stacks, str | os.PathLike | np.ndarray) else list(stacks)
    opened = [stack if isinstance(stack, np.ndarray) else open_stack(stack)[0] for stack in several]
    blocks = (pairs[i : i + 1024, 1] for pairs in opened for i in range(0, len(pairs), 1024))
    n_vessel = sum(int(np.count_nonzero(block > 0)) for block in blocks)
    n = sum(pairs[:, 1].size for pairs in opened)
    if not n:
        raise InputError("the stack has no pairs, so no share of vessels; give a stack with pairs")
    return n_vessel / n
