"""The command line `tofgan`. It has one verb (subcommand) for each step from a volume to a report."""

from __future__ import annotations

import logging
import sys
from itertools import groupby

import typer

from tofgan_monai.cli.app import app
from tofgan_monai.errors import InputError, TrainingDivergedError

# isort: off
from tofgan_monai.cli import volumes, networks, privacy, exchange, sharing, studies, doctor  # noqa: F401 - `tofgan --help` keeps this order
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Runs the verbs that the command line names.

    InputError and TrainingDivergedError are not shown as tracebacks: their messages go to stderr and the exit status is
    1. A + between two verbs runs both in the same process, one after the other; if a verb fails, the later ones do not
    run.
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
    """Runs one verb with its options; returns if the verb succeeds and raises SystemExit if typer ends it otherwise."""
    try:
        app(words)
    except SystemExit as end:  # typer raises SystemExit after every verb, with code 0 after success
        if end.code:
            raise
