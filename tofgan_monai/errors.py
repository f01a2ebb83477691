"""Exceptions whose cause the user can remove."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """Exception that lists all problems with the user's input; the command line prints the list without a traceback.

    Args:
        problems: one line for each problem; a line names the file, the value and the remedy.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class ChangedTrainingError(InputError):
    """Exception for an output folder that holds a training run with another recipe or of another program version.

    The program cannot continue such a training run.
    """


class TrainingDivergedError(RuntimeError):
    """Exception for a loss or a gradient that became NaN or infinite; the last checkpoint holds the state before."""


def unwrapped(error: BaseException) -> BaseException:
    """Returns the InputError that caused an exception, or the exception itself if no InputError caused it.

    MONAI wraps the exceptions of its transforms into RuntimeErrors.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__cause__
    return error
