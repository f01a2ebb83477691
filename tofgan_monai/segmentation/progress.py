"""Runs over the patients of a cohort that go on with the next patient after they were stopped."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.volumes.cohort import FILES
from tofgan_monai.volumes.digests import content_digest

_logger = logging.getLogger(__name__)
_NAME = "unfinished.jsonl"


class Progress(Sequence):
    """The items of a cohort that a stopped run has left to do; also the ignite handler that records what is done.

    The record `unfinished.jsonl` stands in the output folder as long as the run is unfinished. Its first line holds the
    run's settings and every other line one patient's files, by their digests, and figures. It names nobody.

    Args:
        items: of a cohort; the run takes them one after the other, in this order.
        output_dir: the folder of the run's output.
        settings: all that decides the output, such as the digest of the weights; plain values by name.
        restart: begin with the first patient, whatever an earlier run has left.

    Raises:
        InputError: a stopped run had other settings or other patients.
    """

    def __init__(
        self,
        items: Sequence[Mapping[str, Any]],
        output_dir: str | os.PathLike,
        *,
        settings: Mapping[str, Any],
        restart: bool = False,
    ) -> None:
        self.items = items
        self.path = Path(output_dir) / _NAME
        self.settings = json.loads(json.dumps({**settings, "patients": len(items)}))
        self.done: list[dict[str, Any]] = [] if restart else self._done_before()
        if self.done:
            _logger.info("%s: %d of %d patients are done; going on", self.path.parent, len(self.done), len(items))
        self.first = min(len(self.done), len(items) - 1)  # the last one again, if all are done: a run needs one
        self.done = self.done[: self.first]

    def __len__(self) -> int:
        return len(self.items) - self.first

    def __getitem__(self, index: Any) -> Any:
        return self.items[self.first :][index]

    def attach(self, engine: Engine) -> None:
        """Adds the handler to an evaluator whose patients have no figures."""
        engine.add_event_handler(Events.STARTED, lambda: self.start())
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self.add({}))
        engine.add_event_handler(Events.COMPLETED, lambda: self.finish())

    def start(self) -> None:
        """Writes the record with the patients that are done, whole or not at all."""
        with written_whole(self.path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in [self.settings, *self.done]), "utf-8")

    def add(self, figures: Mapping[str, Any]) -> None:
        """Records that the next patient is done, with its figures."""
        item = self.items[len(self.done)]
        self.done.append({"files": _digests(item), "figures": dict(figures)})
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(self.done[-1]) + "\n")

    def finish(self) -> None:
        """Deletes the record, as the run is complete; the next run begins anew."""
        self.path.unlink(missing_ok=True)
        self.done, self.first = [], 0

    def _done_before(self) -> list[dict[str, Any]]:
        """The lines of a stopped run; a last line that was cut off is left out."""
        lines: list[dict[str, Any]] = []
        with suppress(FileNotFoundError, ValueError):
            lines.extend(map(json.loads, self.path.read_text("utf-8").splitlines()))
        if not lines:
            return []
        before, *done = lines
        remedy = "choose another output folder, or begin anew with --restart"
        if before != self.settings:
            differ = [name for name in self.settings | before if before.get(name) != self.settings.get(name)]
            told = ", ".join(f"{name} {before.get(name)}, not {self.settings.get(name)}" for name in differ)
            raise InputError(f"{self.path.parent}: holds a run that was stopped and had {told}; {remedy}")
        for line, item in zip(done, self.items, strict=False):
            if line["files"] != _digests(item):
                changed = f"{item.get('subject', item['image'])}: its files have changed since the run was stopped"
                raise InputError(f"{changed} of which {self.path} tells; {remedy}")
        return done


def _digests(item: Mapping[str, Any]) -> dict[str, Any]:
    digests = {key: content_digest(item[key]) for key in FILES if item.get(key)}
    return digests | {"label_values": item.get("label_values")}
