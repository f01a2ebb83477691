"""The page of an audit: the verdicts a data protection officer needs, then figures and pictures, then methods.

`write_audit_report(FOLDER)` shows what these files hold and computes no figure:

    FOLDER/audit.json     what `tofgan audit` found; the page names the parts that are null or missing
    FOLDER/pictures.npz   optional: `synthetic`, `member`, `non_member`, each (k, 2, 96, 96): the synthetic pairs that
                          audit["copies"]["closest"] lists, and the most similar training and held-out pair of each

The page with pictures shows patches of training patients: it stays where those may be seen. The page for sharing
(`patches=False`) shows no patch, no link between a synthetic pair and a training pair, no curve, digest or seed.
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
MAX_CLOSEST = 6  # pairs of each channel
# The releases that a reader asks about, attacked or not, by the kind of target.
ASKED = {
    "generator": ("data", "generator", "critic"),
    "stack": ("data", "generator", "critic"),
    "segmentation": ("network",),
}

Audit = dict[str, Any]


def write_audit_report(folder: Path, output: Path | None = None, *, patches: bool = True) -> Path:
    """Writes the self-contained HTML page of an audit and returns its path.

    Args:
        folder: the folder with audit.json and, for pictures, pictures.npz.
        output: the page; default: audit.html in that folder, or audit_for_sharing.html without patches.
        patches: False writes the page for sharing, without patches, curves, digests and the seed.

    Raises:
        InputError: there is no audit, it has another format, the pictures belong to another audit, or the page cannot
            be written.
    """
    folder = Path(folder)
    audit = _read_audit(folder / "audit.json")
    pictures = _read_pictures(folder / "pictures.npz", audit) if patches else {}
    output = output or folder / ("audit.html" if patches else "audit_for_sharing.html")
    content = _content(audit if patches else _for_sharing(audit), pictures)
    return write_page(output, "audit/page.html", is_for_sharing=not patches, **content)


def _read_audit(path: Path) -> Audit:
    try:
        audit = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: no audit ({error.strerror}); name a folder that `tofgan audit` wrote") from error
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON ({error}); make the audit again") from error
    found = audit.get("format") if isinstance(audit, dict) else None
    if found != FORMAT:
        raise InputError(f"{path}: format {found!r}; this version reads format {FORMAT}; make the audit again")
    if missing := [name for name in REQUIRED if audit.get(name) is None]:
        raise InputError(f"{path}: lacks {', '.join(missing)}; make the audit again")
    return audit


def _read_pictures(path: Path, audit: Audit) -> dict[str, np.ndarray]:
    """The stacks of pictures by name, one pair for each closest pair of the audit; empty if there is no file."""
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pairs = {name: arrays[name] for name in PICTURES if name in arrays}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not readable ({error}); make the audit again, or remove the file") from error
    shape = (len(_closest(audit)), *PAIR_SHAPE)
    problems = [
        f"{path}: {name} has shape {of.shape}; audit.json needs {shape}; copy both files from the same audit"
        for name, of in pairs.items()
        if of.shape != shape
    ]
    if problems:
        raise InputError(problems)
    return pairs


def _for_sharing(audit: Audit) -> Audit:
    """The audit without what stays at the clinic: curves, digests, the seed, and which pair resembles which."""

    def without(part: dict[str, Any] | None, *names: str) -> dict[str, Any] | None:
        return part and {name: value for name, value in part.items() if name not in names}

    return {
        **audit,
        "target": {**audit["target"], "stack": without(audit["target"].get("stack"), "digest", "seed")},
        "cohorts": {name: without(cohort, "digest") for name, cohort in audit["cohorts"].items()},
        "attacks": [without(attack, "roc") for attack in audit["attacks"]],
        "copies": without(audit.get("copies"), "closest", "near_copies"),
    }


def _closest(audit: Audit) -> list[dict[str, Any]]:
    return (audit.get("copies") or {}).get("closest") or []


def _content(audit: Audit, pictures: dict[str, np.ndarray]) -> dict[str, Any]:
    """The values for the template of an audit's page, which tells the reader about each that is None or empty."""
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
    """The audit's verdict on each release that a reader asks about; for the critic the sign is always `never`."""
    verdicts = audit["verdicts"]
    asked = ASKED.get(audit["target"]["kind"], ())
    cards = []
    for release in dict.fromkeys([*asked, *(name for name in tables.ATTACKED if verdicts.get(name))]):
        verdict = verdicts.get(release) or {"outcome": "missing", "reasons": []}
        sign = "never" if release == "critic" else verdict["outcome"]
        cards.append({"release": release, "sign": sign, "reasons": verdict.get("reasons", [])})
    return cards


def _closest_pairs(audit: Audit, pictures: dict[str, np.ndarray]) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """The synthetic pairs closest to training pairs, MAX_CLOSEST of each channel, each with its pictures by name."""
    shown: dict[str, int] = {}
    pairs = []
    for index, pair in enumerate(_closest(audit)):
        shown[pair["channel"]] = shown.get(pair["channel"], 0) + 1
        if shown[pair["channel"]] <= MAX_CLOSEST:
            pairs.append((pair, {name: tile_uri(pair_tile(of[index])) for name, of in pictures.items()}))
    return pairs


def _answers(audit: Audit) -> tuple[list[dict[str, Any]], list[str]]:
    """The officer's questions that this audit speaks to, with the attacks that do; and those it does not speak to."""
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
