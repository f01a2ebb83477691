"""Nearest-neighbour searches of an audit, which are made once, kept on disk and used by attacks, controls, copy search.

The released stack holds the audited synthetic image-label pairs. Queries are the real pairs of training patients
(members) and of held-out patients (non-members), to which attacks give scores. References are further patients.
"""

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
    """Nearest neighbours between a released stack and the real pairs of an audit.

    Attributes:
        audited: table of the queries' nearest neighbours in the released stack and among the references.
        control: table of the queries' nearest neighbours for the control: half of the reference patients take the place
            of the released stack, and the other half are the references.
        stack_in_members: nearest neighbours of each released pair among the members' pairs, by channel ("image",
            "label").
        stack_in_non_members: nearest neighbours of each released pair among the non-members' pairs, by channel.
        among_members: nearest neighbours of each member's image among the images of the other members.
    """

    audited: MatchTable
    control: MatchTable
    stack_in_members: dict[str, Matches]
    stack_in_non_members: dict[str, Matches]
    among_members: Matches


def find_neighbours(stack: np.ndarray, cohorts: Cohorts, parts: Parts) -> Neighbours:
    """Finds the nearest neighbours between a released stack and the real pairs of an audit, and stores them.

    Args:
        stack: released synthetic pairs, (n, 2, 96, 96).
        cohorts: pairs of members, non-members and references.
        parts: store of finished parts; a search that it already holds is not made again.
    """

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
