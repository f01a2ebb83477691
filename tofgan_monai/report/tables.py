"""Tables as data, which the HTML and the Markdown page draw in the same way, and functions that write numbers.

"The paper" is Kossen et al. 2021; its numbers stand beside ours in some tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

NONE, MINUS, TIMES = "\u2013", "\u2212", "\u00d7"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the number, or a dash.
        soft: lines below the number, such as its interval or its standard deviation.
        paper: the paper's number beside it; empty if there is none.
    """

    text: str = NONE
    soft: tuple[str, ...] = ()
    paper: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        label: text of the first column.
        cells: cells of all other columns.
        tag: remark beside the label; may be empty.
        is_baseline: True if the row is shown in italics, as a baseline.
    """

    label: str
    cells: list[Cell]
    tag: str = ""
    is_baseline: bool = False


@dataclass(frozen=True)
class Table:
    """The headings and cells of a table. The caption and the notes of the table are in the template.

    Attributes:
        first: heading of the first column, which holds the labels of the rows.
        columns: headings of all other columns.
        blocks: dict from subheading to the rows below it; the subheading may be empty.
        papers: dict from the heading of a column to the heading of the column on its right, which shows the paper's
            numbers.
        is_wide: True if the table needs much width; on a narrow screen it then keeps a least width and scrolls.
    """

    first: str
    columns: list[str]
    blocks: dict[str, list[Row]]
    papers: dict[str, str] = field(default_factory=dict)
    is_wide: bool = False

    @property
    def n_columns(self) -> int:
        """Number of all columns, including the column of labels and the columns with the paper's numbers."""
        return 1 + len(self.columns) + len(self.papers)


def fixed(value: float | None, digits: int = 3) -> str:
    """Writes a number with `digits` decimals; returns a dash for None and for NaN."""
    return NONE if value is None or value != value else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """Writes a difference with its sign, such as `+0.012`; the minus is the typographic one.

    A difference that rounds to zero has no sign.
    """
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def ends(interval: Mapping, digits: int = 3, write: Callable[[float, int], str] = fixed) -> str:
    """Writes the two ends of an interval (keys `low` and `high`), such as `0.57 to 0.91`."""
    return f"{write(interval['low'], digits)} to {write(interval['high'], digits)}"


def with_ends(interval: Mapping, digits: int = 3, write: Callable[[float, int], str] = fixed) -> str:
    """Writes a value and its interval (keys `value`, `low` and `high`), such as `0.74 (0.57 to 0.91)`."""
    return f"{write(interval['value'], digits)} ({ends(interval, digits, write)})"


def counted(n: int, noun: str, plural: str = "") -> str:
    """Writes a number with its noun, such as `1 patient` or `2,000 patients`; `plural` replaces the plural in -s."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def place_words(cohort: str, split: str) -> str:
    """Returns the heading for the scores of a cohort's split, such as `Cohort A, test patients`."""
    return f"Cohort {cohort}, {split} patients" if cohort else f"{split} patients".capitalize()


def p_value(p: float | None) -> str:
    """Writes a p value with three decimals, or as `<0.001`; returns a dash for None."""
    return NONE if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def interval_cell(interval: Mapping | None, digits: int = 3, write: Callable[[float, int], str] = fixed) -> Cell:
    """Returns a cell with a value and, if `interval` has the key `low`, the interval below it; a dash for None."""
    if interval is None:
        return Cell()
    return Cell(write(interval["value"], digits), (ends(interval, digits, write),) if "low" in interval else ())


def sd_words(sd: float | None, digits: int) -> tuple[str, ...]:
    """Returns the line of a cell that shows a standard deviation after a plus-minus sign; an empty tuple for None."""
    return () if sd is None else (f"\u00b1 {sd:.{digits}f}",)


def markdown_text(text: str) -> str:
    """Escapes the special characters of Markdown in a text and joins its lines to one line."""
    for letter, escaped in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("_", "\\_"), ("`", "\\`")):
        text = text.replace(letter, escaped)
    return " ".join(text.split())


def markdown_table(table: Table) -> str:
    """Writes a table in GitHub's Markdown, with the paper's numbers in square brackets and bold subheadings."""
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
    """Writes one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _in_brackets(cell: Cell) -> str:
    """Writes a cell for Markdown: its text, the lines below it in round brackets, the paper's number in square ones."""
    soft = f" ({'; '.join(cell.soft)})" if cell.soft else ""
    return f"{cell.text}{soft}" + (f" [{cell.paper}]" if cell.paper else "")
