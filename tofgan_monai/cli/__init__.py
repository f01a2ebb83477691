"""The command line: one verb for each step from a volume to a report."""

from __future__ import annotations

import logging
import sys
from itertools import groupby

import typer

from tofgan_monai.cli.app import app
from tofgan_monai.errors import InputError, TrainingDivergedError

# isort: off
from tofgan_monai.cli import volumes, networks, privacy, exchange, studies  # noqa: F401 - `tofgan --help` keeps this order
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Runs the command line; an error that the user can correct becomes lines on stderr and exit status 1.

    Verbs that are joined by a `+` run one after the other in the same process; the first one that fails ends the run.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for is_plus, words in groupby(sys.argv[1:], "+".__eq__):
            if not is_plus:
                _run_verb(list(words))
        if len(sys.argv) == 1:
            app()
    except (InputError, TrainingDivergedError) as error:
        problems = getattr(error, "problems", [str(error)])
        typer.echo("\n".join(f"error: {problem}" for problem in problems), err=True)
        sys.exit(1)


def _run_verb(words: list[str]) -> None:
    try:
        app(words)
    except SystemExit as end:  # typer ends every verb with this, also one that succeeds
        if end.code:
            raise
