"""The page of an audit: first what a data protection officer needs, then figures and pictures, then methods.

`write_audit_report(FOLDER)` lays out what is there and computes nothing:

    FOLDER/audit.json     what `tofgan audit` found; parts that are null or missing are named as missing on the page
    FOLDER/pictures.npz   `synthetic`, `member`, `non_member`, each (k, 2, 96, 96): the synthetic pairs that
                          audit["copies"]["closest"] lists, what each is closest to among members, and among
                          non-members; may be absent

The page with pictures shows patches of the members and stays where they may be seen. The one for sharing,
`patches=False`, shows none, nor which synthetic pair resembles which training pair, nor curves, digests and the seed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.audit.questions import MAPPING
from tofgan_monai.audit.record import FORMAT
from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.pairs.stack import PAIR_SHAPE
from tofgan_monai.report.audit.figures import Forest, Histogram, RocCurve, forest, histograms, roc_curves
from tofgan_monai.report.audit.methods import Method, methods, settings
from tofgan_monai.report.audit.tables import (
    attack_table,
    canary_table,
    control_table,
    copy_table,
    distance_table,
    manifold_table,
    planted_table,
    written,
)
from tofgan_monai.report.audit.text import (
    Card,
    blind_spots,
    cards,
    closest_words,
    copies_words,
    facts,
    simulated,
    subject,
    title,
)
from tofgan_monai.report.pictures import Picture, pair_tile, tile_picture
from tofgan_monai.report.rendering import render
from tofgan_monai.report.tables import Table

REQUIRED = ("target", "cohorts", "attacks", "power", "verdicts")
PICTURES = {"synthetic": "synthetic pair", "member": "training pair", "non_member": "held-out pair"}
MAX_CLOSEST = 6  # of each channel


@dataclass(frozen=True)
class Answer:
    """A question that the officer must answer, what the attacks say on it, and what they cannot."""

    question: str
    source: str
    says: str
    cannot_say: str
    figures: list[str]


@dataclass(frozen=True)
class Closest:
    """A synthetic pair beside what it is closest to: pictures by what they show, and the words below."""

    words: str
    pictures: dict[str, Picture] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditPage:
    """All that the template shows; None and empty lists are named as missing."""

    audit: dict[str, Any]
    subject: str
    facts: dict[str, str]
    simulated: str
    cards: list[Card]
    blind_spots: list[str]
    forest: Forest
    roc_curves: list[RocCurve]
    attacks: Table
    controls: Table
    planted: Table | None
    canary: Table | None
    copies_words: str
    copies: Table | None
    closest: list[Closest]
    distances: Table | None
    manifold: Table | None
    histograms: list[Histogram]
    answers: list[Answer]
    unanswered: list[str]
    methods: list[Method]
    settings: dict[str, str]
    has_patches: bool
    has_real_patients: bool
    is_for_sharing: bool


def write_audit_report(folder: Path, output: Path | None = None, *, patches: bool = True) -> Path:
    """Writes an audit's self-contained HTML page and gives its path.

    Args:
        folder: with audit.json and, for pictures, pictures.npz.
        output: by default audit.html in that folder, or audit_for_sharing.html without patches.
        patches: whether the page is the one with patches. The other holds no patch and no index of one, no curve, no
            digest and no seed, and says so.

    Raises:
        InputError: no audit, one of another format, or pictures of another audit; or the page cannot be written.
    """
    folder = Path(folder)
    audit = _read_audit(folder / "audit.json")
    shown = _read_pictures(folder / "pictures.npz", audit) if patches else {}
    audit = audit if patches else _what_leaves(audit)
    page = render("audit.html", title=title(audit), page=_page(audit, shown, is_for_sharing=not patches))
    output = Path(output or folder / ("audit.html" if patches else "audit_for_sharing.html"))
    with written_whole(output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return output


def _read_audit(path: Path) -> dict[str, Any]:
    try:
        audit = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: no audit ({error.strerror}); name a folder that `tofgan audit` wrote") from error
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON ({error}); make the audit again") from error
    found = audit.get("format") if isinstance(audit, dict) else None
    if found != FORMAT:
        raise InputError(f"{path}: format {found!r}; this version shows format {FORMAT}; make the audit again")
    if missing := [name for name in REQUIRED if audit.get(name) is None]:
        raise InputError(f"{path}: lacks {', '.join(missing)}; make the audit again")
    return audit


def _read_pictures(path: Path, audit: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of pairs, each as long as the audit's list of closest pairs; none where there is no file."""
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pairs = {name: arrays[name] for name in PICTURES if name in arrays}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not readable ({error}); make the audit again, or remove the file") from error
    n = len(_closest(audit))
    problems = [
        f"{path}: {name} of shape {of.shape}; {(n, *PAIR_SHAPE)} is needed beside audit.json; copy both files together"
        for name, of in pairs.items()
        if of.shape != (n, *PAIR_SHAPE)
    ]
    if problems:
        raise InputError(problems)
    return pairs


def _what_leaves(audit: dict[str, Any]) -> dict[str, Any]:
    """The audit without what stays at the clinic: curves, digests, the seed, and which pair is like which."""

    def without(part: dict[str, Any] | None, *names: str) -> dict[str, Any] | None:
        return part and {name: value for name, value in part.items() if name not in names}

    return {
        **audit,
        "target": {**audit["target"], "stack": without(audit["target"].get("stack"), "digest", "seed")},
        "cohorts": {name: without(cohort, "digest") for name, cohort in audit["cohorts"].items()},
        "attacks": [without(attack, "roc") for attack in audit["attacks"]],
        "copies": without(audit.get("copies"), "closest", "near_copies"),
    }


def _closest(audit: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return (audit.get("copies") or {}).get("closest") or ()


def _page(audit: dict[str, Any], shown: dict[str, np.ndarray], *, is_for_sharing: bool) -> AuditPage:
    quality = audit.get("quality") or {}
    asked, unanswered = _answers(audit)
    return AuditPage(
        audit=audit,
        subject=subject(audit),
        facts=facts(audit),
        simulated=simulated(audit),
        cards=cards(audit),
        blind_spots=list(blind_spots(audit)),
        forest=forest(audit["attacks"]),
        roc_curves=roc_curves(audit["attacks"]),
        attacks=attack_table(audit["attacks"]),
        controls=control_table(audit["attacks"]),
        planted=planted_table(audit.get("planted")),
        canary=canary_table(audit.get("canary")),
        copies_words=copies_words(audit.get("copies")),
        copies=copy_table(audit.get("copies"), (audit["target"].get("stack") or {}).get("n")),
        closest=_closest_pairs(audit, shown),
        distances=distance_table(quality),
        manifold=manifold_table(quality),
        histograms=histograms(quality.get("vessels") or []),
        answers=asked,
        unanswered=unanswered,
        methods=methods(audit),
        settings=settings(audit),
        has_patches=bool(shown) and bool(_closest(audit)),
        has_real_patients=any(cohort["kind"] != "simulated" for cohort in audit["cohorts"].values() if cohort),
        is_for_sharing=is_for_sharing,
    )


def _closest_pairs(audit: dict[str, Any], shown: dict[str, np.ndarray]) -> list[Closest]:
    return [
        Closest(
            closest_words(pair),
            {
                words: tile_picture(pair_tile(shown[name][index]), f"{words} {index + 1}: image above, label below")
                for name, words in PICTURES.items()
                if name in shown
            },
        )
        for index, pair in enumerate(_closest(audit))
        if sum(other["channel"] == pair["channel"] for other in _closest(audit)[:index]) < MAX_CLOSEST
    ]


def _answers(audit: dict[str, Any]) -> tuple[list[Answer], list[str]]:
    """The officer's questions that this audit speaks to, with its figures; and those to which it does not."""
    tried = {attack["name"]: attack for attack in audit["attacks"]}
    asked, unanswered = [], []
    for entry in MAPPING:
        names = [name for name in entry["attacks"] if name in tried]
        if entry["attacks"] and not names:
            unanswered.append(entry["question"])
            continue
        figures = [f"{name}: {written(tried[name]['patient']['auc'])}" for name in names]
        figures = [f"AUC over patients: {'; '.join(figures)}."] if names else _advantage(audit)
        asked.append(Answer(entry["question"], entry["source"], entry["says"], entry["cannot_say"], figures))
    return asked, unanswered


def _advantage(audit: dict[str, Any]) -> list[str]:
    """The largest advantage over patients, of what may leave."""
    attacks = [attack for attack in audit["attacks"] if attack["release"] != "critic"]
    if not attacks:
        return []
    worst = max(attacks, key=lambda attack: attack["patient"]["advantage"]["value"])
    return [
        f"Largest advantage over patients, of {worst['name']}: {written(worst['patient']['advantage'])}.",
        "It is no probability of re-identification, and of few patients it is above 0 even by chance.",
    ]
