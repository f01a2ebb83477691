"""Tables as data: the HTML page and its Markdown twin draw the same cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

NONE, MINUS, TIMES = "\u2013", "\u2212", "\u00d7"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: a figure, its interval or standard deviation below it, and the paper's figure beside it."""

    text: str = NONE
    soft: tuple[str, ...] = ()
    paper: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table. `tag` is a remark beside its label; a baseline is set in italics."""

    label: str
    cells: list[Cell]
    tag: str = ""
    is_baseline: bool = False


@dataclass(frozen=True)
class Table:
    """The headings and cells of a table; its caption and its notes stand in the template.

    Attributes:
        first: heading of the column of labels.
        columns: headings of all other columns.
        blocks: the rows under each subheading; the subheading may be empty.
        papers: headings of the columns with the paper's figures, by the heading of the column on their left.
        is_wide: True if the table scrolls in a box of its own on a narrow screen.
    """

    first: str
    columns: list[str]
    blocks: dict[str, list[Row]]
    papers: dict[str, str] = field(default_factory=dict)
    is_wide: bool = False

    @property
    def n_columns(self) -> int:
        """The number of all columns, with those of the labels and of the paper's figures."""
        return 1 + len(self.columns) + len(self.papers)


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with this many decimals; a dash for None and for NaN."""
    return NONE if value is None or value != value else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign, as a true minus where it is negative; no sign where it rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def ends(interval: Mapping, digits: int = 3, write: Callable[[float, int], str] = fixed) -> str:
    """The two ends of an interval: `0.57 to 0.91`."""
    return f"{write(interval['low'], digits)} to {write(interval['high'], digits)}"


def with_ends(interval: Mapping, digits: int = 3, write: Callable[[float, int], str] = fixed) -> str:
    """A value and its interval: `0.74 (0.57 to 0.91)`."""
    return f"{write(interval['value'], digits)} ({ends(interval, digits, write)})"


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number and its noun: `1 patient`, `2,000 patients`."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def place_words(cohort: str, split: str) -> str:
    """The heading of a cohort's scores: `Cohort A, test patients`."""
    return f"Cohort {cohort}, {split} patients" if cohort else f"{split} patients".capitalize()


def p_value(p: float | None) -> str:
    """A p value with three decimals, or `<0.001`; a dash for None."""
    return NONE if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def interval_cell(interval: Mapping | None, digits: int = 3, write: Callable[[float, int], str] = fixed) -> Cell:
    """A cell with a value and, below it, its interval if there is one; a dash for None."""
    if interval is None:
        return Cell()
    return Cell(write(interval["value"], digits), (ends(interval, digits, write),) if "low" in interval else ())


def sd_words(sd: float | None, digits: int) -> tuple[str, ...]:
    """A standard deviation for a cell; empty for None."""
    return () if sd is None else (f"\u00b1 {sd:.{digits}f}",)


def markdown_text(text: str) -> str:
    """Text with Markdown's special characters escaped, in one line."""
    for letter, escaped in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("_", "\\_"), ("`", "\\`")):
        text = text.replace(letter, escaped)
    return " ".join(text.split())


def markdown_table(table: Table) -> str:
    """The table in GitHub's Markdown: the paper's figures in square brackets, subheadings as bold rows."""
    papers = {title: f" [{paper}]" for title, paper in table.papers.items()}
    titles = [table.first, *(title + papers.get(title, "") for title in table.columns)]
    lines = [_line(map(markdown_text, titles)), _line(["---", *["--:"] * len(table.columns)])]
    for title, rows in table.blocks.items():
        if title:
            lines.append(_line([f"**{markdown_text(title)}**", *[""] * len(table.columns)]))
        for row in rows:
            label = f"{row.label}, {row.tag}" if row.tag else row.label
            lines.append(_line(markdown_text(text) for text in (label, *map(_in_brackets, row.cells))))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _in_brackets(cell: Cell) -> str:
    soft = f" ({'; '.join(cell.soft)})" if cell.soft else ""
    return f"{cell.text}{soft}" + (f" [{cell.paper}]" if cell.paper else "")
