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


class TrainingDivergedError(RuntimeError):
    """A loss became NaN or infinite; the last checkpoint is from before."""


def unwrapped(error: BaseException) -> BaseException:
    """The InputError within an error, if there is one: MONAI wraps what its transforms raise into RuntimeErrors."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__cause__
    return error
