"""An audit's tables: attacks, controls, canaries, copies and quality, as cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tofgan_monai.report.audit.text import ATTACKED, CHANNELS
from tofgan_monai.report.tables import NONE, Block, Cell, Column, Row, Table, between, fixed, signed

NOT_ESTIMABLE = "not estimable"
UNITS = {"patient": "By patient", "patch": "By patch"}
RATES = {"0.1": "10%", "0.01": "1%"}
CAUGHT = {True: "caught", False: "missed", None: NONE}

Interval = dict[str, Any]
Attack = dict[str, Any]


def written(interval: Interval | None, digits: int = 2) -> str:
    """A value and its interval in a line; a dash for None."""
    if interval is None:
        return NONE
    return f"{fixed(interval['value'], digits)} ({between(interval['low'], interval['high'], digits)})"


def attack_table(attacks: list[Attack]) -> Table:
    """What each attack found, by patient and by patch."""
    columns = [
        "AUC",
        *(f"TPR at {rate} FPR" for rate in RATES.values()),
        "advantage",
        "\u03b5 at least",
        "members",
        "others",
    ]
    blocks = [Block(title, [_attack_row(a, unit) for a in attacks]) for unit, title in UNITS.items()]
    notes = [
        "AUC: the chance that the attack scores a member above a non-member; 0.5 is guessing. TPR at 10% FPR: the "
        "share of members it finds while it accuses one non-member in ten. It is given only where there are ten or "
        "more non-members to be accused, that is 100 for 10% and 1,000 for 1%; elsewhere it is not estimable. "
        "Advantage: the largest difference of the two rates; of few units it is above 0 by chance. Below each figure "
        "its interval, over patients.",
        "\u03b5 at least: a lower bound on the differential-privacy parameter of this training, per patient, by this "
        "attack; 0 where nothing is shown. The ceiling is the most that so many patients could have shown.",
    ]
    return Table("What each attack found", "Attack", [Column(c) for c in columns], blocks, notes, is_wide=True)


def _attack_row(attack: Attack, unit: str) -> Row:
    risk = attack[unit]
    epsilon = Cell(fixed(risk["epsilon"], 2), (f"ceiling {fixed(risk['epsilon_ceiling'], 2)}",))
    return Row(
        attack["name"],
        [
            _cell(risk["auc"]),
            *(_rate_cell(risk["tpr"].get(rate), rate) for rate in RATES),
            _cell(risk["advantage"]),
            epsilon if unit == "patient" else Cell(),
            Cell(f"{risk['n_members']:,}"),
            Cell(f"{risk['n_non_members']:,}"),
        ],
        tag=f"on {ATTACKED[attack['release']]}",
    )


def _cell(interval: Interval | None, digits: int = 2) -> Cell:
    if interval is None:
        return Cell()
    return Cell(fixed(interval["value"], digits), (between(interval["low"], interval["high"], digits),))


def _rate_cell(interval: Interval | None, rate: str) -> Cell:
    needed = f"{round(10 / float(rate)):,} others needed"
    return Cell(NOT_ESTIMABLE, (needed,)) if interval is None else _cell(interval)


def control_table(attacks: list[Attack]) -> Table:
    """Each attack's negative controls: what it finds where there is nothing to find."""
    columns = [Column(f"{control}, {unit}") for control in ("members only", "strangers") for unit in UNITS]
    columns += [Column(f"beyond strangers, {unit}") for unit in UNITS]
    rows = [Row(attack["name"], list(_control_cells(attack))) for attack in attacks]
    notes = [
        "Members only: the training patients are split at random and the attack has to tell the halves apart; nothing "
        "is there to be found. Strangers: other patients' pairs stand in the synthetic ones' place; what the attack "
        "finds then is a difference of the two groups and no leak. Where an interval by patch leaves out 0.5, the "
        "attack measures something else. Beyond strangers: the attack's AUC less this control's, paired by patient.",
    ]
    return Table(
        "Controls: AUC where nothing is to be found", "Attack", columns, [Block("", rows)], notes, is_wide=True
    )


def _control_cells(attack: Attack) -> Iterator[Cell]:
    for control in ("member_only", "strangers"):
        for unit in UNITS:
            yield _cell(((attack.get(control) or {}).get(unit) or {}).get("auc"))
    for unit in UNITS:
        more = (attack.get("excess") or {}).get(unit)
        if more is None:
            yield Cell()
        else:
            yield Cell(signed(more["value"], 2), (between(more["low"], more["high"], 2, is_difference=True),))


def planted_table(planted: dict[str, Any] | None) -> Table | None:
    """Whether each attack saw copies that were planted."""
    if not planted:
        return None
    rows = [
        Row(name, [_cell(one.get("auc")), Cell(CAUGHT[one.get("caught")])]) for name, one in planted["attacks"].items()
    ]
    notes = [
        f"{planted['n']} noisy copies of one training patient's pairs were put into the stack. Caught: that patient "
        "scores above every held-out patient, and does not without them. An attack that misses them cannot speak of "
        "copies."
    ]
    return Table(
        "Planted copies: do the attacks see them?",
        "Attack",
        [Column("AUC of that patient"), Column("planted patient")],
        [Block("", rows)],
        notes,
    )


def canary_table(canary: dict[str, Any] | None) -> Table | None:
    """Where the repeated patient ranked in each canary training."""
    if not canary or not canary.get("repeats"):
        return None
    rows = [
        Row(
            f"training {number}",
            [Cell(one["attack"]), Cell(f"{one['rank']} of {one['of']}"), Cell(CAUGHT[one["above_all"]])],
        )
        for number, one in enumerate(canary["repeats"], start=1)
    ]
    notes = [
        f"The same training with one patient repeated {canary['times']} times. Caught: that patient scores above every "
        "held-out patient, by one attack in all trainings. If it is missed, the silence of this audit means nothing."
    ]
    columns = [Column("by attack"), Column("rank"), Column("repeated patient")]
    return Table("Canaries: is a memorised patient seen?", "Training", columns, [Block("", rows)], notes)


def copy_table(copies: dict[str, Any] | None, n: int | None) -> Table | None:
    """Nearest-neighbour figures of the whole stack of n pairs, against members and against non-members."""
    if not copies:
        return None
    ratios = {f"NNDR, {CHANNELS[channel]}": found for channel, found in (copies.get("nndr") or {}).items()}
    rows = [row for name, found in ratios.items() for row in _against_both(name, found, n)]
    mifid = copies.get("mifid") or {}
    rows += _against_both("MiFID", mifid, mifid.get("n"))
    if copies.get("authenticity_pct") is not None:
        rows.append(Row("authenticity (AuthPct), %", [Cell(fixed(copies["authenticity_pct"], 1)), Cell(), _count(n)]))
    notes = [
        "NNDR: the distance to the nearest real pair over that to the second nearest; near 0 a synthetic pair is much "
        "closer to one real pair than to any other. MiFID: the Fr\u00e9chet distance, raised where synthetic pairs lie "
        "very close to real ones. AuthPct: the share of synthetic pairs that are farther from their training pair than "
        "another patient's pair is. What differs between the two columns may be copying; what does not is likeness. n: "
        "synthetic pairs; of MiFID, pairs of each set.",
    ]
    columns = [Column("training patients"), Column("held-out patients"), Column("n")]
    return Table("Nearest neighbours", "Figure", columns, [Block("", rows)], notes) if rows else None


def _against_both(name: str, found: dict[str, dict[str, float]], n: int | None) -> list[Row]:
    members, others = found.get("members") or {}, found.get("non_members") or {}
    words = {
        "median": "median",
        "q05": "5% quantile",
        "frechet": "Fr\u00e9chet distance",
        "distance": "cosine distance",
    }
    return [
        Row(
            f"{name}, {words[key]}" if key in words else name,
            [*(Cell(_figure(of.get(key))) for of in (members, others)), _count(n)],
        )
        for key in members
    ]


def distance_table(quality: dict[str, Any]) -> Table | None:
    """Distances of the synthetic pairs to the training pairs, beside those of other patients."""
    if not quality.get("distances"):
        return None
    extractor = quality["extractor"]
    rows = [
        Row(
            one["name"],
            [
                Cell(_figure(one.get("value")), _error(one.get("standard_error"))),
                Cell(_figure(one.get("floor")), _error(one.get("floor_standard_error"))),
                Cell(f"{one['n']:,}"),
            ],
        )
        for one in quality["distances"]
    ]
    notes = [
        "Lower is closer to the training pairs. The floor is the same distance of held-out patients: it is what "
        f"patients whom nobody has copied reach. Features: {extractor['name']}, SHA-256 "
        f"{extractor['sha256'][:16]}\u2026; n pairs of each set. Compare it with the same extractor and n only.",
    ]
    columns = [Column("synthetic"), Column("floor: held-out"), Column("n")]
    return Table("Distances to the training pairs", "Distance", columns, [Block("", rows)], notes)


def manifold_table(quality: dict[str, Any]) -> Table | None:
    """Precision, recall, density, coverage and diversity, beside held-out patients."""
    found, diversity = quality.get("manifold") or {}, quality.get("diversity") or {}
    floor = found.get("floor") or {}
    rows = [
        Row(name, [Cell(fixed(found[name], 2)), Cell(fixed(floor.get(name), 2)), Cell(), _count(found.get("n"))])
        for name in ("precision", "recall", "density", "coverage")
        if name in found
    ]
    if diversity:
        rows.append(
            Row(
                "MS-SSIM within a set",
                [
                    *(Cell(fixed(diversity.get(name), 3)) for name in ("synthetic", "others", "real")),
                    _count(diversity.get("n_comparisons")),
                ],
            )
        )
    notes = [
        "Precision, density: whether synthetic images lie where real ones do. Recall, coverage: whether they lie "
        "everywhere there. MS-SSIM: how alike two random images of a set are; lower is more diverse, and only the real "
        "sets' values give it a scale. n: images of each set; of MS-SSIM, comparisons of two in each.",
    ]
    columns = [Column("synthetic"), Column("held-out"), Column("training"), Column("n")]
    return Table("Fidelity and diversity of the images", "Figure", columns, [Block("", rows)], notes) if rows else None


def _count(n: int | None) -> Cell:
    return Cell() if n is None else Cell(f"{n:,}")


def _figure(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def _error(value: float | None) -> tuple[str, ...]:
    return () if value is None else (f"\u00b1 {value:.1g}",)
