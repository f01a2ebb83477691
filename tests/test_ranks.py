"""Two ranks end with the weights of one process, by gloo on the CPU; one writes; a rank that dies ends the run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run
from torch import multiprocessing, nn

from tests.helpers.checkpoints import TIMES
from tofgan_monai import (
    AdversarialStep,
    Critic,
    GaussianLatents,
    Generator,
    HalfUNet,
    InputError,
    NonSaturating,
    Player,
    WassersteinGP,
    ranks,
)
from tofgan_monai.pairs import sampling as pair_source
from tofgan_monai.volumes.cohort import write_cohort

ROOT = Path(__file__).parents[1]
BUNDLES = ROOT / "bundles"
GANS = ["tof_mra_dcgan", "tof_mra_wgan_gp", "tof_mra_wgan_gp_sn"]
REFINER = "tof_mra_refiner"
UNET = "tof_mra_vessel_segmentation"
TOLERANCE = 1e-5
BATCH_SIZE, N_STEPS, WIDTH = 6, 3, 6

STEPS = {  # norms of generator and critic; batch norms with frozen statistics
    "wasserstein, instance": ("spectral", "instance", lambda: WassersteinGP(penalty_interval=2), {"critic_steps": 3}),
    "wasserstein, spectral": ("spectral", "spectral", WassersteinGP, {"critic_steps": 2}),
    "non-saturating, instance": ("spectral", "instance", NonSaturating, {"instance_noise": 0.3}),
    "non-saturating, spectral": ("spectral", "spectral", NonSaturating, {}),
    "wasserstein, batch in the generator": ("batch", "instance", WassersteinGP, {}),
    "non-saturating, batch in both": ("batch", "batch", NonSaturating, {"instance_noise": 0.3}),
}
# Norms without batch statistics, else the shipped configuration. The refiner has little anatomy and few reals; as these
# are all alike, its gradients have norms of 1,500, and its eps (see `take_steps`) is as much larger.
TRAININGS = {
    "tof_mra_dcgan": {"generator_norm": "spectral", "critic_norm": "instance"},
    "tof_mra_wgan_gp": {"generator_norm": "spectral"},
    "tof_mra_wgan_gp_sn": {"generator_norm": "spectral"},
    REFINER: {"small": True, "n_heads": 1, "pairs_per_epoch": 12, "objective#n": 8, "objective#n_compared": 4}
    | {"generator_optimizer#eps": 10.0},
    UNET: {},
}


# ---- what both the two ranks and the one process do


def freeze_batch_norms(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.eval().train = lambda mode=True, module=module: module


@contextmanager
def float64():
    """Double precision by default: instance norm of a nearly constant map magnifies rounding a thousandfold."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@float64()
def take_steps(name):
    """The weights of generator and critic after a few steps; each rank gets its rows of the batches."""
    generator_norm, critic_norm, objective, options = STEPS[name]
    torch.manual_seed(0)
    networks = Generator(5, 2, norm=generator_norm), Critic(2, norm=critic_norm)
    for network in networks:
        freeze_batch_norms(network)
    # eps: as small as Adam's own it would blow the rounding of a gradient round zero up to the size of the rate.
    players = [Player(network, torch.optim.Adam(network.parameters(), 1e-3, eps=1e-5)) for network in networks]
    step = AdversarialStep(*players, objective(), GaussianLatents(5), **options)
    batches = torch.rand(N_STEPS, BATCH_SIZE, 2, 96, 96) * 2 - 1
    for batch in batches:
        step(None, {"reals": ranks.own_rows(batch)})
    return [{**network.state_dict()} for network in networks]


def run_bundle(name, output_dir, *overlays, **overrides):
    files = [str(BUNDLES / name / "configs" / file) for file in ("train.yaml", *overlays)]
    sizes = {"width": WIDTH, "batch_size": 4, "max_epochs": 3, "output_dir": str(output_dir)}
    where = {"bundle_root": str(BUNDLES / name), "logging_file": False}
    run(config_file=files, **{**where, **sizes, **TRAININGS[name], **overrides})


def be_a_rank(rank, ports, folder):
    """What each of the two processes does; it leaves its results in the folder."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
    for name in TRAININGS:
        os.environ["MASTER_PORT"] = str(ports.pop())
        run_bundle(name, folder / name, "multi_gpu_train.yaml", pairs=str(folder / "real.npy"))

    sample, samplers = pair_source.sample_pairs, []
    pair_source.sample_pairs = lambda *args, **kwargs: samplers.append(rank) or sample(*args, **kwargs)
    os.environ["MASTER_PORT"] = str(ports.pop())
    few = {"dataset_dir": str(folder), "n_vessel": 3, "n_random": 2, "max_epochs": 1}
    run_bundle(UNET, folder / "sampled", "multi_gpu_train.yaml", **few)

    os.environ["MASTER_PORT"] = str(ports.pop())
    ranks.join_ranks()
    told = ranks.from_first({"rank": rank, "weights": torch.full((2,), float(rank))})
    results = {"steps": {name: take_steps(name) for name in STEPS}, "samplers": samplers, "told": told}
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.barrier()
    if rank == 0:
        with pytest.raises(RuntimeError, match=r"rank 0 has lost the connection .* the same command continues"):
            while True:  # the other one ends here
                ranks.averaged([torch.zeros(1)])


# ---- the two ranks


def free_ports(n):
    with ExitStack() as opened:  # all at once, so that they differ
        sockets = [opened.enter_context(socket.create_server(("localhost", 0))) for _ in range(n)]
        return [each.getsockname()[1] for each in sockets]


def write_patients(folder):
    rng = np.random.default_rng(0)
    items = [{"subject": name, "patient": name, "image": "", "label": ""} for name in ("sub-0", "sub-1")]
    for item in items:
        label = (rng.random((112, 112, 4)) < 0.05).astype(np.uint8)
        for key, volume in (("image", (rng.random(label.shape) + label).astype(np.float32)), ("label", label)):
            item[key] = str(folder / f"{item['subject']}_{key}.nii.gz")
            nib.save(nib.Nifti1Image(volume, np.diag([0.5, 0.5, 0.7, 1])), item[key])
    write_cohort(folder, {"training": items[:1], "validation": items[1:], "test": []})


@pytest.fixture(scope="module")
def two(tmp_path_factory, write_pairs):
    """The folder in which two ranks have left what `be_a_rank` makes."""
    folder = tmp_path_factory.mktemp("two")
    write_pairs(folder / "real.npy", 12, kind="real")
    write_patients(folder)
    multiprocessing.spawn(be_a_rank, (free_ports(len(TRAININGS) + 2), folder), nprocs=2)
    return folder


def furthest(a, b):
    """The largest difference between two state dicts of the same keys."""
    assert a.keys() == b.keys()
    return max(float((a[key].float() - b[key].float()).abs().max()) for key in a)


def saved(path):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.slow
def test_two_ranks_step_as_one_process(name, two, record_property):
    alone = take_steps(name)
    first, second = (saved(two / f"{rank}.pt")["steps"][name] for rank in (0, 1))
    for mine, other, one in zip(first, second, alone, strict=True):
        assert furthest(mine, other) == 0
        record_property("difference", furthest(mine, one))
        assert furthest(mine, one) < TOLERANCE


@pytest.mark.parametrize("name", [*GANS, REFINER])
@pytest.mark.slow
def test_two_ranks_train_a_bundle_as_one_process(name, two, tmp_path, record_property):
    run_bundle(name, tmp_path, pairs=str(two / "real.npy"))
    shared, alone = (saved(folder / "checkpoint.pt") for folder in (two / name, tmp_path))
    for network in {"generator", "average", "critic"} & shared["state"].keys():
        difference = furthest(shared["state"][network], alone["state"][network])
        record_property(network, difference)
        assert difference < TOLERANCE
    assert shared["recipe"] == alone["recipe"], "one may go on where the other stopped"
    assert furthest(saved(two / name / "best.pt"), saved(tmp_path / "best.pt")) < TOLERANCE
    for of_both, of_one in zip(shared["state"]["history"]["epochs"], alone["state"]["history"]["epochs"], strict=True):
        for name in TIMES:
            del of_both[name], of_one[name]
        assert of_both == pytest.approx(of_one, rel=1e-3, abs=1e-5), "the log has the means over both"


@pytest.mark.slow
def test_one_rank_writes(two):
    for name in TRAININGS:
        lines = (two / name / "losses.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
        writers = {path.name.split(".")[-2] for path in (two / name / "tensorboard").iterdir()}
        assert len(writers) == 1, "the process id in the names of TensorBoard's files"
    HalfUNet(WIDTH).load_state_dict(saved(two / UNET / "best.pt"))  # its weights have plain names


@pytest.mark.slow
def test_one_rank_samples_the_pairs_and_the_other_waits_for_them(two):
    assert [saved(two / f"{rank}.pt")["samplers"] for rank in (0, 1)] == [[0, 0], []]  # for training and validation
    assert (two / "sampled" / "best.pt").exists()


@pytest.mark.slow
def test_first_ranks_word_holds(two):
    told = [saved(two / f"{rank}.pt")["told"] for rank in (0, 1)]
    assert all(each["rank"] == 0 and each["weights"].tolist() == [0, 0] for each in told)


# ---- as a user starts it


def torchrun(*words, cwd):
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", *map(str, words)]
    given = {"cwd": cwd, "env": {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, "timeout": 100}
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **given)
    return done.returncode, done.stdout


DEATH = """
+imports:
- $import os
- $import signal
- $from ignite.engine import Events
death: "$lambda: tofgan_monai.rank() == 1 and os.kill(os.getpid(), signal.SIGKILL)"
+initialize:
- "$@train#trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), @death)"
"""


@pytest.mark.slow
def test_rank_that_dies_ends_the_run_which_goes_on_to_the_same_weights(two, tmp_path):
    name = "tof_mra_wgan_gp_sn"
    death = tmp_path / "death.yaml"
    death.write_text(DEATH, "utf-8")

    def train(*more):
        files = ["configs/train.yaml", "configs/multi_gpu_train.yaml", *map(str, more)]
        words = ["--config_file", str(files), "--pairs", two / "real.npy", "--output_dir", tmp_path / "out"]
        sizes = ["--width", WIDTH, "--batch_size", 4, "--max_epochs", 3, "--generator_norm", "spectral"]
        return torchrun("-m", "monai.bundle", "run", *words, *sizes, cwd=BUNDLES / name)

    code, log = train(death)
    assert code and "Signal 9 (SIGKILL)" in log and "rank      : 1" in log, log
    assert len((tmp_path / "out" / "losses.jsonl").read_text("utf-8").splitlines()) == 1  # of two epochs begun
    code, log = train()
    assert not code, log
    assert log.count("continues after epoch 1 of 3") == 1, "the first rank's word alone"
    whole, resumed = (saved(folder / "checkpoint.pt")["state"] for folder in (two / name, tmp_path / "out"))
    assert all(furthest(whole[network], resumed[network]) == 0 for network in ("generator", "average", "critic"))


# ---- the parts


@pytest.fixture
def of(monkeypatch):
    def pretend(rank, n):
        monkeypatch.setattr(ranks, "rank", lambda: rank)
        monkeypatch.setattr(ranks, "world_size", lambda: n)

    return pretend


@pytest.mark.parametrize(("n", "n_shared"), [(2, 10), (3, 9), (4, 8)])
def test_shares_are_even_and_have_no_sample_twice(n, n_shared, of):
    indices = [7, 3, 9, 1, 0, 8, 2, 6, 5, 4]
    shares = []
    for rank in range(n):
        of(rank, n)
        sampler = ranks.ShareSampler(indices)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1]) == n_shared // n
    assert [index for row in zip(*shares, strict=True) for index in row] == indices[:n_shared]


def test_batch_that_cannot_be_shared_is_refused(of):
    of(0, 8)
    assert ranks.local_batch_size(304) == 38
    with pytest.raises(InputError, match="batch_size 300 is not a multiple of 8"):
        ranks.local_batch_size(300)


def test_one_process_has_all_rows_of_a_batch():
    rows = torch.arange(5)
    assert ranks.own_rows(rows).equal(rows) and ranks.whole_batch(rows).equal(rows)
    assert (ranks.rank(), ranks.world_size(), ranks.local_batch_size(7), len(ranks.ShareSampler(rows))) == (0, 1, 7, 5)


def test_overlay_without_torchrun_is_told(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(InputError, match=r"torchrun --nproc_per_node=N .* omit multi_gpu_train.yaml"):
        ranks.join_ranks()


@pytest.mark.slow
def test_torchrun_without_the_overlay_is_told(monkeypatch, two, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError) as caught:
        run_bundle(UNET, tmp_path / "out", pairs=str(two / "real.npy"))
    causes = [caught.value]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    assert any("add configs/multi_gpu_train.yaml" in str(cause) for cause in causes)
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_more_ranks_than_gpus_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ranks.rank_device() == torch.device("cuda:1")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match=r"process 2 of this machine has no GPU .* --nproc_per_node=2"):
        ranks.rank_device()


def test_synced_batch_norms_keep_the_names_of_the_weights():
    network = Generator(5, 2)
    names = list(network.state_dict())
    assert ranks.with_batch_norm(network, synced=False) is network
    synced = ranks.with_batch_norm(network, synced=True)
    assert list(synced.state_dict()) == names
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in synced.modules()) == 5


def test_overlays_of_the_gans_are_one_text():
    texts = {(BUNDLES / name / "configs/multi_gpu_train.yaml").read_text("utf-8") for name in GANS}
    assert len(texts) == 1
