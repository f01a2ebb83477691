"""Figures of an audit: this module runs the attacks with their controls, and the copy search.

The attacks decide about queries: real pairs of training patients (members) and of held-out patients (non-members).
References are further patients, who are neither. A control runs the same attack where there is nothing to find. Each
attack has an entry in audit.json, a dict with its risk figures and those of its controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tofgan_monai.attacks.copies import authenticity_pct, copies
from tofgan_monai.attacks.on_gan import latent_recovery
from tofgan_monai.attacks.on_pairs import pair_scores
from tofgan_monai.attacks.on_segmentation import Figures, network_scores
from tofgan_monai.attacks.risk import assess, excess, member_only, roc
from tofgan_monai.audit.cohorts import Cohorts
from tofgan_monai.audit.neighbours import Neighbours
from tofgan_monai.audit.parts import Parts
from tofgan_monai.gan.kinds import PairGenerator

N_RECOVERED = 320  # approximate number of patches for latent recovery; each costs hundreds of generator steps
Attack = dict[str, Any]  # entry in audit.json about an attack


def on_data(neighbours: Neighbours, cohorts: Cohorts) -> list[Attack]:
    """Runs the attacks on released pairs, with a control for each; returns their entries in audit.json, one per attack.

    The control runs the same attack with reference patients' pairs in place of the released pairs. These pairs hold
    nothing that a generator learnt from members. If the control separates members from non-members, the two groups
    differ for another reason than the training.

    Args:
        neighbours: nearest neighbours between the released stack and the cohorts.
        cohorts: pairs of members, non-members and references.
    """
    scores, control = pair_scores(neighbours.audited), pair_scores(neighbours.control)
    return [attack_entry(name, "data", scores[name], cohorts, control[name]) for name in scores]


def on_generator(generator: PairGenerator, cohorts: Cohorts, parts: Parts) -> Attack:
    """Runs latent recovery, an attack on a generator, on a few pairs of each patient; returns its entry in audit.json.

    Args:
        generator: the audited generator.
        cohorts: pairs of members, non-members and references.
        parts: store of finished parts; scores that it already holds are not computed again.
    """
    few = cohorts.fewer(max(1, N_RECOVERED // len(np.unique(cohorts.patients))))
    scores = parts.arrays("latent recovery", lambda: {"scores": latent_recovery(generator, few.queries)})
    return attack_entry("latent recovery", "generator", scores["scores"], few)


def on_segmentation(network: Figures, shadows: Sequence[Figures], cohorts: Cohorts) -> list[Attack]:
    """Runs the attacks on a segmentation network; returns their entries in audit.json, one for each attack.

    The control runs the same attacks on the first shadow model, if there is one. LiRA needs two or more shadow models
    and has no control.

    Args:
        network: figures of the audited network on the queries.
        shadows: figures of networks trained in the same way on patients who are neither members nor non-members.
        cohorts: pairs of members, non-members and references.
    """
    scores = network_scores(network, shadows)
    control = network_scores(shadows[0], ()) if shadows else {}
    return [attack_entry(name, "network", scores[name], cohorts, control.get(name)) for name in scores]


def attack_entry(
    name: str, release: str, scores: np.ndarray, cohorts: Cohorts, control: np.ndarray | None = None
) -> Attack:
    """Returns an attack's entry in audit.json: its risk figures, those of its controls, and its ROC curve.

    Args:
        name: name of the attack.
        release: what the attack needs: "data", "generator", "critic" or "network".
        scores: the attack's scores of all queries of the cohorts, (n,).
        cohorts: pairs of members, non-members and references.
        control: scores of the same queries by the control, (n,); None if the attack has no such control.
    """
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
    """Runs the copy search; returns its entry in audit.json.

    The entry holds the results of `copies` and the authenticity (`authenticity_pct`). Each of the most similar pairs in
    `closest` also names its nearest non-member's pair, for comparison.

    Args:
        neighbours: nearest neighbours between the released stack and the cohorts.
        cohorts: pairs of members, non-members and references.
    """
    to_members, to_others = neighbours.stack_in_members, neighbours.stack_in_non_members
    found = copies(to_members, to_others, (cohorts.members.patients, cohorts.non_members.patients))
    for entry in found["closest"]:
        entry["non_member"] = int(to_others[entry["channel"]].item[entry["synthetic"], 0])
    return {**found, "authenticity_pct": authenticity_pct(to_members["image"], neighbours.among_members)}


def _plain(by_unit: dict[str, Any]) -> Attack:
    return {unit: asdict(value) for unit, value in by_unit.items()}
