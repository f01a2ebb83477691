"""What every test runs under: one thread, no display, no network."""

from __future__ import annotations

import os
import socket

import pytest

# Before torch and matplotlib are imported, and for processes that tests start; tiny arrays gain nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"

_connect = socket.socket.connect


def _connect_here_only(self: socket.socket, address: object) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"a test tried to reach {address}: tests use no network")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _connect_here_only)
        yield
