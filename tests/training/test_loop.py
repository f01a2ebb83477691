"""Trainings: an interrupted one ends with the same weights; which input is refused, what is kept and what is told."""

from __future__ import annotations

import json
import logging
import math

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import Trainer
from monai.transforms import RandScaleIntensityd
from torch import nn

from tests.helpers.checkpoints import same
from tofgan_monai import (
    ChangedTrainingError,
    HalfUNet,
    History,
    InputError,
    KeepBest,
    TrainingDivergedError,
    run_resumable,
    start_from,
    weights_file_digest,
)
from tofgan_monai.training.checkpoint import FORMAT, start_of
from tofgan_monai.training.loop import seed_epoch
from tofgan_monai.training.weights import load_weights, save_weights


def keep_best(network, history, measure, folder, higher_is_better=True, every=1):
    given = {"figure": "figure", "output_dir": str(folder), "higher_is_better": higher_is_better, "every": every}
    return KeepBest(network, history, measure=measure, **given)


class Training:
    """Ten samples in batches of four, a random transform, a shuffle and dropout: all that a seed has to bring back."""

    def __init__(
        self, output_dir, *, max_epochs=3, parts=None, seed=0, lr=0.05, fail_at=None, nan_at=None, figures=None
    ):
        torch.manual_seed(123)  # the weights at the start; the training's seed comes later
        self.network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr)
        self.history = History()
        data = [{"x": torch.full((3,), float(i))} for i in range(10)]
        dataset = Dataset(data, RandScaleIntensityd("x", factors=0.5, prob=0.9))
        self.loader = DataLoader(dataset, batch_size=4, shuffle=True)
        self.seen = []
        self.fail_at, self.nan_at = fail_at, nan_at
        handlers = [self.history]
        if figures:
            measure = lambda: figures[self.trainer.state.epoch - 1]  # noqa: E731
            handlers.append(keep_best(self.network, self.history, measure, output_dir))
        cpu, more = torch.device("cpu"), {"handlers": handlers, "decollate": False}
        self.trainer = Trainer(cpu, max_epochs, self.loader, iteration_update=self.step, **more)
        self.arguments = (self.trainer, {"network": self.network, "optimizer": self.optimizer}, str(output_dir))
        self.options = {"history": self.history, "seed": seed, "parts": parts or {"width": 2}}

    def step(self, engine, batch):
        if engine.state.iteration == self.fail_at:
            raise KeyboardInterrupt
        self.seen.append(batch["x"])
        loss = (self.network(batch["x"]) - 1).square().mean()
        if engine.state.iteration == self.nan_at:
            loss = loss * math.nan
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach(), "size": float(len(batch["x"])), "pred": batch["x"]}

    def run(self):
        run_resumable(*self.arguments, **self.options)
        return self


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("fail_at", [2, 4, 5, 9])
def test_interrupted_training_ends_with_the_same_weights_bit_for_bit(tmp_path, fail_at):
    whole = Training(tmp_path / "whole").run()
    with pytest.raises(KeyboardInterrupt):
        Training(tmp_path / "cut", fail_at=fail_at).run()
    torch.rand(7)  # whatever happens between the two
    resumed = Training(tmp_path / "cut").run()
    assert same(load_weights(tmp_path / "whole" / "checkpoint.pt"), load_weights(tmp_path / "cut" / "checkpoint.pt"))
    assert same(whole.network.state_dict(), resumed.network.state_dict())
    assert same(whole.seen[-len(resumed.seen) :], resumed.seen)
    assert len(resumed.seen) == 9 - 3 * ((fail_at - 1) // 3)


def test_what_no_seed_gives_is_kept_before_the_first_step(tmp_path):
    training = Training(tmp_path, fail_at=1)
    training.options["save_first"] = True
    torch.nn.init.constant_(training.network[2].weight, 7)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    kept = load_weights(tmp_path / "checkpoint.pt")
    assert kept["epoch"] == 0 and (kept["state"]["network"]["2.weight"] == 7).all()
    again = Training(tmp_path, max_epochs=1, fail_at=1)
    with pytest.raises(KeyboardInterrupt):
        again.run()
    assert (again.network[2].weight == 7).all()


def test_epochs_differ_and_another_seed_is_another_training(tmp_path):
    seen = Training(tmp_path / "0").run().seen
    assert not torch.cat(seen[:3]).equal(torch.cat(seen[3:6]))
    assert not same(seen, Training(tmp_path / "1", seed=1).run().seen)


def test_losses_have_a_line_an_epoch_with_the_means(tmp_path):
    training = Training(tmp_path, max_epochs=2).run()
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["iteration"]) for line in lines] == [(1, 3), (2, 6)]
    assert lines[0]["size"] == pytest.approx(10 / 3)  # batches of 4, 4 and 2
    assert all(0 < line["processor_seconds"] < 60 for line in lines) and all(line["seconds"] > 0 for line in lines)
    assert "pred" not in lines[0] and training.history.values("loss") == [line["loss"] for line in lines]


def test_finished_training_says_so_and_changes_nothing(tmp_path, caplog):
    Training(tmp_path).run()
    before = files(tmp_path)
    with caplog.at_level(logging.INFO):
        assert not Training(tmp_path).run().seen
    assert "already complete (3 epochs)" in caplog.text and files(tmp_path) == before


def test_more_epochs_go_on_as_if_asked_for_at_once(tmp_path):
    Training(tmp_path / "a", max_epochs=1).run()
    Training(tmp_path / "a").run()
    Training(tmp_path / "b").run()
    assert same(load_weights(tmp_path / "a" / "checkpoint.pt"), load_weights(tmp_path / "b" / "checkpoint.pt"))


def test_another_configuration_is_refused_by_what_changed(tmp_path):
    Training(tmp_path, parts={"width": 2, "loss": {"weight": 1.0, "sigmoid": True}}).run()
    before = files(tmp_path)
    with pytest.raises(ChangedTrainingError) as caught:
        Training(tmp_path, max_epochs=4, seed=5, lr=0.1, parts={"new": 1, "loss": {"weight": 2.0}}).run()
    told = str(caught.value)
    for change in (
        "loss.sigmoid was True, is 'absent' now",
        "loss.weight was 1.0, is 2.0 now",
        "new was 'absent', is 1 now",
        "optimizer.lr was 0.05, is 0.1 now",
        "seed was 0, is 5 now",
        "width was 2, is 'absent' now",
    ):
        assert change in told
    assert "choose another output_dir" in told and "betas" not in told and files(tmp_path) == before


def test_checkpoint_of_an_earlier_version_is_refused_and_its_weights_are_a_start(tmp_path):
    state = Training(tmp_path).run().network.state_dict()
    texts = {"optimizer": "Adam (lr: 0.05)", "seed": "0", "data": "[{'kind': 'simulated', 'patients': 9}]"}
    save_weights({"epoch": 1, "recipe": texts, "state": {"average": state}}, tmp_path / "checkpoint.pt")
    before = files(tmp_path)
    with pytest.raises(ChangedTrainingError, match=r"checkpoint\.pt was written by .* another output_dir"):
        Training(tmp_path).run()
    assert files(tmp_path) == before
    again = start_from(Training(tmp_path / "new").network, tmp_path / "checkpoint.pt", "average")
    assert same(again.state_dict(), state)
    assert start_of(tmp_path / "checkpoint.pt")["seen"] is None, "so the data card counts them as real"


@pytest.mark.parametrize(("nan_at", "kept"), [(2, "no epoch was complete"), (5, "last good checkpoint")])
def test_loss_that_is_no_number_stops_and_the_last_checkpoint_stays(tmp_path, nan_at, kept):
    with pytest.raises(TrainingDivergedError, match=f"loss became nan in iteration {nan_at}; .*{kept}"):
        Training(tmp_path, nan_at=nan_at).run()
    assert (tmp_path / "checkpoint.pt").exists() == (nan_at > 3)
    if nan_at > 3:
        content = load_weights(tmp_path / "checkpoint.pt")
        assert content["epoch"] == 1 and all(value.isfinite().all() for value in content["state"]["network"].values())


def test_disk_that_fills_up_keeps_the_last_checkpoint(tmp_path, full_disk):
    Training(tmp_path, max_epochs=1).run()
    before = files(tmp_path)
    with full_disk(1000), pytest.raises(InputError, match=r"checkpoint\.pt cannot be written \(File too large\)"):
        Training(tmp_path).run()
    after = files(tmp_path)
    assert after["checkpoint.pt"] == before["checkpoint.pt"] and after.keys() == before.keys()
    Training(tmp_path).run()  # and goes on when there is space again


def test_best_weights_are_those_of_the_best_figure(tmp_path):
    figures = [0.3, 0.7, 0.5]
    after_two = Training(tmp_path / "two", max_epochs=2, figures=figures).run().network.state_dict()
    with pytest.raises(KeyboardInterrupt):
        Training(tmp_path / "best", figures=figures, fail_at=8).run()
    training = Training(tmp_path / "best", figures=figures).run()  # the best is remembered through the interruption
    assert same(load_weights(tmp_path / "best" / "best.pt"), after_two)
    assert training.history.values("figure") == figures
    assert training.trainer.state.metrics["figure"] == 0.5


@pytest.mark.filterwarnings("error")  # PyTorch warns of a loss with its graph that becomes a number
def test_loss_with_its_graph_is_collected():
    history, loss = History(), nn.Linear(1, 1)(torch.ones(1)).sum()
    update = lambda engine, batch: {"loss": loss, "rate": 0.5}  # noqa: E731
    Trainer(torch.device("cpu"), 1, [None], iteration_update=update, handlers=[history]).run()
    assert history.values("loss") == [loss.item()] and history.values("rate") == [0.5]


@pytest.mark.parametrize(("higher_is_better", "best"), [(True, 3), (False, 5)])
def test_figure_is_measured_every_k_epochs_and_after_the_last(tmp_path, higher_is_better, best):
    network, history = nn.Linear(1, 1), History()
    measure = iter([0.3, 0.1]).__next__
    keep = keep_best(network, history, measure, tmp_path, higher_is_better=higher_is_better, every=3)
    trainer = Trainer(torch.device("cpu"), 5, [None], iteration_update=lambda engine, batch: {}, handlers=[history])
    for epoch in range(1, 6):
        trainer.state.epoch = epoch
        nn.init.constant_(network.weight, epoch)
        history.epochs.append({"epoch": epoch})
        keep(trainer)
    assert [line["epoch"] for line in history.epochs if "figure" in line] == [3, 5]
    assert load_weights(tmp_path / "best.pt")["weight"].item() == best


@pytest.mark.parametrize(
    ("figures", "best"), [([math.nan, 0.3, 0.2], 1), ([0.3, math.nan, 0.2], 0), ([math.nan, math.nan, 0.1], 2)]
)
def test_nan_is_never_the_best_figure(tmp_path, caplog, figures, best):
    after = [Training(tmp_path / str(n), max_epochs=n).run().network.state_dict() for n in (1, 2, 3)]
    Training(tmp_path / "best", figures=figures).run()
    assert same(load_weights(tmp_path / "best" / "best.pt"), after[best])
    told = [record.message for record in caplog.records if "NaN" in record.message]
    epochs = [epoch for epoch, figure in enumerate(figures, start=1) if math.isnan(figure)]
    assert told == [f"figure is NaN after epoch {epoch}; no weights are kept for it" for epoch in epochs]


def test_training_whose_figure_is_always_nan_has_no_best_weights(tmp_path):
    Training(tmp_path, figures=[math.nan] * 3).run()
    assert (tmp_path / "checkpoint.pt").exists() and not (tmp_path / "best.pt").exists()


def test_seed_of_an_epoch_sets_torch_numpy_and_the_transforms(tmp_path):
    loader = Training(tmp_path).loader

    def draw(seed, epoch):
        seed_epoch(seed, epoch, loader)
        return torch.cat([batch["x"] for batch in loader])

    assert draw(0, 1).equal(draw(0, 1))
    assert not draw(0, 1).equal(draw(0, 2)) and not draw(0, 1).equal(draw(1, 1))


def test_weights_come_back_and_fit_only_their_network(tmp_path):
    path = tmp_path / "model.pt"
    network = HalfUNet(2)
    save_weights(network.state_dict(), path)
    assert same(start_from(HalfUNet(2), path).state_dict(), network.state_dict())
    with pytest.raises(InputError, match=r"model\.pt holds weights that do not fit .* HalfUNet \(size"):
        start_from(HalfUNet(3), path)
    with pytest.raises(InputError, match=r"do not fit .* \(Missing key"):
        start_from(nn.Linear(1, 1), path)


def test_no_weights_leave_the_network_as_it_is():
    network = nn.Linear(1, 1)
    before = network.weight.item()
    assert start_from(network, None) is network and network.weight.item() == before


@pytest.mark.parametrize("content", [None, b"", b"no weights", "half"])
def test_missing_and_broken_weights_are_told(tmp_path, content):
    path = tmp_path / "model.pt"
    if content == "half":
        save_weights({"a": torch.zeros(1000)}, path)
        content = path.read_bytes()[:2000]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="does not exist" if content is None else "truncated") as caught:
        load_weights(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_part_of_a_training_is_a_start(tmp_path):
    generator, critic = nn.Linear(2, 1), nn.Linear(1, 1)
    states = {"average": generator.state_dict(), "critic": critic.state_dict()}
    save_weights({"epoch": 1, "recipe": {}, "state": states}, tmp_path / "checkpoint.pt")
    save_weights(generator.state_dict(), tmp_path / "bare.pt")
    assert same(start_from(nn.Linear(1, 1), tmp_path / "checkpoint.pt", "critic").state_dict(), critic.state_dict())
    with pytest.raises(InputError, match="weights that do not fit"):
        start_from(nn.Linear(1, 1), tmp_path / "checkpoint.pt", "average")
    with pytest.raises(InputError, match=r"bare.pt holds no weights .critic.; give the checkpoint.pt"):
        start_from(nn.Linear(2, 1), tmp_path / "bare.pt", "critic")


SIMULATED = [{"kind": "simulated", "patients": 60}]


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ({"format": FORMAT, "recipe": {"pairs": {"provenance": SIMULATED}, "pretrained": None}}, SIMULATED),
        ({"format": FORMAT, "recipe": {"pairs": {"provenance": SIMULATED}, "pretrained": {"sha256": "ab12"}}}, None),
        ({"format": FORMAT, "recipe": {"pairs": {"provenance": SIMULATED}}}, None),
        ({"format": FORMAT, "recipe": {}}, None),
        ({"recipe": {"data": str(SIMULATED), "pretrained": "None"}}, None),
        ({"0.weight": torch.zeros(1)}, None),
    ],
)
def test_start_tells_its_file_and_the_data_behind_it_where_they_are_known(tmp_path, content, seen):
    save_weights(content, tmp_path / "start.pt")
    assert start_of(tmp_path / "start.pt") == {"sha256": weights_file_digest(tmp_path / "start.pt"), "seen": seen}
    assert start_of(None) is start_of("") is None
