"""The rule of the release gate: what the figures of an audit say about letting data or weights go.

docs/decisions/0003-release-gate.md argues for it. An audit is taken as `audit.json` has it, without its verdicts; its
intervals are at 95% each, and widened here where one of several attacks is enough for a finding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from scipy import stats

from tofgan_monai.attacks.power import required_patients

RULE = 2
ERROR = 0.05  # of each interval; of a release, that one of its attacks tells something where there is nothing to tell
UNITS = ("patch", "patient")
WORST_AUC = 0.75  # over patients, or 0.25; an audit that cannot exclude both has not shown enough
N_ATTACKS = 7  # on a generator, more than on any other release: six on its pairs, and latent recovery
MIN_PATIENTS = required_patients(WORST_AUC, power=0.8, n_intervals=len(UNITS) * N_ATTACKS)  # and as many non-members
MIN_REFERENCES = 10
MIN_PAIRS = 1000  # synthetic ones
MAX_TIMES = 50  # that a canary is repeated: to see one who is repeated without end shows nothing
# Whoever has a generator has its pairs, too: what is held against them is held against it.
BEARING = {"data": ("data",), "generator": ("generator", "data"), "critic": ("critic",), "network": ("network",)}
RELEASES = {"stack": "data", "generator": "generator", "segmentation": "network"}  # of a target, by its kind


def corrected(interval: dict[str, float], n_intervals: int) -> tuple[float, float]:
    """The ends of a 95% interval as they are at 1 - 0.05 / n_intervals, by Bonferroni, if its errors are normal."""
    stretch = stats.norm.isf(ERROR / 2 / n_intervals) / stats.norm.isf(ERROR / 2)
    value = interval["value"]
    return value - stretch * (value - interval["low"]), value + stretch * (interval["high"] - value)


def verdicts(audit: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The verdict on each release that an attack of the audit is about: its outcome, the rule's number, the reasons.

    failed: an attack tells members from non-members beyond what its control does, whichever of them it scores higher,
    or there is a copy of a member's pair, or more members than non-members have near-copies. inconclusive: members who
    were not checked against the training, too few patients or pairs, a control that fails or is not there, planted
    copies or a canary that were not caught or never tried, or an AUC of 0.75 or 0.25 that cannot be excluded. passed:
    neither. It is no promise.
    """
    tried = {attack["release"] for attack in audit["attacks"]}
    return {release: _verdict(audit, release) for release in BEARING if release in tried}


def attacks_on(audit: dict[str, Any], release: str) -> list[dict[str, Any]]:
    """The attacks of an audit that bear on a release."""
    return [attack for attack in audit["attacks"] if attack["release"] in BEARING[release]]


def worst(audit: dict[str, Any], release: str) -> dict[str, Any]:
    """The attack that tells the most patients apart, either way, of those that bear on a release."""
    return max(attacks_on(audit, release), key=lambda attack: abs(attack["patient"]["auc"]["value"] - 0.5))


def canary_caught(audit: dict[str, Any]) -> bool | None:
    """Whether one attack saw the repeated patient in each canary training, beyond chance; None where there was none."""
    canary = audit.get("canary")
    if canary is None or not canary["repeats"]:
        return None
    return all(repeat["above_all"] for repeat in canary["repeats"]) and _canary_chance(audit) < ERROR


def _canary_chance(audit: dict[str, Any]) -> float:
    """How likely it is that some attack puts a patient like all others first in every repeat (Bonferroni)."""
    n_attacks = len([attack for attack in audit["attacks"] if attack["release"] in ("data", "network")])
    return min(1.0, n_attacks * math.prod(1 / repeat["of"] for repeat in audit["canary"]["repeats"]))


def _verdict(audit: dict[str, Any], release: str) -> dict[str, Any]:
    attacks = attacks_on(audit, release)
    bears_on_data = "data" in BEARING[release]
    findings = [*_told_apart(attacks), *(_copies(audit) if bears_on_data else ())]
    doubts = [
        *_unchecked(audit),
        *_too_few(audit["cohorts"]),
        *(_too_few_pairs(audit) if bears_on_data else ()),
        *(_uncontrolled(attacks) if release == "network" else ()),
        *_failed_controls(attacks),
        *(_planted(audit, attacks) if bears_on_data else ()),
        *_canary(audit),
        *(() if findings else _not_excluded(attacks)),
    ]
    if findings:
        outcome, reasons = "failed", findings + doubts
    elif doubts:
        outcome, reasons = "inconclusive", doubts
    else:
        outcome, reasons = "passed", _nothing_found(audit, release)
    return {"outcome": outcome, "rule": RULE, "reasons": reasons}


def _told_apart(attacks: list[dict[str, Any]]) -> Iterator[str]:
    for attack in attacks:
        for unit in UNITS:
            auc, beyond = attack[unit]["auc"], attack.get("excess") and attack["excess"][unit]
            side = _side(corrected(auc, len(UNITS) * len(attacks)), 0.5)
            if side and (beyond is None or _side((beyond["low"], beyond["high"]), 0) == side):
                told = f"{attack['name']} tells members from non-members by {unit}: AUC {_shown(auc)}, 0.5 is guessing"
                told += ", and below it non-members score higher" if side < 0 else ""
                yield told + (f"; {_shown(beyond)} beyond what strangers alone explain" if beyond else "")


def _side(interval: tuple[float, float], value: float) -> int:
    """1 where the interval lies above a value, -1 where below, 0 where it holds it."""
    low, high = interval
    return int(low > value) - int(high < value)


def _copies(audit: dict[str, Any]) -> Iterator[str]:
    copies = audit.get("copies")
    if copies is None:
        return
    if n := copies["n_copies"]:
        yield f"{n} synthetic {'pair copies' if n == 1 else 'pairs copy'} a training pair, both image and label"
    if copies["p"] < ERROR:
        yield f"{_counted(copies)} (p {copies['p']:.2g})"


def _unchecked(audit: dict[str, Any]) -> Iterator[str]:
    if not audit["training_checked"]:
        yield "the members were not checked against the training: give its output folder (`--run`)"


def _too_few(cohorts: dict[str, Any]) -> Iterator[str]:
    for cohort, least in {"members": MIN_PATIENTS, "non_members": MIN_PATIENTS, "references": MIN_REFERENCES}.items():
        if (n := cohorts[cohort]["patients"]) < least:
            yield (
                f"{n} {cohort.replace('_', '-')}, where {least} patients are needed: "
                "so few cannot show that nothing is given away"
            )


def _too_few_pairs(audit: dict[str, Any]) -> Iterator[str]:
    if (n := (audit["target"].get("stack") or {"n": 0})["n"]) < MIN_PAIRS:
        yield f"{n} synthetic pairs were audited, where {MIN_PAIRS} are needed (`-n`): fewer tell less of a generator"


def _uncontrolled(attacks: list[dict[str, Any]]) -> Iterator[str]:
    is_controlled = any(attack.get("strangers") for attack in attacks)
    if not is_controlled or "LiRA" not in [attack["name"] for attack in attacks]:
        yield "no LiRA, the strongest attack on a network, or no control by strangers: give two or more `--shadow`"


def _failed_controls(attacks: list[dict[str, Any]]) -> Iterator[str]:
    meanings = {
        "member_only": "tells halves of the members apart, between which there is nothing to tell",
        "strangers": "tells members from non-members by other patients' pairs: the two groups differ",
    }
    for attack in attacks:
        for control, meaning in meanings.items():
            if (risk := attack.get(control)) is None:
                continue
            if _side(corrected(risk["patch"]["auc"], len(meanings) * len(attacks)), 0.5):
                yield f"{attack['name']} {meaning} (AUC {_shown(risk['patch']['auc'])}): it measures something else"


def _planted(audit: dict[str, Any], attacks: list[dict[str, Any]]) -> Iterator[str]:
    tried = (audit.get("planted") or {"attacks": {}})["attacks"]
    if not any(tried[attack["name"]]["caught"] for attack in attacks if attack["name"] in tried):
        yield "no attack caught copies that were planted in the stack: this audit could not have spoken"


def _canary(audit: dict[str, Any]) -> Iterator[str]:
    caught = canary_caught(audit)
    if caught is None:
        yield "no training with a repeated patient (canary): nobody knows whether these attacks see what it memorises"
        return
    repeats, times = audit["canary"]["repeats"], audit["canary"]["times"]
    if times > MAX_TIMES:
        yield f"a patient was repeated {times} times, where {MAX_TIMES} is the most: whoever is seen so often is seen"
    if not caught:
        missed = sum(not repeat["above_all"] for repeat in repeats)
        if missed:
            yield f"a patient repeated {times} times went unseen in {missed} of {len(repeats)} trainings"
        else:
            yield (
                f"a repeated patient stood out in {len(repeats)} training, but does so by chance with probability "
                f"{_canary_chance(audit):.2g}: repeat it with other patients (`tofgan canary --seed`)"
            )


def _not_excluded(attacks: list[dict[str, Any]]) -> Iterator[str]:
    for attack in attacks:
        auc = attack["patient"]["auc"]
        for worst_auc, is_within in ((WORST_AUC, auc["high"] > WORST_AUC), (1 - WORST_AUC, auc["low"] < 1 - WORST_AUC)):
            if is_within:
                yield f"{attack['name']}: an AUC of {worst_auc} over patients cannot be excluded ({_shown(auc)})"


def _nothing_found(audit: dict[str, Any], release: str) -> list[str]:
    cohorts, strongest = audit["cohorts"], worst(audit, release)
    reasons = [
        f"no attack tells the {cohorts['members']['patients']} members from the {cohorts['non_members']['patients']} "
        f"non-members beyond its control; the worst is {strongest['name']}, AUC {_shown(strongest['patient']['auc'])} "
        "over patients, where 0.5 is guessing",
        f"a patient repeated {audit['canary']['times']} times was caught: these attacks see what is memorised",
    ]
    if "data" in BEARING[release] and audit.get("copies"):
        reasons.append(_counted(audit["copies"]))
    return [*reasons, "what these attacks miss is not known: this is evidence, no proof that nothing can be learnt"]


def _counted(copies: dict[str, Any]) -> str:
    return f"{copies['n_near_copies']} near-copies of training pairs, where {copies['n_expected']:.3g} are chance"


def _shown(interval: dict[str, float]) -> str:
    return f"{interval['value']:.2f} ({interval['low']:.2f} to {interval['high']:.2f})"
