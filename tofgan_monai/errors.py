"""The errors that a user can act upon."""

from __future__ import annotations

from collections.abc import Sequence


class InputError(ValueError):
    """Error that lists all problems with the user's input; the command line prints them without a traceback.

    Args:
        problems: one line for each problem, which names the file, the value and the remedy.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class ChangedTrainingError(InputError):
    """Error: the output folder holds a training with another recipe or of another version, which cannot go on."""


class TrainingDivergedError(RuntimeError):
    """Error: a loss or a gradient became NaN or infinite; the last checkpoint was written before that."""


def unwrapped(error: BaseException) -> BaseException:
    """Returns the InputError that caused an error, or the error itself if no InputError did.

    MONAI wraps errors of its transforms into RuntimeErrors.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__cause__
    return error
