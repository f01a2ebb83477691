"""The data card: which kind of data the weights of a bundle have seen, and which audit stands behind them.

The card is the file `docs/data_card.json`. It holds for the weights that its digest names (`weights_digest` in
training/weights.py), and for no others:

    {"format": 1, "weights": {"models/model.pt": {
        "sha256": "...",
        "seen": [{"kind": "real", "patients": 41}],
        "known_from": "the training's records",
        "audit": null}}}

A kind is `simulated` (made by `tofgan phantom`), `synthetic` (made by a generator, named by the digest of its weights)
or `real`; data of which no record tells the kind counts as real. `audit` is null until `tofgan pack` puts the summary
of an audit there (`SUMMARY` in audit/record.py), or a person's reason with or without one (`OVERRIDDEN`).

Version 0.1.0 named weights by the SHA-256 of their file. A card, audit or stack of that version is understood wherever
that very file is at hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tofgan_monai.audit.record import departures
from tofgan_monai.bundle_runs.paths import known_bundles
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.inspection.reading import read_document
from tofgan_monai.exchange.layout import AUDIT, CARD, WEIGHTS
from tofgan_monai.exchange.release import check_audit
from tofgan_monai.files import sha256, write_json
from tofgan_monai.training.checkpoint import read_checkpoint
from tofgan_monai.training.weights import weights_file_digest
from tofgan_monai.volumes.kinds import KINDS

RECORDED, DECLARED = "the training's records", "declared by whoever packed it"
Seen = list[dict[str, Any]]
UNKNOWN: Seen = [{"kind": "real", "patients": None}]
MAX_PATIENTS = 10**6
_REMEDY = (
    "adopt the weights again from the training's folder (`tofgan adopt`), or say which data they have seen "
    "(`tofgan pack --data`)"
)
_FORM = f"kinds are {', '.join(KINDS)}, patients are null or 1 to {MAX_PATIENTS}, weights_sha256 null or hexadecimal"


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    """The schema of an object with these properties and no others."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_SEEN = {
    "type": "array",
    "minItems": 1,
    "items": _closed(
        ["kind"],
        kind={"enum": list(KINDS)},
        patients={"type": ["integer", "null"], "minimum": 1, "maximum": MAX_PATIENTS},
        weights_sha256={"type": ["string", "null"], "pattern": r"^[0-9a-f]{1,64}\Z"},
    ),
}
_ENTRY = {"sha256": {}, "seen": _SEEN, "known_from": {"type": "string"}, "audit": {}}
_SCHEMA = _closed(
    ["format", "weights"], format={"const": 1}, weights=_closed([WEIGHTS], **{WEIGHTS: _closed(list(_ENTRY), **_ENTRY)})
)


def card(digest: str, seen: Seen, known_from: str) -> dict[str, Any]:
    """The data card of weights with this digest, which have no audit yet."""
    entry = {"sha256": digest, "seen": seen, "known_from": known_from, "audit": None}
    return {"format": 1, "weights": {WEIGHTS: entry}}


def as_text(content: dict[str, Any]) -> bytes:
    """The content of the file of a data card, or of the figures of an audit."""
    return (json.dumps(content, indent=2) + "\n").encode()


def write_card(bundle: Path, seen: Seen) -> None:
    """Writes the data card of newly adopted weights into the folder of their bundle."""
    (bundle / AUDIT).unlink(missing_ok=True)  # it was an audit of the weights before
    write_json(bundle / CARD, card(weights_file_digest(bundle / WEIGHTS), seen, RECORDED))


def with_present_names(files: dict[str, bytes], weights: Path, digest: str) -> dict[str, bytes]:
    """The files of a bundle, in which the digest replaces the name that version 0.1.0 gave to the weights.

    Args:
        files: content by path in the bundle.
        weights: the bundle's models/model.pt, whose SHA-256 was its name in version 0.1.0.
        digest: the digest of the same weights.
    """
    old = sha256(weights).encode()
    return {name: data.replace(old, digest.encode()) if name in (CARD, AUDIT) else data for name, data in files.items()}


def seen_by(run: str | os.PathLike, bundle: Path) -> Seen:
    """The data that the weights of a training have seen, by its own records and the cards of its starting weights.

    Args:
        run: output folder of the training.
        bundle: also searched for the starting weights' data card.
    """
    try:
        recipe = read_checkpoint(run)[1]["recipe"]
        seen = list(recipe["pairs"]["provenance"])
        start = recipe["pretrained"]
    except (InputError, KeyError, TypeError):
        return UNKNOWN  # made before such records were kept, or elsewhere
    if start:  # a checkpoint tells for itself, as no card knows it
        seen += start["seen"] or seen_of(start["sha256"], bundle)
    # Real entries tell the number of patients and not which: two equal entries may be of different patients.
    return [entry for index, entry in enumerate(seen) if entry["kind"] == "real" or entry not in seen[:index]]


def seen_of(digest: str, bundle: Path) -> Seen:
    """The data that weights have seen, by the card of this bundle or of any known bundle; real if no card names them.

    Args:
        digest: of the weights; or the SHA-256 of their file, by which version 0.1.0 named them.
        bundle: whose card is searched first.
    """
    return next((found for path in [bundle, *known_bundles()] if (found := _seen_in(path, digest))), UNKNOWN)


def patients_behind(seen: Seen, bundle: Path, asked: frozenset[str] = frozenset()) -> Seen:
    """The real patients of whom weights may tell: those in the data they have seen, and those behind its generators.

    Args:
        seen: the data that the weights have seen.
        bundle: also searched for the data cards of the generators.
        asked: digests of generators that the search has already met; a generator behind itself counts as unknown.
    """
    if any(departures(seen, _SEEN)):  # a card by other hands
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


def _seen_in(bundle: Path, digest: str) -> Seen:
    """The data that weights have seen, by the card of one bundle; empty if the card is about others."""
    weights = bundle / WEIGHTS
    try:
        entries = json.loads((bundle / CARD).read_text("utf-8"))["weights"].values()
        seen = {entry["sha256"]: list(entry["seen"]) for entry in entries}
        if digest not in seen and digest in (names := {sha256(weights), weights_file_digest(weights)}):
            digest = next(iter(names & seen.keys()), digest)
    except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return seen.get(digest, [])


def check_card(data: bytes, digest: str, figures: bytes | None) -> list[Problem]:
    """Everything that is wrong with a data card.

    Args:
        data: content of the card.
        digest: of the weights that the card must be about.
        figures: content of docs/audit.json, None if there is no such file.
    """
    document, problems = read_document(CARD, data)
    if document is None:
        return problems
    lines, path = document.lines, ("weights", WEIGHTS)
    cards = document.content.get("weights")
    entry = cards.get(WEIGHTS) if isinstance(cards, dict) else None
    if not isinstance(entry, dict):
        return [Problem(CARD, 1, f"says nothing of {WEIGHTS}", _REMEDY)]
    if entry.get("sha256") != digest:
        what = f"is of weights {shown(entry.get('sha256'))}, not of the bundle's weights ({digest})"
        problems.append(Problem(CARD, lines.get((*path, "sha256"), lines[path]), what, _REMEDY))
    departing = list(departures(document.content, _SCHEMA))
    for where, what in departing:
        could = _FORM if "seen" in where else "could pass for a statement of the card; pack the bundle again"
        problems.append(Problem(CARD, lines.get(where, 1), shown(what, 160)[1:-1], could))
    return problems if departing else problems + check_audit(entry, lines, (*path, "audit"), digest, figures)


def declared(folder: Path, data: str, digest: str) -> dict[str, Any]:
    """The data card of weights for which the sender declares the kind of data they have seen.

    Raises:
        InputError: the bundle's own card says more.
    """
    said = _seen_in(folder, digest)
    if said and (more := {entry["kind"] for entry in said} - {data}):
        raise InputError(f"{folder / CARD}: says {kinds(said)}; leave --data {data} out, or {', '.join(more)} is lost")
    return card(digest, [{"kind": data, "patients": None}], DECLARED)


def kinds(seen: Iterable[dict[str, Any]]) -> str:
    """The entries of a data card in words: `real (41 patients), synthetic`."""

    def words(kind: str, patients: int | None = None, **_: Any) -> str:
        return kind if patients is None else f"{kind} ({patients} patient{'s' if patients > 1 else ''})"

    return ", ".join(words(**entry) for entry in seen)
