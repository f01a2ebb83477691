"""The record of a run over the scans of a cohort, so that a stopped run can continue with the others.

An item is the entry of one scan in cohort.json. The record is the file `unfinished.jsonl` in the output folder.
"""

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
from tofgan_monai.files import write_json_lines
from tofgan_monai.volumes.cohort import FILES
from tofgan_monai.volumes.digests import content_digest
from tofgan_monai.volumes.writing import label_file

_logger = logging.getLogger(__name__)
_NAME = "unfinished.jsonl"


class Progress(Sequence):
    """Sequence of the items that a run must still process; also the ignite handler that records processed items.

    The record `unfinished.jsonl` is in the output folder until the run is complete. The first line of the record holds
    the settings of the run. Each further line holds the digests of one scan's files and the scan's figures (scores).
    The record contains no names.

    A run without figures writes labels. It omits each scan that is in the record and whose label is in the output
    folder; other scans may have been added, removed or changed. A run with figures keeps them in the order of the
    items, so that scans may only be added after those in the record.

    Args:
        items: items of a cohort, which the run processes one after the other in this order.
        output_dir: the output folder of the run.
        settings: dict from name to plain value with all settings that decide the output, such as the digest of the
            weights.
        restart: whether the run begins with the first item and ignores the record of an earlier run.

    Raises:
        InputError: the record belongs to a run with other settings or other files.
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
        self.settings = json.loads(json.dumps(settings))
        done = {} if restart else self._done_before()
        if done:
            message = "%s: an earlier run has processed %d of %d scans; this run continues with the others"
            _logger.info(message, self.path.parent, len(done), len(items))
            if len(done) == len(items):
                done.popitem()  # one scan is repeated: a run needs one
        self.done = [*done.values()]
        self.left: Sequence[Mapping[str, Any]] = [item for n, item in enumerate(items) if n not in done]

    def __len__(self) -> int:
        return len(self.left)

    def __getitem__(self, index: Any) -> Any:
        return self.left[index]

    def attach(self, engine: Engine) -> None:
        """Adds this handler to an evaluator that computes no figures, only files; it then records each iteration."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self.add({}))
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self) -> None:
        """Writes the record with all processed items; the file is written whole or not at all."""
        write_json_lines(self.path, [self.settings, *self.done])
        self._unrecorded = iter(self.left)

    def add(self, figures: Mapping[str, Any]) -> None:
        """Records that the next item has been processed, with the figures (scores) of this item."""
        self.done.append({"files": _digests(next(self._unrecorded)), "figures": dict(figures)})
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(self.done[-1]) + "\n")

    def finish(self) -> None:
        """Deletes the record of a complete run; the next run begins with the first item."""
        self.path.unlink(missing_ok=True)
        self.done, self.left = [], self.items

    def _done_before(self) -> dict[int, dict[str, Any]]:
        """Returns a dict from the position of an item to its line in a stopped run's record.

        An incomplete last line is omitted.

        Raises:
            InputError: the record belongs to a run with other settings or other files.
        """
        lines: list[dict[str, Any]] = []
        with suppress(FileNotFoundError, ValueError):
            lines.extend(map(json.loads, self.path.read_text("utf-8").splitlines()))
        if not lines:
            return {}
        before, *lines = lines
        remedy = "choose another output folder, or start again with --restart"
        if before != self.settings:
            differ = [name for name in self.settings | before if before.get(name) != self.settings.get(name)]
            told = ", ".join(f"{name} was {before.get(name)}, is {self.settings.get(name)} now" for name in differ)
            raise InputError(f"{self.path.parent} holds a stopped run with other settings ({told}); {remedy}")
        files = [line["files"] for line in lines]
        if any(line["figures"] for line in lines):
            for digests, item in zip(files, self.items, strict=False):
                if digests != _digests(item):
                    name = item.get("subject", item["image"])
                    problem = f"the files of {name} have changed since the run was stopped"
                    raise InputError(f"{self.path}: {problem}; {remedy}")
            return dict(enumerate(lines[: len(self.items)]))
        done = {}
        for n, item in enumerate(self.items):
            has_label = (self.path.parent / label_file(item, item["image"])).exists()
            if has_label and (digests := _digests(item)) in files:
                files.remove(digests)  # two scans with the same files have two lines
                done[n] = {"files": digests, "figures": {}}
        if lines and not done:
            raise InputError(f"{self.path.parent} holds a stopped run of other scans; {remedy}")
        return done


def _digests(item: Mapping[str, Any]) -> dict[str, Any]:
    digests = {key: content_digest(item[key]) for key in FILES if item.get(key)}
    return digests | {"label_values": item.get("label_values")}
