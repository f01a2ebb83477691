"""Tables 1 and 2 in the paper's form, the paired comparisons, the choices made on validation patients, the costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tofgan_monai.report import paper
from tofgan_monai.report.tables import (
    MINUS,
    NONE,
    TIMES,
    Block,
    Cell,
    Column,
    Row,
    Table,
    between,
    fixed,
    p_value,
    signed,
)
from tofgan_monai.segmentation.results import Line
from tofgan_monai.study import plan as study
from tofgan_monai.study.data import BASELINES, Scores, StudyResults

PROCEDURAL = study.PROCEDURAL
CHOSEN = "chosen on validation"
ARMS = {"scratch": "from scratch", "pretrained": "pre-trained", PROCEDURAL: "pre-trained on procedural pairs"}
BASELINE_WORDS = {
    "validation": "single threshold of validation patients",
    None: "single threshold of the test patients",
}
THRESHOLDS = {
    "validation": ("Best single threshold, chosen on validation patients", ""),
    None: ("Best single threshold, chosen on the test patients", "flatters it"),
}
INTERVALS = "95% intervals are percentile bootstrap intervals over patients, after averaging each patient over seeds."


def table_1(results: StudyResults) -> Table | None:
    """Frechet distances of the stacks to the real one."""
    lines = {line["stack"]: line for line in results.others.get("table1", [])}
    if not lines:
        return None
    names = [*study.synthetic_sets(results.settings), "others"]
    n_others = patients(results.n_patients("A")[1])
    words = {
        PROCEDURAL: "procedural, made without patients",
        "others": f"real pairs of {n_others} of validation: the floor",
    }
    rows = [
        Row(
            words.get(name, name),
            [Cell(fixed(lines[name]["value"], 2), _ends(lines[name], 2), _published(paper.FID.get(name), 2))],
            tag=CHOSEN if name == results.best_gan else "",
            is_baseline=name == "others",
        )
        for name in names
        if name in lines
    ]
    first = next(iter(lines.values()))
    measure, n = first["measure"], first["n"]
    notes = [
        f"Fréchet distance to the real training pairs of site A, {n:,} images against {n:,}; lower is closer. Its bias "
        "falls with the number of images: compare equal numbers only."
    ]
    if measure == "FID":
        notes.append(f"The paper's FID is of {paper.FID_N:,} against {paper.FID_N:,} pairs of PEGASUS.")
    else:
        notes.append(
            f"{measure} is no FID: another network made the features, on another scale. Its values cannot be compared "
            f"with the paper's (Inception-v3, {paper.FID_N:,} against {paper.FID_N:,} pairs), only their order can."
        )
    if "low" in first:
        notes.append(
            f"Below it the 95% interval over the {patients(first['n_patients'])} of the real pairs, by the jackknife; "
            "each stack was drawn once, of a GAN trained once, and the intervals say nothing of that."
        )
    differences = "; ".join(
        f"{line['first']} {MINUS} {line['second']}: {signed(line['value'], 2)} "
        f"({between(line['low'], line['high'], 2, is_difference=True)})"
        for line in results.lines("comparison", about="distance")
    )
    if differences:
        notes.append(f"Paired by patient: {differences}.")
    columns = [Column(f"{measure}, n = {n:,}", "paper's FID")]
    return Table("Table 1. How close synthetic pairs are to real ones", "Pairs", columns, [Block("", rows)], notes)


def table_2(results: StudyResults) -> Table | None:
    """DSC and 95HD of U-Nets by what they were trained on, in the paper's blocks."""
    synthetic = study.synthetic_sets(results.settings)
    blocks = [
        ("Real pairs, and no network at all, on site A", "A", ["real"], True),
        ("Real and synthetic pairs (augmentation), on site A", "A", [f"real+{name}" for name in synthetic], False),
        ("Synthetic pairs alone (anonymisation), on site A", "A", synthetic, False),
        ("The same on site B; real pairs of site A for comparison", "B", [*synthetic, "real"], True),
    ]
    made = []
    for title, site, names, with_thresholds in blocks:
        rows = [
            _score_row(set_label(name), results, (name, site), _tag(results, name))
            for name in names
            if (name, site, "test") in results.table2
        ]
        if with_thresholds:
            rows += [
                _score_row(label, results, (chosen_on, site), tag)
                for chosen_on, (label, tag) in THRESHOLDS.items()
                if (chosen_on, site) in results.thresholds
            ]
        if rows:
            made.append(Block(title, rows))
    if not made:
        return None
    columns = [
        Column("DSC, val.", "paper"),
        Column("DSC, test", "paper"),
        Column("DSC, small"),
        Column("DSC, large"),
        Column("95HD mm, val.", "paper"),
        Column("95HD mm, test", "paper"),
        Column("n"),
        Column("empty"),
    ]
    notes = [
        "Each patient's whole volume is scored and averaged over seeds; then the mean over patients, below it its 95% "
        "bootstrap interval and ± the standard deviation over patients. Small and large: test DSC of the vessels below "
        f"1.5 mm in diameter and of the others. n: test patients {TIMES} seeds. Empty: how many of these n "
        "volumes hold no vessel in prediction or label; they count, with DSC 0 and the volume's diagonal as 95HD.",
        "The paper's columns are its Table 2: real patients, full scale, another 95HD. Compare the order of "
        "rows, not values.",
    ]
    if results.best_gan:
        notes.append(
            f"{results.best_gan} was chosen: of the GANs' pairs alone none has a higher validation DSC, over all seeds."
        )
    return Table(
        "Table 2. Segmentation by what the U-Net was trained on", "Trained on", columns, made, notes, is_wide=True
    )


def comparisons(results: StudyResults) -> Table | None:
    """Paired differences over the same test patients."""
    blocks = [Block(title, rows) for title, rows in _comparison_blocks(results) if rows]
    if not blocks:
        return None
    columns = [
        Column("DSC"),
        Column("p"),
        Column("DSC, over all levels"),
        Column("95HD mm"),
        Column("p"),
        Column("n"),
    ]
    n_tests = 2 * sum(len(block.rows) for block in blocks)
    notes = [
        f"First minus second, each patient averaged over seeds and draws. {INTERVALS} p: Wilcoxon's signed-rank test, "
        f"two-sided. The {n_tests} p values are not corrected for multiplicity; none of them is confirmatory.",
        "Over all levels: the interval with draws of training patients, seeds and test patients each drawn anew. "
        "It says nothing of a level with one member; with very few members it is too narrow.",
    ]
    return Table("Paired comparisons", "Difference", columns, blocks, notes, is_wide=True)


def _comparison_blocks(results: StudyResults) -> Iterator[tuple[str, list[Row]]]:
    best = results.best_gan
    titles = {
        ("real", "A"): "Against real pairs alone, on site A's test patients",
        ("real", "B"): "Against real pairs of site A alone, on site B's test patients",
        ("GANs", "A"): f"The chosen GAN, {best}, against the other GANs, on site A's test patients",
        (
            study.PROCEDURAL,
            "A",
        ): f"The chosen GAN, {best}, against the procedural pairs that need no patient, on site A",
        (study.PROCEDURAL, "B"): "The same on site B",
    }
    for (about, site), title in titles.items():
        yield title, _differences(results, _set_words(results), about=about, cohort=site)
    words = {**ARMS, "pretrained": f"pre-trained on {best}" if best else ARMS["pretrained"]}
    words[study.PROCEDURAL] = "pre-trained on procedural"
    for k in results.counts:
        yield (
            f"Transfer to site B, {patients(k)} in training",
            _differences(results, words, about="transfer", n_training=k),
        )


def _set_words(results: StudyResults) -> dict[str, str]:
    thresholds = {model: BASELINE_WORDS[chosen_on] for chosen_on, model in BASELINES.items()}
    return {**{name: set_label(name) for name in study.training_sets(results.settings)}, **thresholds}


def _differences(results: StudyResults, words: dict[str, str], **wanted: Any) -> list[Row]:
    """A row for each pair that was compared: DSC and 95HD."""
    lines = results.lines("comparison", **wanted)
    pairs = dict.fromkeys((line["first"], line["second"]) for line in lines)
    by_score = {(line["first"], line["second"], line["measure"]): line for line in lines}
    rows = []
    for first, second in pairs:
        dsc, hd95 = (by_score[first, second, score] for score in ("dsc", "hd95_mm"))
        levels = dsc.get("all_levels", {"draws": 0, "seeds": 0})
        cells = [
            Cell(signed(dsc["value"]), _ends(dsc, is_difference=True)),
            Cell(p_value(dsc["p"])),
            Cell(_ends(levels, is_difference=True)[0]) if levels["draws"] * levels["seeds"] > 1 else Cell(),
            Cell(signed(hd95["value"], 2), _ends(hd95, 2, is_difference=True)),
            Cell(p_value(hd95["p"])),
            Cell(str(dsc["n"])),
        ]
        label = f"{words.get(first, first)} {MINUS} {words.get(second, second)}"
        rows.append(Row(label, cells, _tag(results, first) if wanted["about"] == "real" else ""))
    return rows


def _ends(line: Line, digits: int = 3, *, is_difference: bool = False) -> tuple[str, ...]:
    """The interval's ends in words; empty where the line has none."""
    return (between(line["low"], line["high"], digits, is_difference=is_difference),) if "low" in line else ()


def _score_row(label: str, results: StudyResults, key: tuple[str | None, str], tag: str) -> Row:
    name, site = key
    is_threshold = key in results.thresholds
    test = results.thresholds[key] if is_threshold else results.table2[name, site, "test"]
    validation = None if is_threshold else results.table2.get((name, site, "validation"))
    published = paper.TABLE_2.get((str(name), site))
    model, of = (BASELINES[name], "threshold") if is_threshold else (name, "table2")
    intervals = {line["measure"]: line for line in results.lines("interval", of=of, model=model, cohort=site)}
    cells = [
        Cell(_mean(validation, "dsc"), paper=_published(published and published.dsc_validation)),
        _test_cell(test, "dsc", intervals, 3, _published(published and published.dsc_test)),
        Cell(_mean(test, "dsc_small")),
        Cell(_mean(test, "dsc_large")),
        Cell(_mean(validation, "hd95_mm", 2), paper=_published(published and published.hd95_mm_validation)),
        _test_cell(test, "hd95_mm", intervals, 2, _published(published and published.hd95_mm_test)),
        Cell(f"{len(test.patients)} {TIMES} {test.n_runs}" if not is_threshold else str(len(test.patients))),
        Cell(str(test.n_empty)),
    ]
    return Row(label, cells, tag, is_baseline=is_threshold)


def _test_cell(scores: Scores, score: str, intervals: dict[str, Line], digits: int, published: str) -> Cell:
    """The mean over the test patients, the interval that a line gives for it, and the standard deviation."""
    sd, interval = scores.sd(score), intervals.get(score)
    soft = [*_ends(interval, digits)] if interval and interval["n"] > 1 else []
    soft += [f"± {sd:.{digits}f}"] if sd is not None else []
    return Cell(fixed(scores.mean(score), digits), tuple(soft), published)


def _mean(scores: Scores | None, score: str, digits: int = 3) -> str:
    return NONE if scores is None else fixed(scores.mean(score), digits)


def _published(value: float | None, digits: int = 2) -> str:
    return "" if value is None else fixed(value, digits)


def _tag(results: StudyResults, name: str) -> str:
    return CHOSEN if results.best_gan and results.best_gan == name else ""


def set_label(name: str) -> str:
    """A training set's name in a table."""
    return name.replace("+", " + ")


def patients(k: int) -> str:
    """A number of patients in words."""
    return f"{k} patient" + ("" if k == 1 else "s")
