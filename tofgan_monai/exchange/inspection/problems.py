"""A problem in a file of a bundle: where it is, what stands there, and what it could do."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One problem of a file.

    Attributes:
        file: path in the bundle.
        line: line number from 1; 0 for the file as a whole.
        what: what stands there.
        could: what it could do if the bundle ran, and the remedy.
    """

    file: str
    line: int
    what: str
    could: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.what}: {self.could}"


def shown(value: object, width: int = 80) -> str:
    """A value, which may be a stranger's, as text for a message: one line of ASCII, at most `width` characters."""
    is_huge = isinstance(value, int) and value.bit_length() > 10_000  # Python refuses to print it
    text = "beyond ten thousand bits" if is_huge else ascii(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
