"""Describes problems that the inspection of a bundle finds, and shows values of the bundle safely in messages."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One problem in one file of a bundle; as text it is the line `FILE:LINE: WHAT: COULD`.

    Attributes:
        file: path of the file in the bundle.
        line: line number from 1; 0 for the file as a whole.
        what: the fault.
        could: the harm that the fault could do if the bundle ran, often with a remedy.
    """

    file: str
    line: int
    what: str
    could: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.what}: {self.could}"


def shown(value: object, width: int = 80) -> str:
    """Returns any value of a bundle as safe text for a message: one line of ASCII, at most `width` characters."""
    is_huge = isinstance(value, int) and value.bit_length() > 10_000  # Python refuses to print it
    text = "a number of more than ten thousand bits" if is_huge else ascii(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
