"""The rule of the release gate: what an audit's figures say about releasing data or weights.

docs/decisions/0003-release-gate.md explains the rule. It reads an audit as in `audit.json`, without its verdicts. The
audit's intervals are at 95% each; they are widened here where one of several attacks suffices for a finding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from scipy import stats

from tofgan_monai.attacks.power import required_patients

RULE = 2
ERROR = 0.05  # of each interval, and of a release: the probability of a finding although there is nothing to find
UNITS = ("patch", "patient")
WORST_AUC = 0.75  # over patients, or 0.25: an audit that cannot exclude both is inconclusive
N_ATTACKS = 7  # on a generator, the most on any release: six on its pairs, and latent recovery
MIN_PATIENTS = required_patients(WORST_AUC, power=0.8, n_intervals=len(UNITS) * N_ATTACKS)  # and as many non-members
MIN_REFERENCES = 10
MIN_PAIRS = 1000  # synthetic pairs
MAX_TIMES = 50  # how often a canary may be repeated: to recognise a patient who is repeated endlessly proves nothing
# Whoever has a generator also has its pairs, so findings about the pairs count against the generator, too.
BEARING = {"data": ("data",), "generator": ("generator", "data"), "critic": ("critic",), "network": ("network",)}
RELEASES = {"stack": "data", "generator": "generator", "segmentation": "network"}  # by the kind of target
Audit = dict[str, Any]


def corrected(interval: dict[str, float], n_intervals: int) -> tuple[float, float]:
    """The ends of a 95% interval widened to 1 - 0.05 / n_intervals (Bonferroni), assuming normal errors."""
    stretch = stats.norm.isf(ERROR / 2 / n_intervals) / stats.norm.isf(ERROR / 2)
    value = interval["value"]
    return value - stretch * (value - interval["low"]), value + stretch * (interval["high"] - value)


def verdicts(audit: Audit) -> dict[str, dict[str, Any]]:
    """The verdicts on releasing what was audited: for each release an outcome, the rule's number and the reasons.

    failed: an attack separates members from non-members more than its control does, whichever of them scores higher;
    or there is a copy of a member's pair; or more members than non-members have near-copies.
    inconclusive: the members were not checked against the training; there are too few patients or pairs; a control
    fails or is missing; planted copies or a canary were not recognised or never tried; or an AUC of 0.75 or 0.25 cannot
    be excluded.
    passed: neither of these. A pass is evidence, not a promise.
    """
    tried = {attack["release"] for attack in audit["attacks"]}
    return {release: _verdict(audit, release) for release in BEARING if release in tried}


def attacks_on(audit: Audit, release: str) -> list[dict[str, Any]]:
    """The attacks of an audit that bear on a release."""
    return [attack for attack in audit["attacks"] if attack["release"] in BEARING[release]]


def worst(audit: Audit, release: str) -> dict[str, Any]:
    """The attack that bears on a release and whose AUC over patients is farthest from 0.5."""
    return max(attacks_on(audit, release), key=lambda attack: abs(attack["patient"]["auc"]["value"] - 0.5))


def canary_caught(audit: Audit) -> bool | None:
    """Whether one attack recognised the repeated patient of every canary, beyond chance; None without canaries."""
    canary = audit.get("canary")
    if canary is None or not canary["repeats"]:
        return None
    return all(repeat["above_all"] for repeat in canary["repeats"]) and _canary_chance(audit) < ERROR


def _canary_chance(audit: Audit) -> float:
    """The probability that some attack ranks an ordinary patient first in every repeat (Bonferroni)."""
    n_attacks = len([attack for attack in audit["attacks"] if attack["release"] in ("data", "network")])
    return min(1.0, n_attacks * math.prod(1 / repeat["of"] for repeat in audit["canary"]["repeats"]))


def _verdict(audit: Audit, release: str) -> dict[str, Any]:
    attacks = attacks_on(audit, release)
    is_of_pairs, is_of_network = "data" in BEARING[release], release == "network"
    findings = [*_told_apart(attacks), *(_copies(audit) if is_of_pairs else ())]
    doubts = [
        *_too_little(audit, {"members": MIN_PATIENTS, "non_members": MIN_PATIENTS, "references": MIN_REFERENCES}),
        *(_too_few_pairs(audit) if is_of_pairs else ()),
        *(_uncontrolled(attacks) if is_of_network else ()),
        *_failed_controls(attacks),
        *(_planted(audit, attacks) if is_of_pairs else ()),
        *_canary(audit),
        *(() if findings else _not_excluded(attacks)),
    ]
    outcome = "failed" if findings else "inconclusive" if doubts else "passed"
    return {"outcome": outcome, "rule": RULE, "reasons": [*findings, *doubts] or _nothing_found(audit, release)}


def _told_apart(attacks: list[dict[str, Any]]) -> Iterator[str]:
    for attack in attacks:
        for unit in UNITS:
            auc, beyond = attack[unit]["auc"], attack.get("excess") and attack["excess"][unit]
            side = _side(corrected(auc, len(UNITS) * len(attacks)), 0.5)
            if side and (beyond is None or _side((beyond["low"], beyond["high"]), 0) == side):
                told = f"{attack['name']} tells members from non-members by {unit}: AUC {_shown(auc)}, 0.5 is guessing"
                told += "; non-members score higher" if side < 0 else ""
                yield told + (f"; {_shown(beyond)} more than its control" if beyond else "")


def _side(interval: tuple[float, float], value: float) -> int:
    """1 if the interval lies above a value, -1 if below, 0 if it contains the value."""
    low, high = interval
    return int(low > value) - int(high < value)


def _copies(audit: Audit) -> Iterator[str]:
    copies = audit.get("copies")
    if copies is None:
        return
    if n := copies["n_copies"]:
        yield f"{n} synthetic {'pair copies' if n == 1 else 'pairs copy'} a training pair, both image and label"
    if copies["p"] < ERROR:
        yield f"{_counted(copies)} (p {copies['p']:.2g})"


def _too_little(audit: Audit, least: dict[str, int]) -> Iterator[str]:
    if not audit["training_checked"]:
        yield "the members were not checked against the training: give its output folder (`--run`)"
    for cohort, n_least in least.items():
        if (n := audit["cohorts"][cohort]["patients"]) < n_least:
            group = cohort.replace("_", "-")
            yield f"{n} {group}, where {n_least} patients are needed: so few cannot show that nothing is given away"


def _too_few_pairs(audit: Audit) -> Iterator[str]:
    if (n := (audit["target"].get("stack") or {"n": 0})["n"]) < MIN_PAIRS:
        yield f"{n} synthetic pairs were audited, where {MIN_PAIRS} are needed (`-n`): fewer tell less of a generator"


def _uncontrolled(attacks: list[dict[str, Any]]) -> Iterator[str]:
    is_controlled = any(attack.get("strangers") for attack in attacks)
    if not is_controlled or "LiRA" not in [attack["name"] for attack in attacks]:
        yield "no LiRA, the strongest attack on a network, or no control by a shadow model: give two or more `--shadow`"


def _failed_controls(attacks: list[dict[str, Any]]) -> Iterator[str]:
    meanings = {
        "member_only": "separates two halves of the members, between which there is nothing to find",
        "strangers": "separates members from non-members by other patients' pairs: the two groups differ",
    }
    for attack in attacks:
        for control, meaning in meanings.items():
            risk = attack.get(control)
            if risk and _side(corrected(risk["patch"]["auc"], len(meanings) * len(attacks)), 0.5):
                yield f"{attack['name']} {meaning} (AUC {_shown(risk['patch']['auc'])}): it measures something else"


def _planted(audit: Audit, attacks: list[dict[str, Any]]) -> Iterator[str]:
    tried = (audit.get("planted") or {"attacks": {}})["attacks"]
    if not any(tried[attack["name"]]["caught"] for attack in attacks if attack["name"] in tried):
        yield "no attack recognised copies that were planted in the stack: these attacks could not have found anything"


def _canary(audit: Audit) -> Iterator[str]:
    caught = canary_caught(audit)
    if caught is None:
        yield "no training with a repeated patient (canary): it is not known whether these attacks can see memorisation"
        return
    repeats, times = audit["canary"]["repeats"], audit["canary"]["times"]
    if times > MAX_TIMES:
        yield f"a patient was repeated {times} times, where {MAX_TIMES} is the most: anyone seen so often is recognised"
    missed = sum(not repeat["above_all"] for repeat in repeats)
    if missed:
        yield f"a patient repeated {times} times was not recognised in {missed} of {len(repeats)} trainings"
    elif not caught:
        yield (
            f"a repeated patient ranked first in {len(repeats)} training, but does so by chance with probability "
            f"{_canary_chance(audit):.2g}: repeat it with other patients (`tofgan canary --seed`)"
        )


def _not_excluded(attacks: list[dict[str, Any]]) -> Iterator[str]:
    for attack in attacks:
        auc = attack["patient"]["auc"]
        for worst_auc, is_within in ((WORST_AUC, auc["high"] > WORST_AUC), (1 - WORST_AUC, auc["low"] < 1 - WORST_AUC)):
            if is_within:
                yield f"{attack['name']}: an AUC of {worst_auc} over patients cannot be excluded ({_shown(auc)})"


def _nothing_found(audit: Audit, release: str) -> list[str]:
    cohorts, strongest = audit["cohorts"], worst(audit, release)
    reasons = [
        f"no attack tells the {cohorts['members']['patients']} members from the {cohorts['non_members']['patients']} "
        f"non-members more than its control does; the worst is {strongest['name']}, AUC "
        f"{_shown(strongest['patient']['auc'])} over patients, where 0.5 is guessing",
        f"a patient repeated {audit['canary']['times']} times was recognised: these attacks see what is memorised",
    ]
    if "data" in BEARING[release] and audit.get("copies"):
        reasons.append(_counted(audit["copies"]))
    return [*reasons, "what these attacks miss is not known: this is evidence, no proof that nothing can be learnt"]


def _counted(copies: dict[str, Any]) -> str:
    return f"{copies['n_near_copies']} near-copies of training pairs, where chance explains {copies['n_expected']:.3g}"


def _shown(interval: dict[str, float]) -> str:
    return f"{interval['value']:.2f} ({interval['low']:.2f} to {interval['high']:.2f})"
