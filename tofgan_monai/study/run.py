"""Runs Snakemake on the rules of a study or a synthesis, shows progress and reports failed steps as InputError."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.files import held, require_writable, write_whole
from tofgan_monai.study import provenance
from tofgan_monai.study.plan import Settings

SNAKEFILE = Path(__file__).parent / "Snakefile"
_LOGGER = "snakemake.logging"


def run_study(
    settings: Settings,
    output: str | os.PathLike,
    *,
    cores: int,
    dry_run: bool = False,
    words: Sequence[str] = (),
    snakefile: Path = SNAKEFILE,
    work: str = "study",
) -> None:
    """Runs each step of a study or a synthesis if its result is missing or was made with other settings.

    If a step fails, the results of all other steps are kept.

    Args:
        settings: the settings that `tofgan_monai.study.settings.read_settings` returned.
        output: the folder of the study.
        cores: number of CPU cores that steps may use at the same time on this machine.
        dry_run: True lists the steps and runs none of them.
        words: further options for Snakemake, such as `--executor slurm --jobs 16`.
        snakefile: the file with the rules.
        work: what is run, for messages: "study" or "synthesis".

    Raises:
        InputError: Snakemake is not installed, another run uses the folder, steps failed, or the user stopped the
            run.
    """
    require_snakemake(work)
    from snakemake.cli import args_to_api, parse_args

    folder = Path(output).absolute()
    require_writable(folder)

    def snakemake(*options: str) -> bool:
        """Runs Snakemake with these options in the study's folder; returns whether it succeeded."""
        config = str(folder / "config.yaml")
        common = ["--snakefile", str(snakefile), "--directory", str(folder), "--configfile", config, "--nolock"]
        parser, args = parse_args([*common, *options])
        return args_to_api(args, parser)

    logging.getLogger(_LOGGER).propagate = False  # Snakemake adds a handler of its own
    with held(folder, work):  # Snakemake's own lock would outlive a killed process
        _write_if_new(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        if dry_run:
            snakemake("--dry-run", *words)
            return
        provenance.note(folder)
        if settings["gpus"] and not {"--executor", "--resources", "--profile"} & {*words}:
            words = [*words, "--resources", "gpu=1"]  # on one machine, only one step at a time uses the GPU
        with _watched(work) as watch:
            options = ["--quiet", "all", "--cores", str(cores), "--keep-going", "--rerun-incomplete"]
            is_whole = snakemake(*options, *words)
    if watch.is_stopped:
        raise InputError(f"{folder}: the {work} was stopped; run the same command to continue it")
    if watch.failures or not is_whole:
        raise InputError(
            watch.failures or watch.messages or [f"{folder}: Snakemake failed; see {folder}/.snakemake/log"]
        )


def require_snakemake(work: str) -> None:
    """Raises InputError if Snakemake cannot be imported; `work` is what needs it, for the message."""
    try:
        import snakemake.cli  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"a {work} needs Snakemake, which cannot be imported ({error}); run pip install 'tofgan-monai[study]'"
        ) from error


def verbs_of(shell_command: str) -> list[str]:
    """Returns the `tofgan` commands in a step's shell command, as a user would type them; empty if there are none."""
    tofgan = f"{shlex.quote(sys.executable)} -m tofgan_monai "
    parts = [re.split(" &>>? ", part)[0] for part in shell_command.split(" && ")]
    runs = [part.removeprefix(tofgan) for part in parts if part.startswith(tofgan)]
    return [f"tofgan {words.strip()}" for run in runs for words in run.split(" + ")]


class _Watch(logging.Filter):
    """Logging filter that receives every event of Snakemake, updates the progress bar and collects failures.

    Attributes:
        bar: the progress bar; it counts steps.
        shows_verbs: whether the commands of a step are shown when it begins.
        failures: a sentence for each failed step.
        messages: Snakemake's own error messages.
        is_stopped: True after Ctrl-C.
    """

    def __init__(self, bar: tqdm, *, shows_verbs: bool) -> None:
        super().__init__()
        self.bar = bar
        self.shows_verbs = shows_verbs
        self.failures: list[str] = []
        self.messages: list[str] = []
        self.is_stopped = False

    def filter(self, record: Any) -> bool:
        """Handles one event; returns False, so that Snakemake's own output is not shown."""
        event = str(getattr(record, "event", ""))
        if event == "progress":
            self.bar.total, self.bar.n = record.total, record.done
            self.bar.refresh()
        elif event == "job_info":
            self.bar.set_postfix_str(" ".join([record.rule_name, *record.wildcards.values()]))
            for command in verbs_of(record.shellcmd or "") if self.shows_verbs else ():
                self.bar.write(command, file=sys.stderr)
        elif event == "job_error":
            self.failures.append(failure_line(record.rule_name, record.log, Path.cwd()))
        elif record.levelno >= logging.ERROR:
            self.messages.append(record.getMessage())
        return False

    def stop(self, *signal_and_frame: object) -> None:
        """Handles Ctrl-C: marks the run as stopped and raises KeyboardInterrupt, which Snakemake handles.

        A second Ctrl-C has no effect: it would break off Snakemake while it ends its steps.
        """
        if not self.is_stopped:
            self.is_stopped = True
            raise KeyboardInterrupt  # Snakemake then ends its steps and reports a failure like any other


def failure_line(rule: str, logs: Sequence[str], folder: Path) -> str:
    """Returns a sentence that names the failed rule, the error in its log file, and what the user can do.

    Args:
        rule: name of the rule.
        logs: paths of the rule's log files, relative to `folder`; may be empty.
        folder: folder of the study.
    """
    log = folder / logs[0] if logs else folder / ".snakemake" / "log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)][-1:]
    what = "; ".join(told or raised or [line for line in lines if any(map(str.isalnum, line))][-1:])
    return (
        f"the rule {rule} failed: {what or 'it wrote nothing into its log'} (log: {log}); correct this and run the "
        "same command again, which keeps all other results"
    )


@contextmanager
def _watched(work: str) -> Iterator[_Watch]:
    """Context manager that collects Snakemake's failures, shows a progress bar and handles Ctrl-C while it is open.

    A synthesis has few steps, so the commands of each step are shown; a study has hundreds.
    """
    logger = logging.getLogger(_LOGGER)
    before = signal.getsignal(signal.SIGINT)
    with tqdm(desc=work, unit="step") as bar:
        watch = _Watch(bar, shows_verbs=work != "study")
        logger.addFilter(watch)
        if before is signal.default_int_handler:  # elsewhere the signal is ignored, or somebody else's
            signal.signal(signal.SIGINT, watch.stop)
        try:
            yield watch
        finally:
            signal.signal(signal.SIGINT, before)
            logger.removeFilter(watch)
            logger.handlers.clear()  # Snakemake adds one at each call


def _write_if_new(path: Path, text: str) -> None:
    """Writes a text to a file, unless the file already holds this text."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text)
