"""What is wrong with a file of a bundle, and where."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """A line of a file, what stands there, and what it could do if the bundle were run."""

    file: str
    line: int
    what: str
    could: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.what}: {self.could}"


def shown(value: object, width: int = 80) -> str:
    """A value in a message: on one line, ASCII, not too long. Names of files and code in it are a stranger's."""
    is_huge = isinstance(value, int) and value.bit_length() > 10_000  # Python itself refuses to write it
    text = "beyond ten thousand bits" if is_huge else ascii(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."
