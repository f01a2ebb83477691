"""The data card: which kind of data a bundle's weights have seen, and what audit stands behind them.

It stands in `docs/data_card.json` and holds for the weights whose SHA-256 it names, and for no others:

    {"format": 1, "weights": {"models/model.pt": {
        "sha256": "...",
        "seen": [{"kind": "real", "patients": 41}],
        "known_from": "the training's records",
        "audit": null}}}

A kind is `simulated` (made by `tofgan phantom`), `synthetic` (made by a generator, named by the SHA-256 of its weights)
or `real`; what no record says is taken for real. `audit` is null until `tofgan pack` puts the summary of an audit there
(`SUMMARY` in privacy/evidence.py), or a person's reason with or without one (`OVERRIDDEN`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tofgan_monai.bundle_runs.paths import known_bundles
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import read_document
from tofgan_monai.exchange.layout import AUDIT, CARD, WEIGHTS
from tofgan_monai.exchange.release import check_audit
from tofgan_monai.files import write_json
from tofgan_monai.pairs.stack import KINDS
from tofgan_monai.training.checkpoint import read_checkpoint

RECORDED, DECLARED = "the training's records", "declared by whoever packed it"
Seen = list[dict[str, Any]]
UNKNOWN: Seen = [{"kind": "real", "patients": None}]
MAX_PATIENTS = 10**6
_SUM = re.compile(r"[0-9a-f]{1,64}")


def card(weights: bytes, seen: Seen, known_from: str) -> dict[str, Any]:
    """The data card of a bundle's weights."""
    entry = {"sha256": hashlib.sha256(weights).hexdigest(), "seen": seen, "known_from": known_from, "audit": None}
    return {"format": 1, "weights": {WEIGHTS: entry}}


def as_text(content: dict[str, Any]) -> bytes:
    """A card, or the figures of an audit, as its file has it."""
    return (json.dumps(content, indent=2) + "\n").encode()


def write_card(bundle: Path, seen: Seen) -> None:
    """Writes the card of weights that a training's records tell about into a bundle's folder."""
    (bundle / AUDIT).unlink(missing_ok=True)  # of the weights before them
    write_json(bundle / CARD, card((bundle / WEIGHTS).read_bytes(), seen, RECORDED))


def seen_by(run: str | os.PathLike, bundle: Path) -> Seen:
    """What the weights of a training have seen, by its own records and by the cards of what it started from.

    Args:
        run: output folder of the training.
        bundle: the bundle whose card, too, is asked about the weights that it started from.
    """
    try:
        recipe = read_checkpoint(run)[1]["recipe"]
        seen = list(recipe["pairs"]["provenance"])
        start = recipe["pretrained"]
    except (InputError, KeyError, TypeError):
        return UNKNOWN  # made before such records were kept, or elsewhere
    if start:  # a checkpoint tells for itself, as no card knows it
        seen += start["seen"] or seen_of(start["sha256"], bundle)
    # Real entries say how many patients and not which: two alike may be of other patients.
    return [entry for index, entry in enumerate(seen) if entry["kind"] == "real" or entry not in seen[:index]]


def seen_of(sha256: str, bundle: Path) -> Seen:
    """What weights have seen, by the card of a bundle or else of any that is known here; real if none tells."""
    return next((found for path in [bundle, *known_bundles()] if (found := _seen_in(path, sha256))), UNKNOWN)


def patients_behind(seen: Seen, bundle: Path, asked: frozenset[str] = frozenset()) -> Seen:
    """The real patients of whom weights that have seen this may tell: their own, and those of generators before them.

    Args:
        seen: what they have seen.
        bundle: whose card, too, is asked about the weights of generators.
        asked: about which weights the question is open.
    """
    if not _is_seen(seen):  # a card by other hands
        return UNKNOWN
    found: Seen = []
    for entry in seen:
        source = entry.get("weights_sha256") or ""
        if entry["kind"] == "real":
            found.append(entry)
        elif source in asked:
            found += UNKNOWN
        elif entry["kind"] == "synthetic":
            found += patients_behind(seen_of(source, bundle), bundle, asked | {source})
    return found


def _seen_in(bundle: Path, sha256: str) -> Seen:
    """What a bundle's card says of weights; empty if it is about others."""
    try:
        entries = json.loads((bundle / CARD).read_text("utf-8"))["weights"].values()
        return next((list(entry["seen"]) for entry in entries if entry["sha256"] == sha256), [])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def check_card(data: bytes, weights: bytes, figures: bytes | None) -> list[Problem]:
    """What is wrong with a card, whether it is about these weights, and whether its audit's figures bear it out."""
    document, problems = read_document(CARD, data)
    if document is None:
        return problems
    lines = document.lines
    cards = document.content.get("weights")
    entry = cards.get(WEIGHTS) if isinstance(cards, dict) else None
    if document.content.get("format") != 1 or not isinstance(entry, dict):
        return [Problem(CARD, 1, f"says nothing of {WEIGHTS}", _MEND)]
    path = ("weights", WEIGHTS)
    for where, known in {(): {"format", "weights"}, path[:1]: {WEIGHTS}, path: _KEYS}.items():
        for key in sorted({str(at[-1]) for at in lines if at and at[:-1] == where} - known):
            problems.append(
                Problem(CARD, lines[(*where, key)], f"{shown(key)}, no part of a card", "could pass for one")
            )
    sha256 = hashlib.sha256(weights).hexdigest()
    if entry.get("sha256") != sha256:
        what = f"is of weights {shown(entry.get('sha256'))}, not of {WEIGHTS} ({sha256})"
        problems.append(Problem(CARD, lines.get((*path, "sha256"), lines[path]), what, _MEND))
    if not (is_seen := _is_seen(entry.get("seen"))):
        what = f"seen {shown(entry.get('seen'))}"
        problems.append(Problem(CARD, lines.get((*path, "seen"), lines[path]), what, _FORM))
    if not isinstance(entry.get("known_from"), str):
        problems.append(Problem(CARD, lines[path], "not said from where it is known", "could be a guess"))
    if "audit" not in entry:
        return [*problems, Problem(CARD, lines[path], "no audit, not even null", "leaves open whether one was made")]
    return problems + check_audit(entry, lines, (*path, "audit"), sha256, figures) if is_seen else problems


_MEND = (
    "adopt the weights again from the training's folder (`tofgan adopt`), or say which data they have seen "
    "(`tofgan pack --data`)"
)


_KEYS = {"sha256", "seen", "known_from", "audit"}
_FORM = f"kinds are {', '.join(KINDS)}, patients are null or 1 to {MAX_PATIENTS}, weights_sha256 null or hexadecimal"


def _is_seen(seen: Any) -> bool:
    return isinstance(seen, list) and bool(seen) and all(isinstance(e, dict) and _is_entry(**e) for e in seen)


def _is_entry(kind: Any = None, patients: Any = None, weights_sha256: Any = None, **more: Any) -> bool:
    is_count = patients is None or (type(patients) is int and 0 < patients <= MAX_PATIENTS)
    is_sum = weights_sha256 is None or (isinstance(weights_sha256, str) and bool(_SUM.fullmatch(weights_sha256)))
    return kind in KINDS and is_count and is_sum and not more


def declared(folder: Path, data: str, weights: bytes) -> dict[str, Any]:
    """The card of weights of which who packs them says what they have seen.

    Raises:
        InputError: the bundle's own card says more.
    """
    said = _seen_in(folder, hashlib.sha256(weights).hexdigest())
    if said and (more := {entry["kind"] for entry in said} - {data}):
        raise InputError(f"{folder / CARD}: says {kinds(said)}; leave --data {data} out, or {', '.join(more)} is lost")
    return card(weights, [{"kind": data, "patients": None}], DECLARED)


def kinds(seen: Iterable[dict[str, Any]]) -> str:
    """The entries in words: `real (41 patients), synthetic`."""
    words = []
    for entry in seen:
        patients = entry.get("patients")
        of = "patient" if patients == 1 else "patients"
        words.append(entry["kind"] + (f" ({patients} {of})" if isinstance(patients, int) else ""))
    return ", ".join(words)
