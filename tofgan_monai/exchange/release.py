"""The gate: data and weights that tell of patients leave with an audit that passed, or with a person's reason."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tofgan_monai.audit.record import (
    FIGURES,
    MAX_REASON,
    OVERRIDDEN,
    SUMMARY,
    Audit,
    departures,
    read_audit,
    summary,
)
from tofgan_monai.audit.verdict import RELEASES, verdicts
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import Path, read_document
from tofgan_monai.exchange.layout import AUDIT, CARD
from tofgan_monai.exchange.leaks import leaks


def audit_of_weights(path: str | os.PathLike, sha256: str) -> tuple[Audit, str]:
    """An audit of these weights, and the release of weights that it is about: generator or network.

    Raises:
        InputError: not readable, of a stack or of other weights, or without a verdict on their release.
    """
    audit = read_audit(path)
    target = audit.content["target"]
    release = RELEASES[target["kind"]]
    if release == "data" or target["weights_sha256"] != sha256:
        what = "of a stack" if release == "data" else f"of weights {shown(target['weights_sha256'])}"
        raise InputError(f"{audit.file}: an audit {what}, not of {sha256}; audit the bundle itself (`tofgan audit`)")
    require_verdict(audit, release)
    return audit, release


def require_verdict(audit: Audit, release: str) -> None:
    """Raises InputError if no attack of the audit is about this release."""
    if release not in verdicts(audit.content):
        raise InputError(f"{audit.file}: no attack on the {release}, so no verdict on it; make the audit again")


def cleared(
    audit: Audit | None, release: str, despite: str | None, *, behind: Sequence[dict[str, Any]], remedy: str
) -> dict[str, Any] | None:
    """What a card or a manifest says of the audit behind a release: its summary, a person's reason, or None.

    Args:
        audit: of what is released.
        release: data, generator or network.
        despite: the reason of a person who lets it go without an audit that passed.
        behind: the real patients of whom it may tell, as `patients_behind` lists them: if any, it needs an audit of all
            of them that passed, or a reason.
        remedy: what to do where there is neither.

    Raises:
        InputError: either is needed and there is neither, or the reason says too much.
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
    """In which words the members of an audit are others than the real patients whom weights have seen; None if not.

    Of how many patients a single entry is may be unknown: then nobody can compare.

    Args:
        members: the cohort, as the audit describes it.
        seen: entries of a data card. A patient in two of them counts twice.
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
    """Whether what a card says of an audit lets weights go that may tell of patients."""
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


def check_audit(
    entry: dict[str, Any], lines: Mapping[Path, int], path: Path, sha256: str, figures: bytes | None
) -> list[Problem]:
    """What is wrong with what a card says of an audit, and whether the figures that came with it say the same.

    Args:
        entry: of the weights in the card: what they have `seen`, and what stands under `audit`.
        lines: of the card, by the paths of its items.
        path: of `audit` in the card.
        sha256: of the weights.
        figures: the content of docs/audit.json, None where there is no such file.
    """
    said = entry["audit"]
    is_override = isinstance(said, dict) and "overridden" in said
    found = [] if said is None else departures(said, OVERRIDDEN if is_override else SUMMARY)
    if problems := [
        Problem(CARD, lines.get((*path, *where), lines[path]), f"an audit with {shown(what, 160)[1:-1]}", _UNLIKE)
        for where, what in found
    ]:
        return problems
    summarised = said["summary"] if is_override else said
    if summarised is None and figures is None:
        return []
    if summarised is None or figures is None:
        what = f"{'figures' if summarised is None else 'the summary'} of an audit alone"
        return [Problem(CARD, lines[path], what, f"the card's summary and {AUDIT} come together, or neither does")]
    return _check_figures(summarised, [] if is_override else entry["seen"], sha256, figures, lines[path])


_UNLIKE = "could pass for an audit; pack again with --audit"
_UNASKED = "could give them away; pack again with an audit of all of them, or with --despite"


def _check_figures(
    said: dict[str, Any], seen: Sequence[dict[str, Any]], sha256: str, data: bytes, line: int
) -> list[Problem]:
    """What is wrong with the figures of an audit, which are judged anew and must be of all patients of `seen`."""
    document, problems = read_document(AUDIT, data)
    if document is None:
        return problems
    figures = document.content
    if problems := [
        Problem(AUDIT, document.lines.get(where, 1), shown(what, 160)[1:-1], "is no figure of an audit")
        for where, what in departures(figures, FIGURES)
    ]:
        return problems
    if figures["target"]["weights_sha256"] != sha256:
        what = f"is of weights {shown(figures['target']['weights_sha256'])}, not of these ({sha256})"
        return [Problem(AUDIT, document.lines["target",], what, _UNLIKE)]
    release = said["release"]
    if release == "data":
        return [Problem(CARD, line, "a verdict on the data, and none on the weights", _UNLIKE)]
    if RELEASES[figures["target"]["kind"]] != release or release not in verdicts(figures):
        return [Problem(AUDIT, 1, f"no verdict on the {release}", _UNLIKE)]
    if summary(figures, said["sha256"], release) != said:
        return [Problem(CARD, line, f"another summary than the figures in {AUDIT} give", _UNLIKE)]
    unasked = others_than(figures["cohorts"]["members"], seen)
    return [Problem(CARD, line, unasked, _UNASKED)] if unasked else []


def in_words(said: dict[str, Any] | None) -> str:
    """An audit as a card or a manifest has it, in one line."""
    if said is None:
        return "none"
    if "overridden" in said:
        return f"overridden by a person ({shown(said['reason'], 4 * MAX_REASON)}); audit: {in_words(said['summary'])}"
    patients, worst, guarantee = said["patients"], said["worst"], said["guarantee"]
    auc = "{value:.2f} ({low:.2f} to {high:.2f})".format(**worst["auc"])
    canary = {True: "caught", False: "missed", None: "not tried"}[said["canary_caught"]]
    words = [
        f"{said['outcome']} for the {said['release']} by rule {said['rule']}",
        f"{patients['members']} members, {patients['non_members']} non-members, {patients['references']} references",
        f"worst {worst['attack']}, AUC {auc} over patients",
        f"canary {canary}",
        "no guarantee"
        if guarantee is None
        else f"epsilon {guarantee['epsilon']:.3g} at delta {guarantee['delta']:.3g} for each {guarantee['unit']} of "
        f"{guarantee['n_units']}",
    ]
    return "; ".join(words)
