"""Attacks run with their controls, and laid down as an audit's lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.audit.cohorts import Cohort, Cohorts
from tofgan_monai.audit.parts import Parts
from tofgan_monai.networks import Critic, Generator, HalfUNet
from tofgan_monai.privacy.data_attacks import DATA_ATTACKS
from tofgan_monai.privacy.model_attacks import critic_score, latent_recovery
from tofgan_monai.privacy.risk import assess, excess, member_only, roc
from tofgan_monai.privacy.segmentation_attacks import confidence_score, lira_score, loss_score

RECOVERED_PER_PATIENT = 4  # patches whose latents are looked for: each costs a hundred steps of the generator
Line = dict[str, Any]


def on_data(stack: np.ndarray, cohorts: Cohorts, parts: Parts) -> list[Line]:
    """The attacks on the data alone; their control has the references' pairs in the stack's place.

    Pairs of references cannot have learnt anything of members: what an attack finds there is that members and
    non-members differ.
    """
    strangers, others = cohorts.references.halves()
    scores = parts.arrays("attacks on the data", lambda: data_scores(cohorts.queries, stack, cohorts.references))
    control = parts.arrays(
        "control: strangers in the stack's place",
        lambda: data_scores(cohorts.queries, strangers.pairs, others),
    )
    return [line(name, "data", scores[name], cohorts, control[name]) for name in DATA_ATTACKS]


def data_scores(queries: np.ndarray, stack: np.ndarray, references: Cohort) -> dict[str, np.ndarray]:
    return {name: attack(queries, stack, references.pairs) for name, attack in DATA_ATTACKS.items()}


def on_generator(generator: Generator, cohorts: Cohorts, parts: Parts) -> list[Line]:
    """Latent recovery, of a few patches a patient."""
    few = cohorts.fewer(RECOVERED_PER_PATIENT)
    scores = parts.arrays("latent recovery", lambda: {"scores": latent_recovery(generator, few.queries)})["scores"]
    return [line("latent recovery", "generator", scores, few)]


def on_critic(critic: Critic, cohorts: Cohorts, parts: Parts) -> list[Line]:
    """LOGAN, which shows why a critic must never leave."""
    scores = parts.arrays("critic", lambda: {"scores": critic_score(critic, cohorts.queries)})["scores"]
    return [line("LOGAN", "critic", scores, cohorts)]


def on_segmentation(network: HalfUNet, shadows: Sequence[nn.Module], cohorts: Cohorts, parts: Parts) -> list[Line]:
    """Loss and confidence, with a shadow network as the control, and LiRA where there are two shadows or more."""

    def of(judged: nn.Module) -> dict[str, np.ndarray]:
        queries = cohorts.queries
        return {"loss": loss_score(judged, queries), "confidence": confidence_score(judged, queries)}

    scores = parts.arrays("loss and confidence", lambda: of(network))
    control = parts.arrays("control: a network of strangers", lambda: of(shadows[0])) if shadows else {}
    lines = [line(name, "network", scores[name], cohorts, control.get(name)) for name in scores]
    if len(shadows) > 1:
        found = parts.arrays("LiRA", lambda: {"scores": lira_score(network, shadows, cohorts.queries)})["scores"]
        lines.append(line("LiRA", "network", found, cohorts))
    return lines


def line(name: str, release: str, scores: np.ndarray, cohorts: Cohorts, strangers: np.ndarray | None = None) -> Line:
    """An attack as the audit tells it, from the scores (n,) of all queries and those of its control."""
    patients, is_member = cohorts.patients, cohorts.is_member

    def risks(of: np.ndarray) -> Line:
        return _plain(assess(of, patients, is_member))

    return {
        "name": name,
        "release": release,
        **risks(scores),
        "member_only": _plain(member_only(scores, patients, is_member)),
        "strangers": None if strangers is None else risks(strangers),
        "excess": None if strangers is None else _plain(excess(scores, strangers, patients, is_member)),
        "roc": roc(scores, is_member),
    }


def _plain(by_unit: dict[str, Any]) -> Line:
    return {unit: asdict(value) for unit, value in by_unit.items()}
