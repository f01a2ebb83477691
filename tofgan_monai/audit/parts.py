"""Store of the finished parts of an audit on disk, from which a stopped audit continues."""

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
    """Store of the finished parts of an audit: each part is computed once for the same inputs and kept in a folder.

    A part is a dict of arrays with a name, for example the scores by an attack.

    Args:
        folder: folder for the files of the parts.
        inputs: JSON value that holds all inputs of the audit. Its digest is in the files' names, so a part of an audit
            with other inputs is not used.
    """

    def __init__(self, folder: Path, inputs: Any) -> None:
        self.folder = folder
        self.key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]

    def arrays(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Returns the arrays that are stored under a name; if there are none, calls `make` and stores its arrays."""
        path = self.folder / f"{name.replace(' ', '_')}_{self.key}.npz"
        if not path.exists():
            began = time.monotonic()
            _logger.info(f'audit: computes the part "{name}" ...')
            made: Any = make()
            _logger.info(f'audit: computed the part "{name}" in {time.monotonic() - began:.0f} s')
            with written_whole(path) as temporary, open(temporary, "wb") as stream:
                np.savez(stream, **made)
        with np.load(path, allow_pickle=False) as content:
            return dict(content)

    def result(self, name: str, make: Callable[[], Any]) -> Any:
        """Returns the JSON value that is stored under a name; if there is none, calls `make` and stores its value."""
        text = self.arrays(name, lambda: {"json": np.array(json.dumps(make()))})
        return json.loads(str(text["json"]))

    def matches(self, name: str, find: Callable[[], Matches]) -> Matches:
        """Returns the nearest neighbours that are stored under a name; if there are none, calls `find` and stores them.

        Args:
            name: name of the search.
            find: function without arguments that makes the search.
        """
        return Matches(**self.arrays(name, lambda: vars(find())))
