"""Positive controls of an audit: tests that show whether the attacks can recognise a training patient at all.

Members are the training patients, and non-members are held-out patients. The first control puts noisy copies of one
member's pairs into the released stack (planted copies). The second control trains the network again on a stack in which
one member's pairs are repeated (canary). The attacks should then recognise this patient. If they do not, an audit that
finds nothing proves nothing. Queries are the members' and non-members' pairs, to which attacks give scores.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.attacks.canary import Repeated, canary_rank
from tofgan_monai.attacks.on_pairs import MatchTable, Scores, components, match_table, pair_scores
from tofgan_monai.attacks.on_segmentation import Figures, figures, network_scores
from tofgan_monai.attacks.risk import assess
from tofgan_monai.attacks.similarity import joined, search
from tofgan_monai.audit.cohorts import Cohort, Cohorts
from tofgan_monai.audit.heads import HeadReader
from tofgan_monai.audit.target import StackTarget, Target, network_with
from tofgan_monai.audit.training import Training, n_steps, states
from tofgan_monai.errors import InputError
from tofgan_monai.gan.generation import make_pairs, raw_labels
from tofgan_monai.gan.kinds import PairGenerator
from tofgan_monai.gan.label_threshold import choose_label_threshold
from tofgan_monai.pairs.stack import PairDataset, open_stack
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.recipe import pairs_digest
from tofgan_monai.training.weights import weights_digest

Ranks = dict[str, dict[str, Any]]  # from the name of an attack to the result of `canary_rank`
N_PLANTED, NOISE = 20, 0.1  # largest number of planted pairs; standard deviation of the noise on their images
LONGER = 1.1  # a canary's training may take at most this many times the steps of the audited training


def planted(stack: np.ndarray, cohorts: Cohorts, table: MatchTable) -> dict[str, Any]:
    """Plants noisy copies of a random member's pairs in the stack; returns which attacks then recognise this member.

    The released stack itself is not changed.

    Args:
        stack: released synthetic pairs, (n, 2, 96, 96).
        cohorts: pairs of members, non-members and references; the member is drawn from them.
        table: nearest neighbours of the queries in the released stack and among the references.

    Returns:
        Dict with `n` (number of planted copies) and `attacks`, the result of `recognised`.
    """
    rng = np.random.default_rng(0)
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
    """Returns whether each attack recognises the member whose copies were planted, and the attack's AUC.

    An attack recognises the member if it ranks the member above all non-members after the copies were planted, and did
    not do so before.

    Args:
        before: scores by each attack before the copies were planted, for the queries of the member and of all
            non-members.
        after: scores of the same queries after the copies were planted.
        cohorts: pairs of members, non-members and references.
        patient: index of the member.

    Returns:
        Dict from the name of the attack to a dict with `auc` (over patients, with its interval, after the copies were
        planted) and `caught` (whether the attack recognises the member).
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
    """Returns one member's rank among the non-members by each attack, as a dict from the name of the attack.

    Args:
        scores: scores by each attack, for the queries of this member and of all non-members.
        cohorts: pairs of members, non-members and references.
        patient: index of the member.
    """
    rows = cohorts.with_held_out(patient)
    patients, is_member = cohorts.patients[rows], cohorts.is_member[rows]
    return {name: canary_rank(of, patients, is_member, patient) for name, of in scores.items()}


@dataclass(frozen=True, eq=False)
class Canary:
    """The network of a training run on a stack, or a cohort of heads, in which one member is repeated.

    The training run has the settings of the audited training run.

    Attributes:
        network: generator or segmentation network with the weights of this training run.
        weights_sha256: digest of these weights.
        patient: index of the repeated member.
        times: number of times that each pair or scan of this member occurs.
    """

    network: nn.Module
    weights_sha256: str
    patient: int
    times: int

    def ranks_by_pairs(self, cohorts: Cohorts, references: Path, n: int, table: MatchTable) -> Ranks:
        """Makes pairs with the canary's generator, attacks the pairs, and returns the repeated patient's ranks.

        Args:
            cohorts: pairs of members, non-members and references of the audit.
            references: path of the reference patients' stack, which determines the label threshold.
            n: number of pairs to make.
            table: nearest neighbours of the queries; those among the references are used again.

        Returns:
            Dict from the name of the attack to the patient's rank among the non-members, see `canary_rank`.
        """
        generator = self.network
        assert isinstance(generator, PairGenerator)
        stack = make_pairs(generator, n, threshold=choose_label_threshold(raw_labels(generator), references))
        rows = cohorts.with_held_out(self.patient)
        known = table.of(rows).in_references
        found = match_table(cohorts.queries[rows], stack, cohorts.references.pairs, known)
        return _ranks(pair_scores(found), cohorts, self.patient)

    def ranks_by_network(self, cohorts: Cohorts, shadows: Sequence[Figures]) -> Ranks:
        """Attacks the canary's segmentation network and returns the repeated patient's rank among the non-members.

        Args:
            cohorts: pairs of members, non-members and references of the audit.
            shadows: figures of the shadow models on all queries, for LiRA.

        Returns:
            Dict from the name of the attack to the patient's rank, see `canary_rank`.
        """
        rows = cohorts.with_held_out(self.patient)
        found = figures(self.network, cohorts.queries[rows])
        return _ranks(network_scores(found, [shadow.of(rows) for shadow in shadows]), cohorts, self.patient)


def read_canaries(
    given: Sequence[tuple[str | os.PathLike, str | os.PathLike]],
    target: Target,
    training: Training | None,
    cohorts: Cohorts,
    heads: HeadReader | None = None,
) -> list[Canary]:
    """Reads the canaries of an audit; each is a stack made by `tofgan canary` and a training run on this stack.

    Args:
        given: for each canary the path of its stack (or cohort of heads) and the output folder of its training run.
        target: the audited stack, generator or segmentation network.
        training: the audited training run; None if it is not known.
        cohorts: pairs of the audit; each canary's stack must be made from the members' stack.
        heads: reader of heads for a 3D segmentation network; None if canaries are stacks.

    Raises:
        InputError: a stack has no canary or was made from another stack; a training run used other pairs or settings,
            took more than 1.1 times the steps of the audited training run, or lacks the weights that were audited; the
            target is a stack whose training run is not known; or two canaries repeat the same patient, or repeat their
            patients a different number of times.
    """
    planted = heads.canary if heads else _in_stack
    canaries = [
        _read_canary(planted(Path(pairs), cohorts.members), Path(pairs), Path(run), target, training)
        for pairs, run in given
    ]
    names = ", ".join(str(pairs) for pairs, _ in given)
    if len({canary.patient for canary in canaries}) < len(canaries):
        raise InputError(f"{names}: two canaries repeat the same patient; make each with another seed (`--seed`)")
    if len({canary.times for canary in canaries}) > 1:
        times = ", ".join(str(canary.times) for canary in canaries)
        raise InputError(
            f"{names}: the canaries repeat their patients {times} times; make all with the same number (`--times`)"
        )
    return canaries


def _in_stack(pairs: Path, members: Cohort) -> Repeated:
    canary = open_stack(pairs)[1].get("canary")
    if canary is None or canary["of"] != members.digest:
        raise InputError(
            f"{pairs}: the stack holds no canary of the members' stack; make it from the members' stack "
            "(`tofgan canary`)"
        )
    return Repeated(PairDataset(pairs).digest, canary["patient"], canary["times"])


def _read_canary(planted: Repeated, pairs: Path, run: Path, target: Target, training: Training | None) -> Canary:
    if isinstance(target, StackTarget) and training is None:
        raise InputError(
            f"{pairs}: the canary must be compared with the training of the audited stack's generator; give the output "
            "folder of this training (`--run`)"
        )
    content = read_checkpoint(run)[1]
    recipe, name = content["recipe"], training.state if training else "best"
    if pairs_digest(recipe) != planted.digest:
        raise InputError(f"{run}: the training used other pairs than {pairs}; train on {pairs}")
    if training and (others := training.differing(recipe)):
        told = ", ".join(others)
        raise InputError(
            f"{run}: the settings of the canary's training differ from those of the audited training ({told}); train "
            "with the same settings"
        )
    if training and (n := n_steps(run, content)) > LONGER * training.n_steps:
        most = int(LONGER * training.n_steps * content["epoch"] / n)
        raise InputError(
            f"{run}: the canary's training took {n} steps, but the audited training took {training.n_steps}, and a "
            f"longer training memorises more; train for at most {most} epochs (`--max_epochs`), or repeat the patient "
            "less often (`tofgan canary --times`)"
        )
    if (weights := states(run, content).get(name)) is None:
        raise InputError(
            f'{run}: the training has no weights "{name}", which is the part that was audited; give a complete output '
            "folder"
        )
    return Canary(network_with(target, weights, run), weights_digest(weights), planted.patient, planted.times)


def judged(canaries: Sequence[Canary], ranks: Sequence[Ranks]) -> dict[str, Any] | None:
    """Returns the entry in audit.json about the canaries; None if there are no canaries.

    One attack is chosen for all canaries: the attack whose worst rank over the canaries is best. The verdict corrects
    for this choice.

    Args:
        canaries: the canaries of the audit.
        ranks: for each canary a dict from the name of the attack to the repeated patient's rank.

    Returns:
        Dict with `times` (number of times that each pair is repeated) and `repeats`. `repeats` holds a dict for each
        canary: the result of `canary_rank` by the chosen attack, the name of this attack (`attack`), and the rank by
        every attack (`ranks`).
    """
    if not canaries:
        return None
    best = min(ranks[0], key=lambda name: max(one[name]["rank"] for one in ranks))
    by_attack = [{name: found["rank"] for name, found in one.items()} for one in ranks]
    repeats = [{**one[best], "attack": best, "ranks": of} for one, of in zip(ranks, by_attack, strict=True)]
    return {"times": canaries[0].times, "repeats": repeats}
