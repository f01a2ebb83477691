"""All searches of an audit of pairs, made once and kept on disk, for the attacks, controls and copy search to read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from tofgan_monai.attacks.on_pairs import MatchTable, components
from tofgan_monai.attacks.similarity import CHANNELS, Matches, nearest
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.parts import Parts


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours between a released stack and the pairs of the cohorts.

    Attributes:
        audited: table of the queries (members' and non-members' pairs) in the released stack and in the references.
        control: table of the same queries with half of the reference patients in the released stack's place and the
            other half as references.
        stack_in_members: matches of the released stack in the members' pairs, by channel.
        stack_in_non_members: matches of the released stack in the non-members' pairs, by channel.
        among_members: matches of the members' images among themselves, without the pairs of the same patient.
    """

    audited: MatchTable
    control: MatchTable
    stack_in_members: dict[str, Matches]
    stack_in_non_members: dict[str, Matches]
    among_members: Matches


def find_neighbours(stack: np.ndarray, cohorts: Cohorts, parts: Parts) -> Neighbours:
    """The nearest neighbours between a released stack (n, 2, 96, 96) and the cohorts, from disk or from a search."""

    def found(name: str, queries: np.ndarray, within: np.ndarray) -> dict[str, Matches]:
        finds = {name: partial(nearest, queries[:, at], within[:, at], channel=name) for name, at in CHANNELS.items()}
        return {channel: parts.matches(f"{name} {channel}", find) for channel, find in finds.items()}

    def table(name: str, released: np.ndarray, others: np.ndarray) -> MatchTable:
        return MatchTable(
            found(f"{name} in stack", cohorts.queries, released),
            found(f"{name} in references", cohorts.queries, others),
            *components(cohorts.queries, released, others),
        )

    members, non_members = cohorts.members, cohorts.non_members
    images = members.pairs[:, CHANNELS["image"]]
    return Neighbours(
        table("audited", stack, cohorts.references.pairs),
        table("control", *(half.pairs for half in cohorts.references.halves())),
        found("stack in members", stack, members.pairs),
        found("stack in non-members", stack, non_members.pairs),
        parts.matches("among members", partial(nearest, images, images, patients=(members.patients,) * 2)),
    )
