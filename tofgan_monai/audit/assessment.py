"""Attacks run with their controls, and laid down as an audit's lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.attacks.on_gan import critic_score, latent_recovery
from tofgan_monai.attacks.on_pairs import Search, Searches, data_attacks
from tofgan_monai.attacks.on_segmentation import confidence_score, lira_score, loss_score
from tofgan_monai.attacks.risk import assess, excess, member_only, roc
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.parts import Parts
from tofgan_monai.gan.networks import Critic, Generator

N_RECOVERED = 320  # patches, about, whose latents are looked for: each costs hundreds of steps of the generator
Line = dict[str, Any]
Scores = dict[str, np.ndarray]


def on_data(stack: np.ndarray, cohorts: Cohorts, parts: Parts, searches: Searches) -> list[Line]:
    """The attacks on the data alone; their control has references' pairs in the stack's place.

    Pairs of references cannot have learnt anything of members: what an attack finds in them is that members and
    non-members differ.
    """
    scores = parts.arrays(
        "attacks on the data", lambda: data_scores(cohorts.queries, stack, cohorts.references.pairs, searches)
    )
    strangers, others = (half.pairs for half in cohorts.references.halves())
    control = parts.arrays("control strangers", lambda: data_scores(cohorts.queries, strangers, others))
    return [line(name, "data", scores[name], cohorts, control[name]) for name in scores]


def data_scores(queries: np.ndarray, stack: np.ndarray, references: np.ndarray, search: Search | None = None) -> Scores:
    """What each attack on the data gives each query, (n,)."""
    attacks = data_attacks(search or Searches())
    return {name: attack(queries, stack, references) for name, attack in attacks.items()}


def on_generator(generator: Generator, cohorts: Cohorts, parts: Parts) -> list[Line]:
    """Latent recovery, of a few patches a patient."""
    few = cohorts.fewer(max(1, N_RECOVERED // len(np.unique(cohorts.patients))))
    scores = parts.arrays("latent recovery", lambda: {"scores": latent_recovery(generator, few.queries)})
    return [line("latent recovery", "generator", scores["scores"], few)]


def on_critic(critic: Critic, cohorts: Cohorts) -> list[Line]:
    """LOGAN, which shows why a critic must never leave."""
    return [line("LOGAN", "critic", critic_score(critic, cohorts.queries), cohorts)]


def on_segmentation(network: nn.Module, shadows: Sequence[nn.Module], cohorts: Cohorts, parts: Parts) -> list[Line]:
    """Loss and confidence, with a shadow network as the control, and LiRA where there are two shadows or more."""
    queries = cohorts.queries
    scores = parts.arrays("attacks on the network", lambda: network_scores(network, shadows, queries))
    control = parts.arrays("control strangers", lambda: network_scores(shadows[0], (), queries)) if shadows else {}
    return [line(name, "network", scores[name], cohorts, control.get(name)) for name in scores]


def network_scores(network: nn.Module, shadows: Sequence[nn.Module], queries: np.ndarray) -> Scores:
    """What each attack on a segmentation gives each query, (n,)."""
    scores = {"loss": loss_score(network, queries), "confidence": confidence_score(network, queries)}
    return {**scores, "LiRA": lira_score(network, shadows, queries)} if len(shadows) > 1 else scores


def line(name: str, release: str, scores: np.ndarray, cohorts: Cohorts, strangers: np.ndarray | None = None) -> Line:
    """An attack as the audit tells it, from the scores (n,) of all queries and those of its control."""
    patients, is_member = cohorts.patients, cohorts.is_member
    return {
        "name": name,
        "release": release,
        **_plain(assess(scores, patients, is_member)),
        "member_only": _plain(member_only(scores, patients, is_member)),
        "strangers": None if strangers is None else _plain(assess(strangers, patients, is_member)),
        "excess": None if strangers is None else _plain(excess(scores, strangers, patients, is_member)),
        "roc": roc(scores, is_member),
    }


def _plain(by_unit: dict[str, Any]) -> Line:
    return {unit: asdict(value) for unit, value in by_unit.items()}
