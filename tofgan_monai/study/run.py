"""Runs Snakemake on the rules of a study, with a progress bar and with errors that tell the user what to do."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.files import held, require_writable, written_whole
from tofgan_monai.study import provenance
from tofgan_monai.study.plan import Settings

SNAKEFILE = Path(__file__).parent / "Snakefile"
_LOGGER = "snakemake.logging"


def run_study(
    settings: Settings, output: str | os.PathLike, *, cores: int, dry_run: bool = False, words: Sequence[str] = ()
) -> None:
    """Runs every step of a study whose result is missing or was made with other settings.

    If a step fails, the results of all other steps are kept.

    Args:
        settings: as `tofgan_monai.study.settings.read_settings` returns them.
        output: the folder of the study.
        cores: how many steps may run at the same time on this machine.
        dry_run: list the steps and run none.
        words: further options of Snakemake, such as `--executor slurm --jobs 16`.

    Raises:
        InputError: Snakemake is missing, another run uses the folder, steps failed, or the user stopped the study.
    """
    try:
        from snakemake.cli import args_to_api, parse_args
    except ImportError as error:
        raise InputError(f"a study needs Snakemake ({error}): pip install 'tofgan-monai[study]'") from error
    folder = Path(output).absolute()
    require_writable(folder)

    def snakemake(*options: str) -> bool:
        config = str(folder / "config.yaml")
        common = ["--snakefile", str(SNAKEFILE), "--directory", str(folder), "--configfile", config, "--nolock"]
        parser, args = parse_args([*common, *options])
        return args_to_api(args, parser)

    logging.getLogger(_LOGGER).propagate = False  # Snakemake adds a handler of its own
    with held(folder, "study"):  # Snakemake's own lock would outlive a killed process
        _write_if_new(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        if dry_run:
            snakemake("--dry-run", *words)
            return
        provenance.note(folder)
        if settings["gpus"] and not {"--executor", "--resources", "--profile"} & {*words}:
            words = [*words, "--resources", "gpu=1"]  # on one machine, only one step at a time uses the GPU
        with _watched() as watch:
            options = ["--quiet", "all", "--cores", str(cores), "--keep-going", "--rerun-incomplete"]
            is_whole = snakemake(*options, *words)
    if watch.is_stopped:
        raise InputError(f"{folder}: the study was stopped; the same command continues it")
    if watch.failures or not is_whole:
        raise InputError(watch.failures or watch.messages or [f"{folder}: Snakemake gave up; see .snakemake/log there"])


class _Watch(logging.Filter):
    """Receives every event of Snakemake, moves the bar and keeps the failures."""

    def __init__(self, bar: tqdm) -> None:
        super().__init__()
        self.bar = bar
        self.failures: list[str] = []
        self.messages: list[str] = []
        self.is_stopped = False

    def filter(self, record: Any) -> bool:
        event = str(getattr(record, "event", ""))
        if event == "progress":
            self.bar.total, self.bar.n = record.total, record.done
            self.bar.refresh()
        elif event == "job_info":
            self.bar.set_postfix_str(" ".join([record.rule_name, *record.wildcards.values()]))
        elif event == "job_error":
            self.failures.append(failure_line(record.rule_name, record.log, Path.cwd()))
        elif record.levelno >= logging.ERROR:
            self.messages.append(record.getMessage())
        return False

    def stop(self, *signal_and_frame: object) -> None:
        self.is_stopped = True
        raise KeyboardInterrupt  # Snakemake then ends its steps and reports a failure like any other


def failure_line(rule: str, logs: Sequence[str], folder: Path) -> str:
    """A sentence with the rule that failed, the last error in its log, and what to do."""
    log = folder / logs[0] if logs else folder / ".snakemake" / "log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)][-1:]
    what = "; ".join(told or raised or [line for line in lines if any(map(str.isalnum, line))][-1:])
    return (
        f"the rule {rule} failed: {what or 'it wrote nothing into its log'} (log: {log}); correct this and give the "
        "same command again: all other results are kept"
    )


@contextmanager
def _watched() -> Iterator[_Watch]:
    """Context with a watch that collects Snakemake's failures, moves a progress bar and handles Ctrl-C."""
    logger = logging.getLogger(_LOGGER)
    before = signal.getsignal(signal.SIGINT)
    with tqdm(desc="study", unit="step") as bar:
        watch = _Watch(bar)
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
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
