"""Snakemake, run on the study's rules: a bar instead of its log, errors that a person can mend, one run at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import yaml
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.files import require_writable, written_whole
from tofgan_monai.study import provenance
from tofgan_monai.study.plan import Settings

SNAKEFILE = Path(__file__).parent / "Snakefile"
_LOGGER = "snakemake.logging"


def run_study(
    settings: Settings, output: str | os.PathLike, *, cores: int, dry_run: bool = False, words: Sequence[str] = ()
) -> None:
    """Makes whatever of a study is not there yet, or was made with other settings; a failing step leaves the others.

    Args:
        settings: see `tofgan_monai.study.settings`.
        output: the study's folder.
        cores: how many steps may run at once on this machine.
        dry_run: list the steps only.
        words: further options of Snakemake, such as `--executor slurm --jobs 16`.

    Raises:
        InputError: Snakemake is missing, the folder is in use, steps failed, or the study was stopped.
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

    logging.getLogger(_LOGGER).propagate = False  # it has a handler of its own
    with _alone(folder):
        _write_if_new(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        with redirect_stdout(StringIO()) as graph, _watched(shown=False):
            snakemake("--rulegraph", "--quiet", "all")
        _write_if_new(folder / "rules.dot", graph.getvalue())
        if dry_run:
            snakemake("--dry-run", *words)
            return
        provenance.note(folder)
        if settings["gpus"] and not {"--executor", "--resources", "--profile"} & {*words}:
            words = [*words, "--resources", "gpu=1"]  # this machine's steps take turns on its GPU
        with _watched() as watch:
            options = ["--quiet", "all", "--cores", str(cores), "--keep-going", "--rerun-incomplete"]
            is_whole = snakemake(*options, *words)
    if watch.is_stopped:
        raise InputError(f"{folder}: stopped; the same command goes on")
    if watch.failures or not is_whole:
        raise InputError(watch.failures or watch.messages or [f"{folder}: Snakemake gave up; see .snakemake/log there"])


class _Watch(logging.Filter):
    """Sees every event of Snakemake's: moves the bar, keeps what failed."""

    def __init__(self, bar: tqdm | None) -> None:
        super().__init__()
        self.bar = bar
        self.failures: list[str] = []
        self.messages: list[str] = []
        self.is_stopped = False

    def filter(self, record: logging.LogRecord) -> bool:
        event = str(getattr(record, "event", ""))
        if event == "progress" and self.bar is not None:
            self.bar.total, self.bar.n = record.total, record.done  # type: ignore[attr-defined]
            self.bar.refresh()
        elif event == "job_info" and self.bar is not None:
            self.bar.set_postfix_str(" ".join([record.rule_name, *record.wildcards.values()]))  # type: ignore[attr-defined]
        elif event == "job_error":
            self.failures.append(_failure(record.rule_name, record.log, Path.cwd()))  # type: ignore[attr-defined]
        elif "user request" in record.getMessage():  # Ctrl-C
            self.is_stopped = True
        elif record.levelno >= logging.ERROR:
            self.messages.append(record.getMessage())
        return False


def _failure(rule: str, logs: Sequence[str], folder: Path) -> str:
    """The rule, what its log says last, and what to do."""
    log = folder / logs[0] if logs else folder / ".snakemake" / "log"
    said = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    told = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    raised = [line for line in said if re.match(r"[\w.]+(Error|Exception): ", line)][-1:]
    what = "; ".join(told or raised or [line for line in said if any(map(str.isalnum, line))][-1:])
    return (
        f"the rule {rule} failed: {what or 'it wrote nothing into its log'} (log: {log}); mend that and give the same "
        "command again: all other results are kept"
    )


@contextmanager
def _watched(*, shown: bool = True) -> Iterator[_Watch]:
    logger = logging.getLogger(_LOGGER)
    with tqdm(desc="study", unit="step", disable=not shown) as bar:
        watch = _Watch(bar if shown else None)
        logger.addFilter(watch)
        try:
            yield watch
        finally:
            logger.removeFilter(watch)
            logger.handlers.clear()  # Snakemake adds one at each call


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One run at a time; unlike Snakemake's own lock it ends with the process, however that ends."""
    with open(folder / ".lock", "w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another `tofgan study` is at work here; wait for it, or choose another --output"
            ) from error
        yield


def _write_if_new(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
