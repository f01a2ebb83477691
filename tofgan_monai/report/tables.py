"""Tables as data: the page and its Markdown are two drawings of the same cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

NONE, MINUS, TIMES = "\u2013", "\u2212", "\u00d7"


@dataclass(frozen=True)
class Cell:
    """A figure, what qualifies it (an interval, a standard deviation), and the paper's figure beside it."""

    text: str = NONE
    soft: tuple[str, ...] = ()
    paper: str = ""


@dataclass(frozen=True)
class Column:
    """A heading; `paper` heads the narrower column of the paper's figures, if there is one."""

    title: str
    paper: str = ""


@dataclass(frozen=True)
class Row:
    """A line of the table; `tag` is a remark on its label."""

    label: str
    cells: list[Cell]
    tag: str = ""
    is_baseline: bool = False


@dataclass(frozen=True)
class Block:
    """Rows under a heading of their own, or under none."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Table:
    """A table with its caption above it and its notes below.

    Attributes:
        caption: what it shows.
        first: the heading of the labels.
        columns: all other columns.
        blocks: the rows.
        notes: what a reader has to know about the figures.
        is_wide: whether it scrolls in its own box on a narrow screen.
    """

    caption: str
    first: str
    columns: list[Column]
    blocks: list[Block]
    notes: list[str] = field(default_factory=list)
    is_wide: bool = False

    @property
    def n_columns(self) -> int:
        """All columns, the labels' and the paper's too."""
        return 1 + sum(2 if column.paper else 1 for column in self.columns)


def fixed(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals; a dash for None or NaN."""
    return NONE if value is None or value != value else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """A difference, with its sign; a true minus, and no sign on what rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def between(low: float, high: float, digits: int = 3, *, is_difference: bool = False) -> str:
    """An interval in words."""
    write = signed if is_difference else fixed
    return f"{write(low, digits)} to {write(high, digits)}"


def p_value(p: float | None) -> str:
    """Three decimals, or that it is below them."""
    return NONE if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def markdown_text(text: str) -> str:
    """Text that Markdown and its tables leave as it is."""
    for letter, written in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("_", "\\_"), ("`", "\\`")):
        text = text.replace(letter, written)
    return " ".join(text.split())


def markdown_table(table: Table) -> str:
    """The table as GitHub draws it; the paper's figures in brackets, block headings as bold rows."""
    titles = [table.first, *(f"{c.title} [{c.paper}]" if c.paper else c.title for c in table.columns)]
    lines = [_line(map(markdown_text, titles)), _line(["---", *["--:"] * len(table.columns)])]
    for block in table.blocks:
        if block.title:
            lines.append(_line([f"**{markdown_text(block.title)}**", *[""] * len(table.columns)]))
        for row in block.rows:
            label = f"{row.label}, {row.tag}" if row.tag else row.label
            lines.append(_line([markdown_text(label), *(markdown_text(_in_brackets(cell)) for cell in row.cells)]))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _in_brackets(cell: Cell) -> str:
    soft = f" ({'; '.join(cell.soft)})" if cell.soft else ""
    return f"{cell.text}{soft}" + (f" [{cell.paper}]" if cell.paper else "")
