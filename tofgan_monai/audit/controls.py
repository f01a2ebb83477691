"""Positive controls: an audit that finds nothing has a meaning only if its attacks are known to find something.

One control puts copies of a member's pairs into the released stack (planted copies), the other repeats a patient in a
training (canary). The attacks must then recognise that patient.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.attacks.canary import canary_rank
from tofgan_monai.attacks.on_pairs import MatchTable, Scores, components, match_table, pair_scores
from tofgan_monai.attacks.risk import assess
from tofgan_monai.attacks.similarity import joined, search
from tofgan_monai.audit.assessment import network_scores
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.target import StackTarget, Target, network_with
from tofgan_monai.audit.training import Training, n_steps, states
from tofgan_monai.errors import InputError
from tofgan_monai.gan.generation import make_pairs, raw_labels
from tofgan_monai.gan.label_threshold import choose_label_threshold
from tofgan_monai.gan.networks import Generator
from tofgan_monai.pairs.stack import PairDataset, open_stack
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.recipe import pairs_digest
from tofgan_monai.training.weights import weights_digest

Ranks = dict[str, dict[str, Any]]  # by attack: above_all, rank, of
N_PLANTED, NOISE = 20, 0.1  # number of planted pairs; standard deviation of the noise on their images in [-1, 1]
LONGER = 1.1  # a canary's training may take this many times the steps of the audited one


def planted(stack: np.ndarray, cohorts: Cohorts, table: MatchTable, seed: int = 0) -> dict[str, Any]:
    """Whether each attack recognises a member after noisy copies of the member's pairs are put into the stack.

    Args:
        stack: the released pairs.
        cohorts: the member is drawn from them at random.
        table: of the cohorts' queries in the stack and in the references.
        seed: of the draw and of the noise.

    Returns:
        `n`, the number of copies, and `attacks`: for each the `auc` with the copies, and `caught`, see `recognised`.
    """
    rng = np.random.default_rng(seed)
    patient = int(rng.choice(np.unique(cohorts.members.patients)))
    known = cohorts.members.of([patient]).pairs
    copies = known[rng.permutation(len(known))[:N_PLANTED]].astype(np.float32)
    copies[:, 0] = np.clip(copies[:, 0] + NOISE * rng.standard_normal(copies[:, 0].shape), -1, 1)
    copies = copies.astype(np.float16)
    rows = cohorts.with_held_out(patient)
    queries, before = cohorts.queries[rows], table.of(rows)
    in_copies = search(queries, copies)
    in_both = {name: joined(found, in_copies[name], len(stack)) for name, found in before.in_stack.items()}
    projected = components(queries, np.concatenate([stack, copies]), cohorts.references.pairs)
    after = MatchTable(in_both, before.in_references, *projected)
    return {"n": len(copies), "attacks": recognised(pair_scores(before), pair_scores(after), cohorts, patient)}


def recognised(before: Scores, after: Scores, cohorts: Cohorts, patient: int) -> dict[str, Any]:
    """Each attack's AUC over patients with planted copies, and whether it `caught` the patient.

    A patient is caught if the attack ranks the patient above all non-members with the copies and not without them. A
    patient who already ranks first without the copies does not count.

    Args:
        before: scores of the queries of the patient and of all non-members, without the copies.
        after: the same with the copies.
        cohorts: of these queries.
        patient: index of the member.
    """
    rows = cohorts.with_held_out(patient)
    ranks_before, ranks_after = (_ranks(scores, cohorts, patient) for scores in (before, after))
    return {
        name: {
            "auc": asdict(assess(scores, cohorts.patients[rows], cohorts.is_member[rows])["patient"].auc),
            "caught": ranks_after[name]["above_all"] and not ranks_before[name]["above_all"],
        }
        for name, scores in after.items()
    }


def _ranks(scores: Scores, cohorts: Cohorts, patient: int) -> Ranks:
    """A member's rank among the non-members by each attack, from the scores of their queries."""
    rows = cohorts.with_held_out(patient)
    patients, is_member = cohorts.patients[rows], cohorts.is_member[rows]
    return {name: canary_rank(of, patients, is_member, patient) for name, of in scores.items()}


@dataclass(frozen=True, eq=False)
class Canary:
    """A training on a stack in which one member is repeated, with the settings of the audited training.

    Attributes:
        network: with the weights that correspond to the audited ones.
        weights_sha256: digest of these weights.
        patient: index of the repeated member.
        times: how often each of that member's pairs occurs.
    """

    network: nn.Module
    weights_sha256: str
    patient: int
    times: int

    def ranks_by_pairs(self, cohorts: Cohorts, references: Path, n: int, table: MatchTable) -> Ranks:
        """The repeated patient's rank among the non-members by each attack on n pairs of the canary's generator.

        Args:
            cohorts: of the audit.
            references: path of the reference patients' stack, which sets the label threshold.
            n: number of pairs to make.
            table: of the cohorts' queries; its matches in the references are used again.
        """
        generator = self.network
        assert isinstance(generator, Generator)
        stack = make_pairs(generator, n, threshold=choose_label_threshold(raw_labels(generator), references))
        rows = cohorts.with_held_out(self.patient)
        known = table.of(rows).in_references
        found = match_table(cohorts.queries[rows], stack, cohorts.references.pairs, known)
        return _ranks(pair_scores(found), cohorts, self.patient)

    def ranks_by_network(self, cohorts: Cohorts, shadows: Sequence[nn.Module]) -> Ranks:
        """The repeated patient's rank among the non-members by each attack on the canary's segmentation network."""
        queries = cohorts.queries[cohorts.with_held_out(self.patient)]
        return _ranks(network_scores(self.network, shadows, queries), cohorts, self.patient)


def read_canaries(
    given: Sequence[tuple[str | os.PathLike, str | os.PathLike]],
    target: Target,
    training: Training | None,
    cohorts: Cohorts,
) -> list[Canary]:
    """Reads the canaries of an audit from stacks made by `tofgan canary` and the folders of trainings on them.

    Args:
        given: stack and output folder of each canary.
        target: what is audited.
        training: the audited training, None if it is not known.
        cohorts: the stacks must be made from their members.

    Raises:
        InputError: a stack has no canary of the members; a training used other pairs or other settings, or took more
            steps than the audited training; the target is a stack whose training is not known; or canaries repeat the
            same patient, or differ in how often they do.
    """
    canaries = [_read_canary(Path(pairs), Path(run), target, training, cohorts) for pairs, run in given]
    names = ", ".join(str(pairs) for pairs, _ in given)
    if len({canary.patient for canary in canaries}) < len(canaries):
        raise InputError(f"{names}: these repeat the same patient; make each with another `--seed`")
    if len({canary.times for canary in canaries}) > 1:
        times = ", ".join(str(canary.times) for canary in canaries)
        raise InputError(f"{names}: these repeat their patients {times} times; make all with the same `--times`")
    return canaries


def _read_canary(pairs: Path, run: Path, target: Target, training: Training | None, cohorts: Cohorts) -> Canary:
    if isinstance(target, StackTarget) and training is None:
        raise InputError(f"{pairs}: a canary belongs to a training; give the training of the stack's generator (--run)")
    canary = open_stack(pairs)[1].get("canary")
    if canary is None or canary["of"] != cohorts.members.digest:
        raise InputError(f"{pairs}: holds no canary of the members' stack; make it from that stack by `tofgan canary`")
    content = read_checkpoint(run)[1]
    recipe, name = content["recipe"], training.state if training else "best"
    if pairs_digest(recipe) != PairDataset(pairs).digest:
        raise InputError(f"{run}: this training used other pairs than {pairs}; train on these pairs")
    if training and (others := training.differing(recipe)):
        told = ", ".join(others)
        raise InputError(f"{run}: its settings differ from the audited training's ({told}); train with the same ones")
    if training and (n := n_steps(run, content)) > LONGER * training.n_steps:
        most = int(LONGER * training.n_steps * content["epoch"] / n)
        raise InputError(
            f"{run}: {n} steps, where the audited training took {training.n_steps}: longer trainings memorise more; "
            f"train for at most {most} epochs (`--max_epochs`), or repeat the patient less often (`--times`)"
        )
    if (weights := states(run, content).get(name)) is None:
        raise InputError(f"{run}: has no weights `{name}`, which were audited; give a complete output folder")
    return Canary(network_with(target, weights, run), weights_digest(weights), canary["patient"], canary["times"])


def judged(canaries: Sequence[Canary], ranks: Sequence[Ranks]) -> dict[str, Any] | None:
    """The entry in audit.json about the canaries, from each canary's ranks; None without canaries.

    It gives the ranks by the one attack that recognises all repeated patients best, and the other attacks' ranks beside
    them. The verdict corrects for this choice.
    """
    if not canaries:
        return None
    best = min(ranks[0], key=lambda name: max(one[name]["rank"] for one in ranks))
    by_attack = [{name: found["rank"] for name, found in one.items()} for one in ranks]
    repeats = [{**one[best], "attack": best, "ranks": of} for one, of in zip(ranks, by_attack, strict=True)]
    return {"times": canaries[0].times, "repeats": repeats}
