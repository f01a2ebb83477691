"""Positive controls: an audit that finds nothing is worth something only if it is known to be able to find."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.attacks.canary import canary_rank
from tofgan_monai.attacks.on_pairs import Searches, search
from tofgan_monai.attacks.risk import assess
from tofgan_monai.attacks.similarity import Matches, joined
from tofgan_monai.audit.assessment import Scores, data_scores, network_scores
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.target import Target, bundle_network
from tofgan_monai.audit.training import State, Training, n_steps, states
from tofgan_monai.errors import InputError
from tofgan_monai.gan.generation import make_pairs, raw_labels
from tofgan_monai.gan.label_threshold import choose_label_threshold
from tofgan_monai.gan.networks import Generator
from tofgan_monai.pairs.stack import PairDataset, open_stack
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.weights import fit_weights, weights_digest
from tofgan_monai.training.recipe import pairs_digest
from tofgan_monai.training.weights import fit_weights

Ranks = dict[str, dict[str, Any]]  # by attack: above_all, rank, of
N_PLANTED, NOISE = 20, 0.1  # pairs; standard deviation of what is added to an image in [-1, 1]
LONGER = 1.1  # times as many steps as the audited training are still as many


def planted(stack: np.ndarray, cohorts: Cohorts, searches: Searches, seed: int = 0) -> dict[str, Any]:
    """Noisy copies of one member's pairs put into the stack: does each attack find that patient above every other?

    One whom it puts there without the copies, too, is not caught: it has not seen them.
    """
    rng = np.random.default_rng(seed)
    patient = int(rng.choice(np.unique(cohorts.members.patients)))
    known = cohorts.members.of([patient]).pairs
    copies = known[rng.permutation(len(known))[:N_PLANTED]].astype(np.float32)
    copies[:, 0] = np.clip(copies[:, 0] + NOISE * rng.standard_normal(copies[:, 0].shape), -1, 1)
    copies = copies.astype(np.float16)
    with_copies = np.concatenate([stack, copies])
    rows = _with_held_out(cohorts, patient)
    queries = cohorts.queries[rows]

    def found(_: np.ndarray, within: np.ndarray, channel: str) -> Matches:
        if within is not with_copies:
            return _rows(searches(cohorts.queries, within, channel), rows)
        return joined(
            _rows(searches(cohorts.queries, stack, channel), rows), search(queries, copies, channel), len(stack)
        )

    before, after = (data_scores(queries, pairs, cohorts.references.pairs, found) for pairs in (stack, with_copies))
    patients, is_member = cohorts.patients[rows], cohorts.is_member[rows]

    def is_first(scores: np.ndarray) -> bool:
        return canary_rank(scores, patients, is_member, patient)["above_all"]

    lines = {
        name: {
            "auc": asdict(assess(scores, patients, is_member)["patient"].auc),
            "caught": is_first(scores) and not is_first(before[name]),
        }
        for name, scores in after.items()
    }
    return {"n": len(copies), "attacks": lines}


def _with_held_out(cohorts: Cohorts, patient: int) -> np.ndarray:
    """Which queries are one member's or a non-member's."""
    return np.flatnonzero(~cohorts.is_member | (cohorts.patients == patient))


def _rows(matches: Matches, rows: np.ndarray) -> Matches:
    return Matches(*(values[rows] for values in vars(matches).values()))


class Canary:
    """A training like the audited one, but of a stack in which one patient is repeated: that patient must be caught.

    Args:
        pairs: the stack of `tofgan canary`.
        run: output folder of the training on it.
        target: whose training was repeated.
        training: that training, if it is known.
        cohorts: whose members the stack must be of.

    Raises:
        InputError: no such stack, or the training was on other pairs, with other settings, or longer than the audited
            one; or a canary of a stack alone, whose training is not known.
    """

    def __init__(self, pairs: Path, run: Path, target: Target, training: Training | None, cohorts: Cohorts) -> None:
        if target.bundle is None and training is None:
            raise InputError(f"{pairs}: a canary is of a training; give that of the stack's generator, too (`--run`)")
        canary = open_stack(pairs)[1].get("canary")
        if canary is None or canary["of"] != cohorts.members.digest:
            raise InputError(f"{pairs}: no canary of the members' stack; make it by `tofgan canary` of that stack")
        content = read_checkpoint(run)[1]
        recipe, name = content["recipe"], training.state if training else "best"
        if pairs_digest(recipe) != PairDataset(pairs).digest:
            raise InputError(f"{run}: its training was on other pairs than {pairs}; train on these")
        if training and (others := training.differing(recipe)):
            raise InputError(f"{run}: not as the audited training ({', '.join(others)}); train with the same settings")
        if training and (n := n_steps(run, content)) > LONGER * training.n_steps:
            most = int(LONGER * training.n_steps * content["epoch"] / n)
            raise InputError(
                f"{run}: {n} steps, where the audited training took {training.n_steps}: longer trainings memorise "
                f"more; train for at most {most} epochs (`--max_epochs`), or repeat the patient less often (`--times`)"
            )
        if (weights := states(run, content).get(name)) is None:
            raise InputError(f"{run}: has no {name} weights, which were audited; give a whole output folder")
        self.network, self.weights_sha256 = _network(target, weights, run), weights_digest(weights)
        self.patient, self.times = canary["patient"], canary["times"]

    def ranks_by_pairs(self, cohorts: Cohorts, references: Path, n: int, searches: Searches) -> Ranks:
        """Where each attack on its generator's pairs puts the repeated patient among the held-out ones."""
        generator = self.network
        assert isinstance(generator, Generator)
        stack = make_pairs(generator, n, threshold=choose_label_threshold(raw_labels(generator), references))
        rows = _with_held_out(cohorts, self.patient)
        queries = cohorts.queries[rows]

        def found(_: np.ndarray, within: np.ndarray, channel: str) -> Matches:
            if within is stack:
                return search(queries, stack, channel)
            return _rows(searches(cohorts.queries, within, channel), rows)

        return self._ranks(data_scores(queries, stack, cohorts.references.pairs, found), cohorts, rows)

    def ranks_by_network(self, cohorts: Cohorts, shadows: Sequence[nn.Module]) -> Ranks:
        """The same of each attack on a segmentation."""
        rows = _with_held_out(cohorts, self.patient)
        return self._ranks(network_scores(self.network, shadows, cohorts.queries[rows]), cohorts, rows)

    def _ranks(self, scores: Scores, cohorts: Cohorts, rows: np.ndarray) -> Ranks:
        patients, is_member = cohorts.patients[rows], cohorts.is_member[rows]
        return {name: canary_rank(of, patients, is_member, self.patient) for name, of in scores.items()}


def read_canaries(
    given: Sequence[tuple[str | os.PathLike, str | os.PathLike]],
    target: Target,
    training: Training | None,
    cohorts: Cohorts,
) -> list[Canary]:
    """The canaries of stacks and the trainings on them.

    Raises:
        InputError: see `Canary`; or they repeat the same patient, or not as often: they are no repeats then.
    """
    canaries = [Canary(Path(pairs), Path(run), target, training, cohorts) for pairs, run in given]
    names = ", ".join(str(pairs) for pairs, _ in given)
    if len({canary.patient for canary in canaries}) < len(canaries):
        raise InputError(f"{names}: repeat the same patient; make each with another `--seed`")
    if len({canary.times for canary in canaries}) > 1:
        times = ", ".join(str(canary.times) for canary in canaries)
        raise InputError(f"{names}: repeat their patients {times} times; make all with the same `--times`")
    return canaries


def _network(target: Target, weights: State, run: Path) -> nn.Module:
    """The target's network with other weights; of a stack alone the generator is known by its weights' shapes."""
    if target.bundle is not None:
        network, _ = bundle_network(target.bundle)
    else:
        shapes = [weight.shape for weight in weights.values() if weight.ndim == 4]
        network = Generator(latent_dim=shapes[0][0], width=shapes[-1][0])
    fit_weights(network, weights, run)
    return network.eval()


def judged(times: int, repeats: Sequence[Ranks]) -> dict[str, Any]:
    """The canaries as the audit tells them: by the one attack that sees them best, and where the others put them.

    The verdict corrects for its choice.
    """
    best = min(repeats[0], key=lambda name: max(ranks[name]["rank"] for ranks in repeats))
    lines = [
        {**ranks[best], "attack": best, "ranks": {name: one["rank"] for name, one in ranks.items()}}
        for ranks in repeats
    ]
    return {"times": times, "repeats": lines}
