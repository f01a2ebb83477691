"""The one error for input that a person can mend."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """Everything that is wrong with what the user gave: the command line prints it without a traceback.

    Args:
        problems: one line each, naming the file, the value and the remedy.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
