"""Rule of the release gate: judges from an audit's figures whether data or weights may be released.

docs/decisions/0003-release-gate.md explains the rule. The functions read the content of `audit.json` except its
verdicts. A release is what would leave the clinic: "data" (the audited synthetic pairs), "generator", "critic" or
"network" (segmentation). Members are training patients, non-members are held-out patients. A control runs an attack
where there is nothing to find. A canary is a member whose pairs were repeated in a training run; attacks should
recognise this patient. Each interval in an audit has the level 95%. The rule widens these intervals if a single one of
several attacks is enough for a finding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from scipy import stats

from tofgan_monai.attacks.power import required_patients

RULE = 2
ERROR = 0.05  # probability of a finding although there is nothing to find, for each interval and for each release
UNITS = ("patch", "patient")
WORST_AUC = 0.75  # AUC over patients; an audit that cannot exclude 0.75 and 0.25 is inconclusive
N_ATTACKS = 7  # largest number of attacks on a release: six on a generator's pairs, and latent recovery
MIN_PATIENTS = required_patients(WORST_AUC, power=0.8, n_intervals=len(UNITS) * N_ATTACKS)  # and as many non-members
MIN_REFERENCES = 10
MIN_PAIRS = 1000  # smallest number of synthetic pairs
MAX_TIMES = 50  # largest number of times that a canary's pairs may occur; with more, any attack recognises the patient
# Keys are releases. Values are the kinds of attack that count against this release. Anyone who has a generator can make
# its pairs, so findings about the pairs count against the generator, too.
BEARING = {"data": ("data",), "generator": ("generator", "data"), "critic": ("critic",), "network": ("network",)}
RELEASES = {"stack": "data", "generator": "generator", "segmentation": "network"}  # from the kind of target
Audit = dict[str, Any]


def corrected(interval: dict[str, float], n_intervals: int) -> tuple[float, float]:
    """Widens a 95% interval to the level 1 - 0.05 / n_intervals (Bonferroni), assuming normal errors; returns its ends.

    Args:
        interval: dict with `value`, `low` and `high`.
        n_intervals: number of intervals that are judged together.
    """
    stretch = stats.norm.isf(ERROR / 2 / n_intervals) / stats.norm.isf(ERROR / 2)
    value = interval["value"]
    return value - stretch * (value - interval["low"]), value + stretch * (interval["high"] - value)


def verdicts(audit: Audit) -> dict[str, dict[str, Any]]:
    """Judges each release of what was audited.

    An outcome is one of three:
    - failed: an attack separates members from non-members, in either direction, by more than its control does; or a
      synthetic pair copies a member's pair; or members have more near-copies than chance explains.
    - inconclusive: the outcome is not "failed", and the audit did not check that the training used the members' data;
      or there are too few patients or pairs; or a control fails or is missing; or planted copies or canaries were not
      recognised or not tried; or an AUC of 0.75 or of 0.25 over patients cannot be excluded.
    - passed: otherwise. A pass is evidence and no promise.

    Args:
        audit: content of audit.json; verdicts in it are not read.

    Returns:
        Dict from each release that was attacked to a dict with `outcome`, `rule` (number of the rule) and `reasons`
        (list of sentences).
    """
    tried = {attack["release"] for attack in audit["attacks"]}
    return {release: _verdict(audit, release) for release in BEARING if release in tried}


def attacks_on(audit: Audit, release: str) -> list[dict[str, Any]]:
    """Returns the entries of the attacks in an audit that count against a release.

    Args:
        audit: content of audit.json.
        release: "data", "generator", "critic" or "network".
    """
    return [attack for attack in audit["attacks"] if attack["release"] in BEARING[release]]


def worst(audit: Audit, release: str) -> dict[str, Any]:
    """Returns the entry of the strongest attack against a release: its AUC over patients is farthest from 0.5.

    Args:
        audit: content of audit.json.
        release: "data", "generator", "critic" or "network".
    """
    return max(attacks_on(audit, release), key=lambda attack: abs(attack["patient"]["auc"]["value"] - 0.5))


def canary_caught(audit: Audit) -> bool | None:
    """Returns whether one attack ranked the repeated patient of every canary above all non-members, beyond chance.

    The result is True only if the probability of this by chance is below 0.05. It is None if the audit has no canary.
    """
    canary = audit.get("canary")
    if canary is None or not canary["repeats"]:
        return None
    return all(repeat["above_all"] for repeat in canary["repeats"]) and _canary_chance(audit) < ERROR


def _canary_chance(audit: Audit) -> float:
    """Returns an upper bound (Bonferroni) on the probability that one attack ranks every canary first by chance alone.

    A patient who is not memorised ranks first among n patients with probability 1 / n.
    """
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
                told = (
                    f"{attack['name']} separates members from non-members: with the {unit} as the unit, the AUC is "
                    f"{_shown(auc)}, where 0.5 means guessing"
                )
                told += ", and non-members score higher" if side < 0 else ""
                yield told + (f"; this AUC minus its control's AUC is {_shown(beyond)}" if beyond else "")


def _side(interval: tuple[float, float], value: float) -> int:
    """Returns 1 if the interval lies above `value`, -1 if it lies below `value`, and 0 if it contains `value`."""
    low, high = interval
    return int(low > value) - int(high < value)


def _copies(audit: Audit) -> Iterator[str]:
    copies = audit.get("copies")
    if copies is None:
        return
    if n := copies["n_copies"]:
        yield f"{n} synthetic {'pair copies' if n == 1 else 'pairs copy'} a training pair in both image and label"
    if copies["p"] < ERROR:
        yield f"{_counted(copies)} (p = {copies['p']:.2g})"


def _too_little(audit: Audit, least: dict[str, int]) -> Iterator[str]:
    if not audit["training_checked"]:
        yield (
            "the audit did not check that the training used the members' data; give the output folder of the training "
            "(`--run`)"
        )
    for cohort, n_least in least.items():
        if (n := audit["cohorts"][cohort]["patients"]) < n_least:
            group = cohort.replace("_", "-")
            yield (
                f"the audit has {n} {group}, where {n_least} patients are needed; with fewer patients, finding nothing "
                "proves too little"
            )


def _too_few_pairs(audit: Audit) -> Iterator[str]:
    if (n := (audit["target"].get("stack") or {"n": 0})["n"]) < MIN_PAIRS:
        yield f"{n} synthetic pairs were audited, where {MIN_PAIRS} are needed; make more pairs (`-n`)"


def _uncontrolled(attacks: list[dict[str, Any]]) -> Iterator[str]:
    is_controlled = any(attack.get("strangers") for attack in attacks)
    if not is_controlled or "LiRA" not in [attack["name"] for attack in attacks]:
        yield (
            "the audit lacks LiRA, the strongest attack on a network, or the control by a shadow model; give two or "
            "more shadow models (`--shadow`)"
        )


def _failed_controls(attacks: list[dict[str, Any]]) -> Iterator[str]:
    meanings = {
        "member_only": "separates two halves of the members, although both halves were trained on",
        "strangers": "separates members from non-members although its control uses only other patients' pairs",
    }
    for attack in attacks:
        for control, meaning in meanings.items():
            risk = attack.get(control)
            if risk and _side(corrected(risk["patch"]["auc"], len(meanings) * len(attacks)), 0.5):
                yield (
                    f"{attack['name']} {meaning} (AUC {_shown(risk['patch']['auc'])}), so it measures something else "
                    "than membership"
                )


def _planted(audit: Audit, attacks: list[dict[str, Any]]) -> Iterator[str]:
    tried = (audit.get("planted") or {"attacks": {}})["attacks"]
    if not any(tried[attack["name"]]["caught"] for attack in attacks if attack["name"] in tried):
        yield "no attack recognised the copies that were planted in the stack, so these attacks could not find any copy"


def _canary(audit: Audit) -> Iterator[str]:
    caught = canary_caught(audit)
    if caught is None:
        yield (
            "the audit has no training with a repeated patient (canary), so it is not known whether these attacks can "
            "detect memorisation; give one (`--canary`, `--canary-run`)"
        )
        return
    repeats, times = audit["canary"]["repeats"], audit["canary"]["times"]
    if times > MAX_TIMES:
        yield (
            f"the canary's pairs were repeated {times} times, where at most {MAX_TIMES} times are allowed, because a "
            "patient who is repeated more often is recognised in any case"
        )
    missed = sum(not repeat["above_all"] for repeat in repeats)
    if missed:
        yield (
            f"a patient whose pairs were repeated {times} times was not recognised in {missed} of {len(repeats)} "
            "canary trainings"
        )
    elif not caught:
        yield (
            f"the repeated patient ranked first in all canary trainings ({len(repeats)}), but this happens by chance "
            f"with probability {_canary_chance(audit):.2g}; add canaries of other patients (`tofgan canary --seed`)"
        )


def _not_excluded(attacks: list[dict[str, Any]]) -> Iterator[str]:
    for attack in attacks:
        auc = attack["patient"]["auc"]
        for worst_auc, is_within in ((WORST_AUC, auc["high"] > WORST_AUC), (1 - WORST_AUC, auc["low"] < 1 - WORST_AUC)):
            if is_within:
                yield (
                    f"{attack['name']}: an AUC of {worst_auc} over patients cannot be excluded, because the measured "
                    f"AUC is {_shown(auc)}"
                )


def _nothing_found(audit: Audit, release: str) -> list[str]:
    cohorts, strongest = audit["cohorts"], worst(audit, release)
    reasons = [
        f"no attack separates the {cohorts['members']['patients']} members from the "
        f"{cohorts['non_members']['patients']} non-members by more than its control does; the strongest attack is "
        f"{strongest['name']} with AUC {_shown(strongest['patient']['auc'])} over patients, where 0.5 means guessing",
        f"a patient whose pairs were repeated {audit['canary']['times']} times was recognised, so these attacks can "
        "detect memorisation",
    ]
    if "data" in BEARING[release] and audit.get("copies"):
        reasons.append(_counted(audit["copies"]))
    return [*reasons, "other attacks may find more; this verdict is evidence and no proof that nothing can be learnt"]


def _counted(copies: dict[str, Any]) -> str:
    return (
        f"the stack holds {copies['n_near_copies']} near-copies of training pairs, where chance explains "
        f"{copies['n_expected']:.3g}"
    )


def _shown(interval: dict[str, float]) -> str:
    return f"{interval['value']:.2f} ({interval['low']:.2f} to {interval['high']:.2f})"
