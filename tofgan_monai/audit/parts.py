"""What an audit has computed already, kept beside its result so that it can be stopped and go on."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.files import written_whole

_logger = logging.getLogger(__name__)


class Parts:
    """Arrays and results by name in a folder; each is made once for the same `inputs`, which tell audits apart.

    Args:
        folder: where they are kept.
        inputs: whatever the parts depend on, as JSON takes it.
    """

    def __init__(self, folder: Path, inputs: Any) -> None:
        self.folder = folder
        self.key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]

    def arrays(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of that name."""
        path = self.folder / f"{name.replace(' ', '_')}_{self.key}.npz"
        if not path.exists():
            made = self._timed(name, make)
            with written_whole(path) as temporary, open(temporary, "wb") as stream:
                np.savez(stream, **made)
        with np.load(path, allow_pickle=False) as content:
            return dict(content)

    def result(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of that name, anything that JSON takes."""
        text = self.arrays(name, lambda: {"json": np.array(json.dumps(make()))})
        return json.loads(str(text["json"]))

    def _timed(self, name: str, make: Callable[[], Any]) -> Any:
        began = time.monotonic()
        _logger.info(f"audit: {name} ...")
        made = make()
        _logger.info(f"audit: {name}: {time.monotonic() - began:.0f} s")
        return made
