"""What every test runs under: one thread, no display, no network."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import contextmanager

import numpy as np
import pytest

# Before torch and matplotlib are imported, and for processes that tests start; tiny arrays gain nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"

_connect = socket.socket.connect


def _connect_here_only(self: socket.socket, address: object) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"a test tried to reach {address}: tests use no network")
    _connect(self, address)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The study's tests first: they take the longest, and another process does the rest meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_study.py")


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _connect_here_only)
        yield


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """Where bundles are installed: in no test the user's own."""
    monkeypatch.setenv("TOFGAN_BUNDLES", str(tmp_path / "installed"))
    return tmp_path / "installed"


@pytest.fixture(scope="session")
def write_pairs():
    """Callable (path, n=24, seed=0, **manifest) that writes a stack: soft noise with a bright bar, the vessel."""
    from tofgan_monai.pairs.stack import StackWriter, normalise_patch

    def write(path, n=24, seed=0, **manifest):
        rng = np.random.default_rng(seed)
        label = np.zeros((n, 96, 96), bool)
        for bars, start in zip(label, rng.integers(0, 80, n), strict=True):
            bars[start : start + 8] = True
        image = normalise_patch(rng.normal(size=(n, 96, 96)) + 5 * label)
        with StackWriter(path, n, {"kind": "trial", **manifest}) as stack:
            stack.append(np.stack([image, np.where(label, 1, -1)], axis=1))
        return path

    return write


@pytest.fixture(scope="session")
def bundle_files():
    """Callable (name) -> the files of a shipped bundle's archive by path, its network cut down to width 2."""
    import re
    from functools import cache
    from pathlib import Path

    from tofgan_monai.exchange.data_card import as_text, card
    from tofgan_monai.gan.networks import Generator
    from tofgan_monai.gan.refiner import Refiner
    from tofgan_monai.segmentation.networks import HalfUNet
    from tofgan_monai.segmentation.networks_3d import VesselUNet3D
    from tofgan_monai.training.weights import to_safetensors, weights_digest

    @cache
    def read(name):
        folder = Path(__file__).parents[1] / "bundles" / name
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        kinds = {"3d": VesselUNet3D, "segmentation": HalfUNet, "refiner": Refiner, "": Generator}
        kind = next(kind for part, kind in kinds.items() if part in name)
        weights = kind(width=2).state_dict()
        config = "configs/inference.yaml"
        files[config] = re.sub(rb"(?m)^width: \d+", b"width: 2", files[config])
        files.pop("models/model.pt", None)
        files["models/model.safetensors"] = to_safetensors(weights)
        seen = [{"kind": "simulated", "patients": 2}]
        files["docs/data_card.json"] = as_text(card(weights_digest(weights), seen, "a test"))
        return files

    return lambda name: dict(read(name))


@pytest.fixture
def full_disk():
    """Context manager: no file grows beyond so many bytes, as if the disk were full."""

    @contextmanager
    def limit(n_bytes):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))  # Python ignores the signal: EFBIG comes
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
