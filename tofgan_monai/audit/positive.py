"""Positive controls: an audit that finds nothing is worth something only if it is known to be able to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.audit.attacks import data_scores
from tofgan_monai.audit.cohorts import Cohort, Cohorts
from tofgan_monai.audit.parts import Parts
from tofgan_monai.audit.target import Target, bundle_network
from tofgan_monai.audit.training import Training
from tofgan_monai.errors import InputError
from tofgan_monai.files import sha256
from tofgan_monai.generation import make_pairs, raw_labels
from tofgan_monai.metrics.thresholds import choose_label_threshold
from tofgan_monai.pairs import PairDataset
from tofgan_monai.privacy.canary import canary_rank, read_canary
from tofgan_monai.training import load_weights

N_PLANTED, NOISE = 20, 0.1  # pairs; standard deviation of what is added to an image in [-1, 1]


def planted(stack: np.ndarray, cohorts: Cohorts, parts: Parts, seed: int = 0) -> dict[str, Any]:
    """Noisy copies of one member's pairs put into the stack: does each attack find that patient above every other?"""
    rng = np.random.default_rng(seed)
    patient = int(rng.choice(np.unique(cohorts.members.patients)))
    known = cohorts.members.of([patient])
    copies = known.pairs[rng.permutation(len(known.pairs))[:N_PLANTED]].astype(np.float32)
    copies[:, 0] = np.clip(copies[:, 0] + NOISE * rng.standard_normal(copies[:, 0].shape), -1, 1)
    with_copies = np.concatenate([stack, copies.astype(np.float16)])
    ranks = parts.result("control: planted copies", lambda: ranks_of(known, with_copies, cohorts))
    return {"n": len(copies), "attacks": ranks}


def ranks_of(known: Cohort, stack: np.ndarray, cohorts: Cohorts) -> dict[str, Any]:
    """Where each attack on a stack puts one patient among the held-out ones."""
    few = Cohorts(known, cohorts.non_members, cohorts.references)
    scores = data_scores(few.queries, stack, cohorts.references)
    return {name: canary_rank(found, few.patients, few.is_member) for name, found in scores.items()}


class Canary:
    """A training like the audited one, but of a stack in which one patient is repeated: that patient must be caught.

    Args:
        pairs: the stack of `tofgan canary`.
        run: output folder of the training on it.
        target: whose training was repeated.
        training: that training, if it is known.
        cohorts: whose members the stack must be of.

    Raises:
        InputError: no such stack, the training was on other pairs, or with other settings than the audited one.
    """

    def __init__(self, pairs: Path, run: Path, target: Target, training: Training | None, cohorts: Cohorts) -> None:
        if target.bundle is None:
            raise InputError(f"{pairs}: a canary is of a generator's training; audit its bundle, not a stack alone")
        canary = read_canary(pairs)
        if canary["of"] != cohorts.members.digest:
            raise InputError(f"{pairs}: made of another stack than the members'; make it by `tofgan canary` of theirs")
        content = load_weights(run / "checkpoint.pt")
        if content["recipe"].get("pairs") != PairDataset(pairs).digest:
            raise InputError(f"{run}: its training was on other pairs than {pairs}; train on these")
        if training and (others := training.differing(content["recipe"])):
            raise InputError(
                f"{run}: {', '.join(others)} differ from the audited training; train with the same settings"
            )
        self.generator, weights = bundle_network(target.bundle, run / "best.pt")
        self.patient, self.times, self.sha256 = canary["patient"], canary["times"], sha256(weights)

    def caught(self, cohorts: Cohorts, references: Path, n: int) -> dict[str, Any]:
        """Where the attacks on its pairs put the repeated patient among the held-out ones."""
        threshold = choose_label_threshold(raw_labels(self.generator), references)
        stack = make_pairs(self.generator, n, threshold=threshold)
        ranks = ranks_of(cohorts.members.of([self.patient]), stack, cohorts)
        return {"times": self.times, "attacks": ranks}
