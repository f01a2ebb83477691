"""Writes the page of an audit: verdicts for a data protection officer, then figures and pictures, then methods.

An audit measures what a release gives away about the training patients. A release is the thing that would leave the
clinic: the synthetic pairs ("data"), the generator, the critic, or the segmentation network ("network"). Training
patients are members; held-out patients are non-members. A stack is a .npy file of image-label pairs.

`write_audit_report(FOLDER)` shows the content of these files and computes no new figure:

    FOLDER/audit.json     the results of `tofgan audit`; the page names the parts that are null or missing
    FOLDER/pictures.npz   optional, three arrays (k, 2, 96, 96). `synthetic` holds the synthetic pairs that
                          audit["copies"]["closest"] lists. `member` and `non_member` hold the most similar training
                          pair and the most similar held-out pair of each synthetic pair.

The page with pictures shows patches of training patients, so it must stay where these patients' images may be seen.
The page for sharing (`patches=False`) shows no patches, curves, digests or seed. It does not say which synthetic pair
resembles which training pair.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.audit.questions import MAPPING
from tofgan_monai.audit.record import FORMAT
from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import PAIR_SHAPE
from tofgan_monai.report.audit import tables
from tofgan_monai.report.audit.figures import forest, histogram, roc_curves
from tofgan_monai.report.pictures import pair_tile, tile_uri
from tofgan_monai.report.rendering import write_page

REQUIRED = ("target", "cohorts", "attacks", "power", "verdicts")
COHORTS = ("members", "non_members", "references")
PICTURES = ("synthetic", "member", "non_member")
MAX_CLOSEST = 6  # number of pairs shown for each channel (image, label)
# Kind of audited target -> the releases that get a verdict card even if no attack was made on them.
ASKED = {
    "generator": ("data", "generator", "critic"),
    "stack": ("data", "generator", "critic"),
    "segmentation": ("network",),
}

Audit = dict[str, Any]


def write_audit_report(folder: Path, *, patches: bool = True) -> Path:
    """Writes audit.html, the self-contained page of an audit, and returns its path.

    Args:
        folder: the folder with audit.json and, if the page shall have pictures, pictures.npz; the page comes there.
        patches: False writes audit_for_sharing.html, without patches, curves, digests and the seed.

    Raises:
        InputError: audit.json is missing or has another format, pictures.npz does not fit audit.json, or the page
            cannot be written.
    """
    folder = Path(folder)
    audit = _read_audit(folder / "audit.json")
    pictures = _read_pictures(folder / "pictures.npz", audit) if patches else {}
    output = folder / ("audit.html" if patches else "audit_for_sharing.html")
    content = _content(audit if patches else _for_sharing(audit), pictures)
    return write_page(output, "audit/page.html", is_for_sharing=not patches, **content)


def _read_audit(path: Path) -> Audit:
    """Reads audit.json; raises InputError if the file is unreadable, has another format or lacks a required part."""
    try:
        audit = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: the audit cannot be read ({error.strerror}); give a folder that `tofgan audit` wrote"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: the file is not valid JSON ({error}); run `tofgan audit` again") from error
    found = audit.get("format") if isinstance(audit, dict) else None
    if found != FORMAT:
        raise InputError(
            f"{path}: the file has format {found!r}, but this version reads format {FORMAT}; run `tofgan audit` again"
        )
    if missing := [name for name in REQUIRED if audit.get(name) is None]:
        raise InputError(f"{path}: the audit lacks {', '.join(missing)}; run `tofgan audit` again")
    return audit


def _read_pictures(path: Path, audit: Audit) -> dict[str, np.ndarray]:
    """Reads pictures.npz: dict from name (`synthetic`, `member`, `non_member`) to pairs (k, 2, 96, 96).

    k is the number of closest pairs that the audit lists. The dict is empty if there is no file.
    """
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pairs = {name: arrays[name] for name in PICTURES if name in arrays}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path}: the file cannot be read ({error}); run `tofgan audit` again, or remove the file"
        ) from error
    shape = (len(_closest(audit)), *PAIR_SHAPE)
    problems = [
        f"{path}: the array {name} has shape {of.shape}, but audit.json needs {shape}; copy both files from one audit"
        for name, of in pairs.items()
        if of.shape != shape
    ]
    if problems:
        raise InputError(problems)
    return pairs


def _for_sharing(audit: Audit) -> Audit:
    """Returns a copy of the audit without the parts that must stay at the clinic.

    These parts are the ROC curves, the digests, the seed, and the lists of synthetic pairs with the training pairs
    that they resemble.
    """

    def without(part: dict[str, Any] | None, *names: str) -> dict[str, Any] | None:
        """Returns a copy of a dict without these keys; None for None."""
        return part and {name: value for name, value in part.items() if name not in names}

    return {
        **audit,
        "target": {**audit["target"], "stack": without(audit["target"].get("stack"), "digest", "seed")},
        "cohorts": {name: without(cohort, "digest") for name, cohort in audit["cohorts"].items()},
        "attacks": [without(attack, "roc") for attack in audit["attacks"]],
        "copies": without(audit.get("copies"), "closest", "near_copies"),
    }


def _closest(audit: Audit) -> list[dict[str, Any]]:
    """List of the synthetic pairs that are closest to training pairs; empty if the audit has none."""
    return (audit.get("copies") or {}).get("closest") or []


def _content(audit: Audit, pictures: dict[str, np.ndarray]) -> dict[str, Any]:
    """Dict with the values for the template of the page. The page says so where a value is None or empty."""
    quality, copies = audit.get("quality") or {}, audit.get("copies")
    stack = audit["target"].get("stack") or {}
    answers, unanswered = _answers(audit)
    return {
        "audit": audit,
        "cohorts": {name: cohort for name in COHORTS if (cohort := audit["cohorts"].get(name))},
        "stack": stack,
        "copies": copies,
        "canary": audit.get("canary") or {},
        "guarantee": audit.get("guarantee"),
        "cards": _cards(audit),
        "attacked": {
            words: sum(a["release"] == key for a in audit["attacks"]) for key, words in tables.ATTACKED.items()
        },
        "attacked_words": tables.ATTACKED,
        "channels": tables.CHANNELS,
        "forest": forest(audit["attacks"]),
        "roc_curves": roc_curves(audit["attacks"]),
        "attack_table": tables.attack_table(audit["attacks"]),
        "control_table": tables.control_table(audit["attacks"]),
        "planted_table": tables.planted_table(audit.get("planted")),
        "canary_table": tables.canary_table(audit.get("canary")),
        "copy_table": tables.copy_table(copies, stack.get("n")),
        "closest": _closest_pairs(audit, pictures),
        "distance_table": tables.distance_table(quality),
        "manifold_table": tables.manifold_table(quality),
        "histograms": [histogram(statistic) for statistic in quality.get("vessels") or []],
        "answers": answers,
        "unanswered": unanswered,
        "has_patches": bool(pictures and _closest(audit)),
    }


def _cards(audit: Audit) -> list[dict[str, Any]]:
    """List of verdict cards: one for each release in `ASKED` and for each further release that has a verdict.

    The sign of a card is the outcome of the verdict, or "missing" if there is none. For the critic it is always
    "never", because a critic must not be released.
    """
    verdicts = audit["verdicts"]
    asked = ASKED.get(audit["target"]["kind"], ())
    cards = []
    for release in dict.fromkeys([*asked, *(name for name in tables.ATTACKED if verdicts.get(name))]):
        verdict = verdicts.get(release) or {"outcome": "missing", "reasons": []}
        sign = "never" if release == "critic" else verdict["outcome"]
        cards.append({"release": release, "sign": sign, "reasons": verdict.get("reasons", [])})
    return cards


def _closest_pairs(audit: Audit, pictures: dict[str, np.ndarray]) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """List of (closest pair of the audit, dict from name to its picture as a data URI).

    The list has at most MAX_CLOSEST pairs for each channel. Without pictures the dicts are empty.
    """
    shown: dict[str, int] = {}
    pairs = []
    for index, pair in enumerate(_closest(audit)):
        shown[pair["channel"]] = shown.get(pair["channel"], 0) + 1
        if shown[pair["channel"]] <= MAX_CLOSEST:
            pairs.append((pair, {name: tile_uri(pair_tile(of[index])) for name, of in pictures.items()}))
    return pairs


def _answers(audit: Audit) -> tuple[list[dict[str, Any]], list[str]]:
    """Sorts the questions of a data protection officer (`MAPPING`) by whether this audit can answer them.

    Returns:
        The answers, and the questions that need an attack which this audit did not run. An answer is an entry of
        `MAPPING` with `attacks`, the attacks of this audit that answer it. If the question needs no attack, `worst` is
        the attack with the largest advantage over patients; attacks on the critic do not count.
    """
    answers, unanswered = [], []
    attacks = audit["attacks"]
    released = [attack for attack in attacks if attack["release"] != "critic"]
    for entry in MAPPING:
        tried = [attack for name in entry["attacks"] for attack in attacks if attack["name"] == name]
        if entry["attacks"] and not tried:
            unanswered.append(entry["question"])
            continue
        worst = None if tried else max(released, key=lambda one: one["patient"]["advantage"]["value"], default=None)
        answers.append({**entry, "attacks": tried, "worst": worst})
    return answers, unanswered
