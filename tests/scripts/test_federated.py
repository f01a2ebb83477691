"""A clinic's rounds of federated training; the test plays the server, as NVIDIA FLARE is in no test environment."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from tofgan_monai import HalfUNet

SCRIPT = Path(__file__).parents[2] / "scripts" / "federated_clinic.py"
N_ROUNDS, N_PAIRS, BATCH_SIZE = 2, 12, 4


@dataclass
class FLModel:
    params: dict
    meta: dict = field(default_factory=dict)


class Server:
    """Sends the same weights in each round, whatever comes back."""

    FLModel = FLModel

    def __init__(self):
        torch.manual_seed(5)
        self.weights = {name: tensor.numpy() for name, tensor in HalfUNet(2).state_dict().items()}
        self.came = []

    def init(self):
        pass

    def get_site_name(self):
        return "A"

    def is_running(self):
        return len(self.came) < N_ROUNDS

    def receive(self):
        return FLModel(self.weights)

    def send(self, model):
        self.came.append(model)


@pytest.fixture
def server(monkeypatch):
    server = Server()
    modules = {"nvflare": ModuleType("nvflare"), "nvflare.apis": ModuleType("apis"), "nvflare.client": server}
    modules["nvflare"].client = server
    modules["nvflare.apis.fl_constant"] = SimpleNamespace(FLMetaKey=SimpleNamespace(NUM_STEPS_CURRENT_ROUND="n_steps"))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return server


def run_clinic(folder, **recipe):
    spec = importlib.util.spec_from_file_location("federated_clinic", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(folder, epochs=1, rounds=N_ROUNDS, width=2, batch_size=BATCH_SIZE, **recipe)


@pytest.mark.parametrize("lr", [0.0, 0.01])
def test_clinic_trains_from_the_servers_weights_and_sends_tensors(lr, server, write_pairs, tmp_path):
    for split in ("training", "validation"):
        write_pairs(tmp_path / "A" / f"{split}.npy", n=N_PAIRS)
    run_clinic(tmp_path, lr=lr)
    assert len(server.came) == N_ROUNDS
    for model in server.came:
        assert model.meta == {"n_steps": N_PAIRS // BATCH_SIZE}
        assert model.params.keys() == server.weights.keys()
        # NVIDIA FLARE's server leaves out whatever is no tensor, with a warning alone.
        assert all(isinstance(tensor, torch.Tensor) for tensor in model.params.values())
        same = [tensor.equal(torch.from_numpy(server.weights[name])) for name, tensor in model.params.items()]
        assert all(same) if not lr else not any(same)
    assert {path.name for path in tmp_path.iterdir()} == {"A"}
