"""Writes, reads and checks data cards. A card states on which data a bundle's weights were trained, and their audit.

The card is the file `docs/data_card.json`. It is valid for the weights with its digest only (a SHA-256 over the
tensors, see `weights_digest` in training/weights.py):

    {"format": 1, "weights": {"models/model.pt": {
        "sha256": "...",
        "seen": [{"kind": "real", "patients": 41}],
        "known_from": "the training's records",
        "audit": null}}}

`seen` lists the data that the weights have seen: the data of the training run, and the data of the weights that the
training started with. A kind is `simulated` (made by `tofgan phantom`; `simulation` lists the
versions of the simulation), `synthetic` (made by a generator, which is
named by the digest of its weights) or `real` (of patients); data whose kind no record states counts as real. `audit` is
null until `tofgan pack` writes the summary of an audit there (`SUMMARY` in audit/record.py), or the reason of a person
who releases the weights without a passed audit (`OVERRIDDEN`).

Version 0.1.0 named weights by the SHA-256 of their file instead. Cards, audits and stacks of that version are
still understood where that file exists.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tofgan_monai.audit.record import closed, departures
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
    "adopt the weights again from the training's folder (`tofgan adopt`), or state which data they have seen "
    "(`tofgan pack --data`)"
)
_FORM = (
    f"kinds are {', '.join(KINDS)}, patients are null or 1 to {MAX_PATIENTS}, "
    "simulation is a list of whole numbers, weights_sha256 null or hexadecimal"
)


_SEEN = {
    "type": "array",
    "minItems": 1,
    "items": closed(
        ("patients", "simulation", "weights_sha256"),
        kind={"enum": list(KINDS)},
        patients={"type": ["integer", "null"], "minimum": 1, "maximum": MAX_PATIENTS},
        simulation={"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 1000}},
        weights_sha256={"type": ["string", "null"], "pattern": r"^[0-9a-f]{1,64}\Z"},
    ),
}
_ENTRY: dict[str, Any] = {"sha256": {}, "seen": _SEEN, "known_from": {"type": "string"}, "audit": {}}
_SCHEMA = closed(format={"const": 1}, weights=closed((), **{WEIGHTS: closed((), **_ENTRY)}))


def card(digest: str, seen: Seen, known_from: str) -> dict[str, Any]:
    """Returns the data card of weights that have no audit yet.

    Args:
        digest: digest of the weights.
        seen: entries on the data on which the weights were trained.
        known_from: where `seen` is known from: `RECORDED` or `DECLARED`.
    """
    entry = {"sha256": digest, "seen": seen, "known_from": known_from, "audit": None}
    return {"format": 1, "weights": {WEIGHTS: entry}}


def as_text(content: dict[str, Any]) -> bytes:
    """Returns a data card, or the figures of an audit, as the bytes of a JSON file."""
    return (json.dumps(content, indent=2) + "\n").encode()


def in_words(seen: Seen) -> str:
    """Returns the entries of a data card as words of a sentence, such as `41 patients and 96 simulated heads`."""
    groups = {"real": "patients", "simulated": "simulated heads", "synthetic": "pairs of another generator"}

    def one(kind: str, patients: int | None = None, **_: Any) -> str:
        group = groups[kind]
        unknown = group if kind == "synthetic" else f"an unknown number of {group}"
        return unknown if patients is None else f"{patients} {group[:-1] if patients == 1 else group}"

    return " and ".join(one(**entry) for entry in seen)


def write_card(bundle: Path, seen: Seen) -> None:
    """Writes the data card of newly adopted weights, and deletes the audit of the previous weights.

    Args:
        bundle: folder of the bundle, with the new weights in it.
        seen: entries on the data on which the weights were trained.
    """
    (bundle / AUDIT).unlink(missing_ok=True)  # an audit of the previous weights
    write_json(bundle / CARD, card(weights_file_digest(bundle / WEIGHTS), seen, RECORDED))


def with_present_names(files: dict[str, bytes], weights: Path, digest: str) -> dict[str, bytes]:
    """Replaces the name that version 0.1.0 gave to the weights by their digest; returns the files of the bundle.

    Args:
        files: dict from path in the bundle to content; only the data card and the audit change.
        weights: path of the bundle's models/model.pt. The SHA-256 of this file named the weights in version 0.1.0.
        digest: the digest of the same weights.
    """
    old = sha256(weights).encode()
    return {name: data.replace(old, digest.encode()) if name in (CARD, AUDIT) else data for name, data in files.items()}


def seen_by(run: str | os.PathLike, bundle: Path) -> Seen:
    """Returns data-card entries on all data on which a training run's weights were trained; `UNKNOWN` without records.

    Args:
        run: output folder of the training run; its checkpoint records the training data.
        bundle: folder of a bundle. If the training started with other weights, their data card is searched in this
            bundle and in all known bundles.
    """
    try:
        recipe = read_checkpoint(run)[1]["recipe"]
        seen = list(recipe["pairs"]["provenance"])
        start = recipe["pretrained"]
    except (InputError, KeyError, TypeError):
        return UNKNOWN  # made before such records were kept, or elsewhere
    if start:  # a checkpoint records its own data, as it has no card
        seen += start["seen"] or seen_of(start["sha256"], bundle)
    # Real entries state how many patients, not which ones: two equal entries may mean different patients.
    return [entry for index, entry in enumerate(seen) if entry["kind"] == "real" or entry not in seen[:index]]


def seen_of(digest: str, bundle: Path) -> Seen:
    """Returns data-card entries on the data on which weights were trained; `UNKNOWN` if no data card is about them.

    Args:
        digest: digest of the weights; or the SHA-256 of their file, which was their name in version 0.1.0.
        bundle: folder of the bundle whose card is read first; the cards of all known bundles follow.
    """
    return next((found for path in [bundle, *known_bundles()] if (found := _seen_in(path, digest))), UNKNOWN)


def patients_behind(seen: Seen, bundle: Path, asked: frozenset[str] = frozenset()) -> Seen:
    """Returns the data-card entries on real patients about whom weights may reveal something; empty without patients.

    These are the patients in the training data of the weights. If this data is synthetic, the patients on whom its
    generator was trained count as well.

    Args:
        seen: data-card entries on the data on which the weights were trained.
        bundle: folder of a bundle; the data card of each generator is searched there and in all known bundles.
        asked: digests of generators that the search has already met. A generator that leads back to itself counts as
            trained on an unknown number of patients.
    """
    if any(departures(seen, _SEEN)):  # a card that tofgan_monai did not write
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
    """Returns the entries `seen` about these weights in one bundle's data card; empty if the card has no such entry."""
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
    """Returns the list of problems with a data card; empty if the card is valid for these weights.

    Args:
        data: content of the card's file.
        digest: digest of the bundle's weights, which the card must name.
        figures: content of docs/audit.json; None if there is no such file.
    """
    document, problems = read_document(CARD, data)
    if document is None:
        return problems
    lines, path = document.lines, ("weights", WEIGHTS)
    cards = document.content.get("weights")
    entry = cards.get(WEIGHTS) if isinstance(cards, dict) else None
    if not isinstance(entry, dict):
        return [Problem(CARD, 1, f"has no entry for {WEIGHTS}", _REMEDY)]
    if entry.get("sha256") != digest:
        what = f"is of weights {shown(entry.get('sha256'))}, not of the bundle's weights ({digest})"
        problems.append(Problem(CARD, lines.get((*path, "sha256"), lines[path]), what, _REMEDY))
    departing = list(departures(document.content, _SCHEMA))
    for where, what in departing:
        could = _FORM if "seen" in where else "could be taken for a statement of the card; pack the bundle again"
        problems.append(Problem(CARD, lines.get(where, 1), shown(what, 160)[1:-1], could))
    return problems if departing else problems + check_audit(entry, lines, (*path, "audit"), digest, figures)


def declared(folder: Path, data: str, digest: str) -> dict[str, Any]:
    """Returns the data card of weights whose training data the sender declares by `tofgan pack --data`.

    Args:
        folder: folder of the bundle.
        data: the declared kind: `simulated`, `synthetic` or `real`.
        digest: digest of the weights.

    Raises:
        InputError: the card that the bundle already has names a kind of data other than the declared one.
    """
    said = _seen_in(folder, digest)
    if said and (more := {entry["kind"] for entry in said} - {data}):
        raise InputError(f"{folder / CARD}: says {kinds(said)}; leave --data {data} out, it hides {', '.join(more)}")
    return card(digest, [{"kind": data, "patients": None}], DECLARED)


def kinds(seen: Iterable[dict[str, Any]]) -> str:
    """Returns the entries of a data card in words, such as `real (41 patients), synthetic`."""

    def words(kind: str, patients: int | None = None, **_: Any) -> str:
        return kind if patients is None else f"{kind} ({patients} patient{'s' if patients > 1 else ''})"

    return ", ".join(words(**entry) for entry in seen)
