"""Builds the tables of an audit's page: attacks, controls, canaries, copies and quality.

An attack tries to tell training patients (members) from held-out patients (non-members). A canary is a patient whose
pairs were repeated many times in the training, so that the network memorises this patient. A stack is a .npy file of
image-label pairs. FPR and TPR are the false and the true positive rate.
"""

from __future__ import annotations

from typing import Any

from tofgan_monai.report.tables import NONE, Cell, Row, Table, fixed, interval_cell, signed

ATTACKED = {"data": "the pairs", "generator": "the generator", "critic": "the critic", "network": "the network"}
CHANNELS = {"image": "images", "label": "label maps"}
UNITS = {"patient": "By patient", "patch": "By patch"}
RATES = {"0.1": "10%", "0.01": "1%"}
CAUGHT = {True: "detected", False: "missed", None: NONE}
QUANTITIES = {
    "median": "median",
    "q05": "5% quantile",
    "frechet": "Fr\u00e9chet distance",
    "distance": "cosine distance",
}

Attack = dict[str, Any]


def attack_table(attacks: list[Attack]) -> Table:
    """Table of each attack's AUC, true positive rates, advantage and epsilon, by patient and by patch."""
    rates = [f"TPR at {rate} FPR" for rate in RATES.values()]
    columns = ["AUC", *rates, "advantage", "\u03b5 at least", "members", "held-out"]
    return Table(
        "Attack",
        columns,
        {title: [_attack_row(a, unit) for a in attacks] for unit, title in UNITS.items()},
        is_wide=True,
    )


def _attack_row(attack: Attack, unit: str) -> Row:
    """Returns the row of one attack; `unit` is "patient" or "patch". Epsilon is shown by patient only."""
    risk = attack[unit]
    epsilon = Cell(fixed(risk["epsilon"], 2), (f"ceiling {fixed(risk['epsilon_ceiling'], 2)}",))
    cells = [
        interval_cell(risk["auc"], 2),
        *(_rate_cell(risk["tpr"].get(rate), rate) for rate in RATES),
        interval_cell(risk["advantage"], 2),
        epsilon if unit == "patient" else Cell(),
        _count(risk["n_members"]),
        _count(risk["n_non_members"]),
    ]
    return Row(attack["name"], cells, tag=f"on {ATTACKED[attack['release']]}")


def _rate_cell(interval: dict[str, Any] | None, rate: str) -> Cell:
    """Returns the cell of a true positive rate at the false positive rate `rate`.

    If there are too few held-out units for a rate, the cell says how many are needed.
    """
    if interval is None:
        return Cell("not estimable", (f"{round(10 / float(rate)):,} held-out needed",))
    return interval_cell(interval, 2)


def control_table(attacks: list[Attack]) -> Table:
    """Table of the AUC of each attack in its two controls, and of the difference to the second control.

    The control "members only" compares members with members. The control "strangers" uses pairs of other patients in
    place of the synthetic pairs. The columns "beyond strangers" show the attack's AUC minus the AUC of that control.
    """
    controls = {"member_only": "members only", "strangers": "strangers"}
    columns = [f"{words}, {unit}" for words in (*controls.values(), "beyond strangers") for unit in UNITS]
    rows = []
    for attack in attacks:
        found = [((attack.get(control) or {}).get(unit) or {}).get("auc") for control in controls for unit in UNITS]
        beyond = [(attack.get("excess") or {}).get(unit) for unit in UNITS]
        cells = [interval_cell(auc, 2) for auc in found] + [interval_cell(more, 2, signed) for more in beyond]
        rows.append(Row(attack["name"], cells))
    return Table("Attack", columns, {"": rows}, is_wide=True)


def planted_table(planted: dict[str, Any] | None) -> Table | None:
    """Table of whether each attack recognised the patient whose copies were planted; None if none were planted.

    The audit plants noisy copies of one training patient's pairs in the stack to test its attacks.
    """
    if not planted:
        return None
    rows = [
        Row(name, [interval_cell(one.get("auc"), 2), Cell(CAUGHT[one.get("caught")])])
        for name, one in planted["attacks"].items()
    ]
    return Table("Attack", ["AUC of that patient", "planted patient"], {"": rows})


def canary_table(canary: dict[str, Any] | None) -> Table | None:
    """Table of the rank of the canary patient in each training run with a canary; None without such a run."""
    if not canary or not canary.get("repeats"):
        return None
    rows = [
        Row(
            f"training {n}",
            [Cell(one["attack"]), Cell(f"{one['rank']} of {one['of']}"), Cell(CAUGHT[one["above_all"]])],
        )
        for n, one in enumerate(canary["repeats"], start=1)
    ]
    return Table("Training", ["by attack", "rank", "repeated patient"], {"": rows})


def copy_table(copies: dict[str, Any] | None, n: int | None) -> Table | None:
    """Table of the nearest-neighbour figures NNDR, MiFID and AuthPct of a synthetic stack; None if there are none.

    The columns compare the stack with the training patients' pairs and with the held-out patients' pairs.

    Args:
        copies: the part `copies` of audit.json.
        n: number of synthetic pairs in the stack.
    """
    if not copies:
        return None
    rows = []
    for channel, found in (copies.get("nndr") or {}).items():
        rows += _against_both(f"NNDR, {CHANNELS[channel]}", found, n)
    mifid = copies.get("mifid") or {}
    rows += _against_both("MiFID", mifid, mifid.get("n"))
    if copies.get("authenticity_pct") is not None:
        rows.append(Row("authenticity (AuthPct), %", [Cell(fixed(copies["authenticity_pct"], 1)), Cell(), _count(n)]))
    return Table("Figure", ["training patients", "held-out patients", "n"], {"": rows}) if rows else None


def _against_both(name: str, found: dict[str, dict[str, float]], n: int | None) -> list[Row]:
    """Returns the rows of one figure: its values against the training patients and against the held-out patients."""
    members, others = found.get("members") or {}, found.get("non_members") or {}
    return [
        Row(
            f"{name}, {QUANTITIES[key]}" if key in QUANTITIES else name,
            [_figure(value), _figure(others.get(key)), _count(n)],
        )
        for key, value in members.items()
    ]


def distance_table(quality: dict[str, Any]) -> Table | None:
    """Table of distances to the training pairs; None if no distance was measured.

    One column is for the synthetic pairs. The other is for the held-out patients' pairs: the floor, because nobody
    copied these patients.
    """
    if not quality.get("distances"):
        return None
    rows = [
        Row(
            one["name"],
            [
                _figure(one.get("value"), one.get("standard_error")),
                _figure(one.get("floor"), one.get("floor_standard_error")),
                _count(one["n"]),
            ],
        )
        for one in quality["distances"]
    ]
    return Table("Distance", ["synthetic", "floor: held-out", "n"], {"": rows})


def manifold_table(quality: dict[str, Any]) -> Table | None:
    """Table of precision, recall, density, coverage and diversity (MS-SSIM); None if none of them was measured.

    The columns are for the synthetic, the held-out and, for the diversity only, the training pairs.
    """
    found, diversity = quality.get("manifold") or {}, quality.get("diversity") or {}
    floor = found.get("floor") or {}
    rows = [
        Row(name, [Cell(fixed(found[name], 2)), Cell(fixed(floor.get(name), 2)), Cell(), _count(found.get("n"))])
        for name in ("precision", "recall", "density", "coverage")
        if name in found
    ]
    if diversity:
        values = [Cell(fixed(diversity.get(name))) for name in ("synthetic", "others", "real")]
        rows.append(Row("MS-SSIM within a set", [*values, _count(diversity.get("n_comparisons"))]))
    return Table("Figure", ["synthetic", "held-out", "training", "n"], {"": rows}) if rows else None


def _count(n: int | None) -> Cell:
    """Returns a cell with a whole number; a dash for None."""
    return Cell() if n is None else Cell(f"{n:,}")


def _figure(value: float | None, standard_error: float | None = None) -> Cell:
    """Returns a cell with a value of three digits and, below it, its standard error; a dash for None."""
    soft = () if standard_error is None else (f"\u00b1 {standard_error:.1g}",)
    return Cell(NONE if value is None else f"{value:.3g}", soft)
