"""The label threshold, which is the value above which a pixel of a generator's raw label is vessel.

A raw label is the generator's label channel, with values in [-1, 1], before the threshold makes it binary. The vessel
fraction is the number of vessel pixels divided by the number of all pixels of the labels.
"""

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
    """Returns the threshold, in (-1, 1), at which generated labels have the vessel fraction of the real pairs.

    The threshold lies midway between two neighbouring raw values, so `raw > threshold` gives the same pixels on any
    machine. Not every vessel fraction is possible if most raw values are -1 or +1; the function then takes the nearest
    possible fraction. The threshold is 0 if the raw values are -1 and +1 only. If all raw values are equal, the
    function logs a warning and returns 0.

    Args:
        raw_labels: the generator's label channel (n, H, W) in [-1, 1], without a threshold; a few thousand are enough.
        validation_stack: real pairs (n, 2, H, W) of validation patients, whose label is above 0 at vessels. This is an
            array, the path of a stack (a file of pairs), or a list of these.
        share: the vessel fraction, from 0 to 1; used only if there is no validation stack.

    Raises:
        InputError: there are no labels, a value is outside [-1, 1], the vessel fraction is outside [0, 1], or a stack
            cannot be read.
    """
    raw = np.asarray(raw_labels, dtype=np.float32).reshape(-1)
    if not raw.size or not np.abs(raw).max() <= 1:
        raise InputError(
            "raw labels are empty or have values outside [-1, 1]; pass the label channel of the generator's tanh output"
        )
    share = share if validation_stack is None else vessel_share(validation_stack)
    if share is None or not 0 <= share <= 1:
        raise InputError(f"vessel fraction {share} is not a number from 0 to 1; give such a number or validation pairs")
    n_vessel = round(share * raw.size)
    if not n_vessel:
        logger.warning("the vessel fraction is %s: no generated label will contain a vessel", share)
    values, counts = np.unique(raw, return_counts=True)
    if len(values) == 1:
        problem = f"all generated labels have the value {values[0]} everywhere: no threshold separates the vessels"
        logger.warning(f"{problem}; train longer")
        return 0.0
    n_above = raw.size - counts.cumsum()[:-1]  # vessel pixels of each cut between two neighbouring values
    cut = np.abs(n_above - n_vessel).argmin()
    return (float(values[cut]) + float(values[cut + 1])) / 2


def vessel_share(stacks: str | os.PathLike | np.ndarray | Sequence[str | os.PathLike | np.ndarray]) -> float:
    """Returns the fraction of pixels that are vessel, from 0 to 1, over all labels of one or several stacks of pairs.

    Args:
        stacks: an array of pairs (n, 2, H, W), the path of a stack, or a list of these.

    Raises:
        InputError: the stacks have no pairs.
    """
    several = [stacks] if isinstance(stacks, str | os.PathLike | np.ndarray) else list(stacks)
    opened = [stack if isinstance(stack, np.ndarray) else open_stack(stack)[0] for stack in several]
    blocks = (pairs[i : i + 1024, 1] for pairs in opened for i in range(0, len(pairs), 1024))
    n_vessel = sum(int(np.count_nonzero(block > 0)) for block in blocks)
    n = sum(pairs[:, 1].size for pairs in opened)
    if not n:
        raise InputError("the stack has no pairs, so it has no vessel fraction; give a stack with pairs")
    return n_vessel / n
