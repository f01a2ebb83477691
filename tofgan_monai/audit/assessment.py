"""The figures of an audit: attacks with their controls, and the copy search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.attacks.copies import authenticity_pct, copies
from tofgan_monai.attacks.on_gan import latent_recovery
from tofgan_monai.attacks.on_pairs import Scores, pair_scores
from tofgan_monai.attacks.on_segmentation import confidence_score, lira_score, loss_score
from tofgan_monai.attacks.risk import assess, excess, member_only, roc
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.neighbours import Neighbours
from tofgan_monai.audit.parts import Parts
from tofgan_monai.gan.networks import Generator

N_RECOVERED = 320  # patches, about, that latent recovery is run on; each costs hundreds of steps of the generator
Attack = dict[str, Any]  # an attack's entry in audit.json


def on_data(neighbours: Neighbours, cohorts: Cohorts) -> list[Attack]:
    """The entries in audit.json of the attacks on released pairs; the same attacks on references' pairs are a control.

    A generator's training cannot have put anything about members into the reference patients' pairs. If an attack finds
    something there, members and non-members differ.
    """
    scores, control = pair_scores(neighbours.audited), pair_scores(neighbours.control)
    return [attack_entry(name, "data", scores[name], cohorts, control[name]) for name in scores]


def on_generator(generator: Generator, cohorts: Cohorts, parts: Parts) -> Attack:
    """The entry in audit.json of the attack on a generator: latent recovery, on a few patches of each patient."""
    few = cohorts.fewer(max(1, N_RECOVERED // len(np.unique(cohorts.patients))))
    scores = parts.arrays("latent recovery", lambda: {"scores": latent_recovery(generator, few.queries)})
    return attack_entry("latent recovery", "generator", scores["scores"], few)


def on_segmentation(network: nn.Module, shadows: Sequence[nn.Module], cohorts: Cohorts, parts: Parts) -> list[Attack]:
    """The entries in audit.json of the attacks on a segmentation; the first shadow model serves as a control."""
    queries = cohorts.queries
    scores = parts.arrays("attacks on the network", lambda: network_scores(network, shadows, queries))
    control = parts.arrays("control", lambda: network_scores(shadows[0], (), queries)) if shadows else {}
    return [attack_entry(name, "network", scores[name], cohorts, control.get(name)) for name in scores]


def network_scores(network: nn.Module, shadows: Sequence[nn.Module], queries: np.ndarray) -> Scores:
    """The scores (n,) of the queries by the attacks on a segmentation; LiRA needs two or more shadow models."""
    scores = {"loss": loss_score(network, queries), "confidence": confidence_score(network, queries)}
    return {**scores, "LiRA": lira_score(network, shadows, queries)} if len(shadows) > 1 else scores


def attack_entry(
    name: str, release: str, scores: np.ndarray, cohorts: Cohorts, control: np.ndarray | None = None
) -> Attack:
    """An attack's entry in audit.json, computed from its scores (n,) of all queries and from its control's scores."""
    patients, is_member = cohorts.patients, cohorts.is_member
    return {
        "name": name,
        "release": release,
        **_plain(assess(scores, patients, is_member)),
        "member_only": _plain(member_only(scores, patients, is_member)),
        "strangers": None if control is None else _plain(assess(control, patients, is_member)),
        "excess": None if control is None else _plain(excess(scores, control, patients, is_member)),
        "roc": roc(scores, is_member),
    }


def copy_search(neighbours: Neighbours, cohorts: Cohorts) -> dict[str, Any]:
    """The copy search's entry in audit.json: the results of `copies`, the authenticity, and matching non-members."""
    to_members, to_others = neighbours.stack_in_members, neighbours.stack_in_non_members
    found = copies(to_members, to_others, (cohorts.members.patients, cohorts.non_members.patients))
    for entry in found["closest"]:
        entry["non_member"] = int(to_others[entry["channel"]].item[entry["synthetic"], 0])
    return {**found, "authenticity_pct": authenticity_pct(to_members["image"], neighbours.among_members)}


def _plain(by_unit: dict[str, Any]) -> Attack:
    return {unit: asdict(value) for unit, value in by_unit.items()}
