"""The gate: data and weights that may tell of patients leave with a passed audit, or with a person's reason."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tofgan_monai.audit.record import FIGURES, MAX_REASON, OVERRIDDEN, SUMMARY, Audit, departures, read_audit, summary
from tofgan_monai.audit.verdict import RELEASES, verdicts
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import Path, read_document
from tofgan_monai.exchange.layout import AUDIT, CARD
from tofgan_monai.exchange.leaks import leaks


def audit_of_weights(path: str | os.PathLike, digest: str) -> tuple[Audit, str]:
    """An audit of the weights with this digest, and the release of weights that it judges: generator or network.

    Raises:
        InputError: the audit cannot be read, is of a stack or of other weights, or has no verdict on their release.
    """
    audit = read_audit(path)
    target = audit.content["target"]
    release = RELEASES[target["kind"]]
    if release == "data" or target["weights_sha256"] != digest:
        what = "of a stack" if release == "data" else f"of weights {shown(target['weights_sha256'])}"
        raise InputError(f"{audit.file}: an audit {what}, not of {digest}; audit the bundle itself (`tofgan audit`)")
    require_verdict(audit, release)
    return audit, release


def require_verdict(audit: Audit, release: str) -> None:
    """Raises InputError if no attack of the audit is about this release."""
    if release not in verdicts(audit.content):
        raise InputError(f"{audit.file}: no attack on the {release}, so no verdict on it; make the audit again")


def cleared(
    audit: Audit | None, release: str, despite: str | None, *, behind: Sequence[dict[str, Any]], remedy: str
) -> dict[str, Any] | None:
    """What a card or manifest must say of the audit behind a release: a summary, a person's reason, or None.

    Args:
        audit: of the released weights or pairs.
        release: data, generator or network.
        despite: the reason of a person who releases them without a passed audit.
        behind: the real patients of whom they may tell (`patients_behind`). If there are any, the release needs a
            passed audit of all of them, or a reason.
        remedy: what to do if there is neither.

    Raises:
        InputError: the release needs a passed audit or a reason and has neither, or the reason says too much.
    """
    summarised = audit and audit.summary(release)
    if despite is not None:
        _check_reason(despite)
        return {"overridden": True, "reason": despite, "summary": summarised}
    if behind and not is_cleared(summarised):
        raise InputError(f"{_why_not(audit, release)}; {remedy}")
    if audit is not None and (unasked := others_than(audit.content["cohorts"]["members"], behind)):
        raise InputError(f"{audit.file}: {unasked}; {remedy}")
    return summarised


def others_than(members: dict[str, Any], seen: Sequence[dict[str, Any]]) -> str | None:
    """How the members of an audit differ from the real patients that the weights saw, in words; None if they fit.

    Args:
        members: the cohort of members, as the audit describes it.
        seen: entries of a data card. A patient in two entries counts twice. An entry alone with an unknown number of
            patients fits any audit, as nobody can compare.
    """
    counts = [entry.get("patients") for entry in seen if entry["kind"] == "real"]
    known = [count for count in counts if count is not None]
    if not counts:
        return None
    if members["kind"] != "real":
        return f"the weights saw real patients, and this audit asks about {members['kind']} ones"
    if len(known) < len(counts):
        unknown = "the weights also saw patients, nobody knows how many, whom this audit does not ask about"
        return unknown if len(counts) > 1 else None
    more = sum(known) - members["patients"]
    if more > 0:
        return f"the weights also saw {more} patients whom this audit does not ask about"
    return f"this audit asks about {-more} patients whom the weights have not seen" if more else None


def is_cleared(said: dict[str, Any] | None) -> bool:
    """Whether what a card says of an audit allows the release of weights that may tell of patients."""
    return said is not None and ("overridden" in said or said["outcome"] == "passed")


def _why_not(audit: Audit | None, release: str) -> str:
    if audit is None:
        return "weights that have seen real patients, or pairs of a generator that may have, and no audit of them"
    verdict = verdicts(audit.content)[release]
    return f"{audit.file}: {verdict['outcome']} for a release of the {release}: {'; '.join(verdict['reasons'])}"


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        raise InputError(f"--despite {shown(reason)}: give a reason, on one line of at most {MAX_REASON} characters")
    told = leaks("--despite.json", json.dumps({"reason": reason}).encode())
    if problems := [f"--despite: {problem.what}: {problem.could}" for problem in told]:
        raise InputError(problems)


_UNLIKE = "could pass for an audit; pack again with --audit"
_UNASKED = "could give them away; pack again with an audit of all of them, or with --despite"


def check_audit(
    entry: dict[str, Any], lines: Mapping[Path, int], path: Path, digest: str, figures: bytes | None
) -> list[Problem]:
    """Everything that is wrong with what a card says of an audit, and with the figures that came with it.

    Args:
        entry: of the weights in the card: what they have `seen`, and what stands under `audit`.
        lines: line numbers of the card by the paths of its items.
        path: path of `audit` in the card.
        digest: of the weights.
        figures: content of docs/audit.json, None if there is no such file.
    """
    said = entry["audit"]
    is_override = isinstance(said, dict) and "overridden" in said
    departing = [] if said is None else departures(said, OVERRIDDEN if is_override else SUMMARY)
    if problems := [
        Problem(CARD, lines.get((*path, *where), lines[path]), f"an audit with {shown(what, 160)[1:-1]}", _UNLIKE)
        for where, what in departing
    ]:
        return problems
    summarised = said["summary"] if is_override else said
    if summarised is None and figures is None:
        return []
    if summarised is None or figures is None:
        what = f"{'figures' if summarised is None else 'the summary'} of an audit alone"
        return [Problem(CARD, lines[path], what, f"the card's summary and {AUDIT} come together, or neither does")]
    return _check_figures(summarised, [] if is_override else entry["seen"], digest, figures, lines[path])


def _check_figures(
    said: dict[str, Any], seen: Sequence[dict[str, Any]], digest: str, data: bytes, line: int
) -> list[Problem]:
    """Everything that is wrong with the figures of an audit: they are judged anew, and must ask about all of `seen`."""
    document, problems = read_document(AUDIT, data)
    if document is None:
        return problems
    figures, release = document.content, said["release"]
    if problems := [
        Problem(AUDIT, document.lines.get(where, 1), shown(what, 160)[1:-1], "is no figure of an audit")
        for where, what in departures(figures, FIGURES)
    ]:
        return problems
    if figures["target"]["weights_sha256"] != digest:
        what = f"is of weights {shown(figures['target']['weights_sha256'])}, not of these ({digest})"
        return [Problem(AUDIT, document.lines["target",], what, _UNLIKE)]
    if release == "data":
        return [Problem(CARD, line, "a verdict on the data, and none on the weights", _UNLIKE)]
    if RELEASES[figures["target"]["kind"]] != release or release not in verdicts(figures):
        return [Problem(AUDIT, 1, f"no verdict on the {release}", _UNLIKE)]
    if summary(figures, said["sha256"], release) != said:
        return [Problem(CARD, line, f"another summary than the figures in {AUDIT} give", _UNLIKE)]
    unasked = others_than(figures["cohorts"]["members"], seen)
    return [Problem(CARD, line, unasked, _UNASKED)] if unasked else []


def in_words(said: dict[str, Any] | None) -> str:
    """One line on the audit that a card or a manifest names."""
    if said is None:
        return "none"
    if "overridden" in said:
        return f"overridden by a person ({shown(said['reason'], 4 * MAX_REASON)}); audit: {in_words(said['summary'])}"
    promised, canary = "no guarantee", {True: "caught", False: "missed", None: "not tried"}[said["canary_caught"]]
    worst = "worst {attack}, AUC {auc[value]:.2f} ({auc[low]:.2f} to {auc[high]:.2f}) over patients"
    if said["guarantee"] is not None:
        promised = "epsilon {epsilon:.3g} at delta {delta:.3g} for each {unit} of {n_units}".format(**said["guarantee"])
    return "; ".join(
        [
            f"{said['outcome']} for the {said['release']} by rule {said['rule']}",
            "{members} members, {non_members} non-members, {references} references".format(**said["patients"]),
            worst.format(**said["worst"]),
            f"canary {canary}",
            promised,
        ]
    )
