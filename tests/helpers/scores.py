"""What tests ask of an attack's scores."""

from __future__ import annotations

import numpy as np


def auc(scores: np.ndarray) -> float:
    """The attack AUC of scores of which the first half are members'."""
    members, others = np.split(scores, 2)
    return float((members[:, None] > others).mean() + (members[:, None] == others).mean() / 2)
