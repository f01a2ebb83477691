"""Decides whether weights or synthetic pairs may leave the clinic.

Weights that were trained on real patients, and pairs that such weights have made, may reveal something about these
patients. They leave with an audit that has passed, or with the reason of a person who takes the responsibility. A
release is what leaves: `data` (the pairs of a stack, that is a file of image-label pairs), `generator` or `network`
(the weights of a segmentation). The members of an audit are the patients on whom the weights were trained.
"""

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
    """Reads an audit of weights; returns the audit, and `generator` or `network` for the kind of weights it judges.

    Args:
        path: folder or audit.json of the audit.
        digest: digest of the weights.

    Raises:
        InputError: the audit cannot be read, is about a stack or about other weights, or has no verdict on the release
            of these weights.
    """
    audit = read_audit(path)
    target = audit.content["target"]
    release = RELEASES[target["kind"]]
    if release == "data" or target["weights_sha256"] != digest:
        what = "of a stack" if release == "data" else f"of weights {shown(target['weights_sha256'])}"
        raise InputError(f"{audit.file}: is an audit {what}, not of {digest}; audit the bundle itself (`tofgan audit`)")
    require_verdict(audit, release)
    return audit, release


def require_verdict(audit: Audit, release: str) -> None:
    """Raises InputError unless the audit has a verdict on this kind of release, for example `generator`."""
    if release not in verdicts(audit.content):
        raise InputError(f"{audit.file}: has no attack on the {release} and so no verdict on it; run the audit again")


def cleared(
    audit: Audit | None, release: str, despite: str | None, *, behind: Sequence[dict[str, Any]], remedy: str
) -> dict[str, Any] | None:
    """Checks that a release is allowed; returns the entry about its audit for a data card or a stack's manifest.

    The entry is the summary of the audit; or the reason of a person, with the summary or with None in its place; or
    None if there is no audit and none is needed.

    Args:
        audit: the audit of the released weights or pairs; None if there is none.
        release: `data`, `generator` or `network`.
        despite: reason of a person who releases the weights or pairs without a passed audit; None if there is none.
        behind: card entries on the real patients about whom the release may reveal something (`patients_behind`). If
            there are any, the release needs a passed audit with all these patients as members, or a reason.
        remedy: what the user can do, for the error message.

    Raises:
        InputError: the release needs a passed audit or a reason and has neither; the members are other patients; or the
            reason is empty, too long or contains a name, path or date.
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
    """Compares the members of an audit with the patients the weights were trained on; returns a fault in words or None.

    Only kinds and numbers of patients are compared, as a data card names no patients.

    Args:
        members: the entry of the audit on its members: the kind of their data and their number.
        seen: entries of the weights' data card. A patient in two entries counts twice. A single real entry without a
            number of patients fits any audit of real patients, as nothing can be compared.
    """
    counts = [entry.get("patients") for entry in seen if entry["kind"] == "real"]
    known = [count for count in counts if count is not None]
    if not counts:
        return None
    if members["kind"] != "real":
        return f"the weights were trained on real patients, and the members of this audit are {members['kind']}"
    if len(known) < len(counts):
        unknown = "the weights were also trained on an unknown number of patients who are not members of this audit"
        return unknown if len(counts) > 1 else None
    more = sum(known) - members["patients"]
    if more > 0:
        return f"the weights were also trained on {more} patients who are not members of this audit"
    return f"this audit has {-more} members on whom the weights were not trained" if more else None


def is_cleared(said: dict[str, Any] | None) -> bool:
    """Whether a data card's entry about an audit allows the release of weights that were trained on patients.

    Args:
        said: the entry: a summary of an audit, the reason of a person, or None.
    """
    return said is not None and ("overridden" in said or said["outcome"] == "passed")


def _why_not(audit: Audit | None, release: str) -> str:
    """Returns the reason why a release is refused, for the error message."""
    if audit is None:
        return (
            "the weights have seen real patients, or no data card of a known bundle says what they have seen "
            "(--bundle); there is no audit of them"
        )
    verdict = verdicts(audit.content)[release]
    return f"{audit.file}: {verdict['outcome']} for a release of the {release}: {'; '.join(verdict['reasons'])}"


def _check_reason(reason: str) -> None:
    """Checks the text of `--despite`, the reason of a person for a release without a passed audit.

    Raises:
        InputError: the reason is empty or too long, has more than one line, or contains a name, path, subject or date.
    """
    is_one_line = reason.strip() and len(reason) <= MAX_REASON and reason.isprintable()
    if not is_one_line or reason == "REASON":  # as a printed command has it
        raise InputError(f"--despite {shown(reason)}: give a reason on one line of at most {MAX_REASON} characters")
    told = leaks("--despite.json", json.dumps({"reason": reason}).encode())
    if problems := [f"--despite: {problem.what}: {problem.could}" for problem in told]:
        raise InputError(problems)


_UNLIKE = "could be taken for an audit; pack the bundle again with --audit"
_UNASKED = "could reveal these patients; pack again with an audit of all patients, or with --despite"


def check_audit(
    entry: dict[str, Any], lines: Mapping[Path, int], path: Path, digest: str, figures: bytes | None
) -> list[Problem]:
    """Returns the problems with a data card's entry about an audit, and with the figures of this audit.

    Args:
        entry: the card's entry about the weights; its items `seen` and `audit` are read.
        lines: dict from path of keys to line number in the card.
        path: path of keys to `audit` in the card.
        digest: digest of the weights.
        figures: content of docs/audit.json; None if there is no such file.
    """
    said = entry["audit"]
    is_override = isinstance(said, dict) and "overridden" in said
    departing = [] if said is None else departures(said, OVERRIDDEN if is_override else SUMMARY)
    if problems := [
        Problem(CARD, lines.get((*path, *where), lines[path]), f"has an audit with {shown(what, 160)[1:-1]}", _UNLIKE)
        for where, what in departing
    ]:
        return problems
    summarised = said["summary"] if is_override else said
    if summarised is None and figures is None:
        return []
    if summarised is None or figures is None:
        what = f"has {'figures' if summarised is None else 'the summary'} of an audit alone"
        return [Problem(CARD, lines[path], what, f"needs both the card's summary and {AUDIT}, or neither")]
    return _check_figures(summarised, [] if is_override else entry["seen"], digest, figures, lines[path])


def _check_figures(
    said: dict[str, Any], seen: Sequence[dict[str, Any]], digest: str, data: bytes, line: int
) -> list[Problem]:
    """Returns the problems with the figures of an audit; the verdict is computed again from them.

    Args:
        said: the summary of the audit in the data card, which the figures must give again.
        seen: data-card entries on the training data of the weights; the members of the audit must be all real patients
            in this data. Empty if the card has a person's reason, as the members are then not compared.
        digest: digest of the weights, which the audit must be about.
        data: content of docs/audit.json.
        line: line of the summary in the card.
    """
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
        return [Problem(CARD, line, "has a verdict on the data, and none on the weights", _UNLIKE)]
    if RELEASES[figures["target"]["kind"]] != release or release not in verdicts(figures):
        return [Problem(AUDIT, 1, f"has no verdict on the {release}", _UNLIKE)]
    if summary(figures, said["sha256"], release) != said:
        return [Problem(CARD, line, f"has another summary than the figures in {AUDIT} give", _UNLIKE)]
    unasked = others_than(figures["cohorts"]["members"], seen)
    return [Problem(CARD, line, unasked, _UNASKED)] if unasked else []


def in_words(said: dict[str, Any] | None) -> str:
    """Returns one line of text on an audit, from the entry about it in a data card or in a stack's manifest."""
    if said is None:
        return "none"
    if "overridden" in said:
        return f"overridden by a person ({shown(said['reason'], 4 * MAX_REASON)}); audit: {in_words(said['summary'])}"
    promised, canary = "no guarantee", {True: "found", False: "not found", None: "not tried"}[said["canary_caught"]]
    worst = "worst {attack}, AUC {auc[value]:.2f} ({auc[low]:.2f} to {auc[high]:.2f}) over patients"
    if said["guarantee"] is not None:
        promised = "epsilon {epsilon:.3g} at delta {delta:.3g} for each {unit} of {n_units}".format(**said["guarantee"])
    return "; ".join(
        [
            f"{said['outcome']} for the {said['release']} by rule {said['rule']}",
            "{members} members, {non_members} non-members, {references} references".format(**said["patients"]),
            worst.format(**said["worst"]),
            f"canary patient {canary}",
            promised,
        ]
    )
