"""The parts of an audit that are already computed, kept on disk so that a stopped audit can go on."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.attacks.similarity import Matches
from tofgan_monai.files import written_whole

_logger = logging.getLogger(__name__)


class Parts:
    """Store of an audit's finished parts: computes each part once for the same inputs and keeps it in a folder.

    Args:
        folder: where the parts are kept.
        inputs: everything that the parts depend on, as JSON values; it tells one audit from another.
    """

    def __init__(self, folder: Path, inputs: Any) -> None:
        self.folder = folder
        self.key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]

    def arrays(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays stored under a name; if there are none, those that `make` returns, which are then stored."""
        path = self.folder / f"{name.replace(' ', '_')}_{self.key}.npz"
        if not path.exists():
            began = time.monotonic()
            _logger.info(f"audit: {name} ...")
            made: Any = make()
            _logger.info(f"audit: {name}: {time.monotonic() - began:.0f} s")
            with written_whole(path) as temporary, open(temporary, "wb") as stream:
                np.savez(stream, **made)
        with np.load(path, allow_pickle=False) as content:
            return dict(content)

    def result(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON value stored under a name; if there is none, the value that `make` returns, which is then stored."""
        text = self.arrays(name, lambda: {"json": np.array(json.dumps(make()))})
        return json.loads(str(text["json"]))

    def matches(self, name: str, find: Callable[[], Matches]) -> Matches:
        """The matches stored under a name; if there are none, those that `find` returns, which are then stored."""
        return Matches(**self.arrays(name, lambda: vars(find())))
