"""Recipes: JSON data of constructor arguments, complete, and free of paths, devices and the number of ranks."""

from __future__ import annotations

import json

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.losses import DiceCELoss
from monai.transforms import Compose, RandAffined, RandFlipd
from torch import nn
from torch.utils.data import ConcatDataset, RandomSampler

from tofgan_monai import (
    AdversarialStep,
    Critic,
    GaussianLatents,
    Generator,
    HalfUNet,
    NonSaturating,
    PairDataset,
    Player,
    WassersteinGP,
    ranks,
)
from tofgan_monai.training.recipe import described, pairs_digest, recipe_of, settings


@pytest.fixture
def pairs(tmp_path, write_pairs):
    return PairDataset(write_pairs(tmp_path / "a.npy", 10, kind="real"))


def step_of(critic_steps=1, amp=False, lr=0.1, objective=None):
    critic, generator = Critic(2, "instance", 0.03), Generator(5, 2, initial_output=(-0.5, 0.1))
    players = [Player(network, torch.optim.Adam(network.parameters(), lr)) for network in (generator, critic)]
    return AdversarialStep(
        *players, objective or WassersteinGP(penalty_interval=4), GaussianLatents(5), critic_steps, amp=amp
    )


def unet_recipe(pairs, transform, *, loss=None, batch_size=4, sampler=None, amp=False, **parts):
    network = HalfUNet(2, 0.1)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    dataset = Dataset(pairs, transform)
    shuffled = {"sampler": sampler} if sampler else {"shuffle": True}
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=3,
        train_data_loader=DataLoader(dataset, batch_size=batch_size, **shuffled),
        network=network,
        optimizer=optimizer,
        loss_function=loss or DiceCELoss(sigmoid=True),
        amp=amp,
    )
    return recipe_of(trainer, {"network": network, "optimizer": optimizer, "pairs": pairs, "seed": 0, **parts})


def flip(prob=0.5):
    return Compose([RandFlipd(["image", "label"], prob, 1), RandAffined(["image"], 0.3, rotate_range=0.5)])


def test_step_tells_all_arguments_of_its_parts():
    told = settings({"step": described(step_of())})
    assert told["step._target_"] == "tofgan_monai.AdversarialStep"
    assert told["step.generator.network._target_"] == "tofgan_monai.Generator"
    assert told["step.generator.network.initial_output.0"] == -0.5
    assert (told["step.critic.network.norm"], told["step.critic.network.init_std"]) == ("instance", 0.03)
    assert (told["step.objective.weight"], told["step.objective.penalty_interval"]) == (10.0, 4)
    assert (told["step.critic.optimizer.lr"], told["step.critic.optimizer.betas.1"]) == (0.1, 0.999)


@pytest.mark.parametrize("change", [{"critic_steps": 5}, {"amp": True}, {"lr": 0.2}, {"objective": NonSaturating()}])
def test_change_of_a_step_changes_the_recipe(change):
    assert described(step_of(**change)) != described(step_of()) == described(step_of())


@pytest.mark.parametrize("norm", ["batch", "instance", "spectral"])
def test_networks_come_back_from_their_recipe(norm):
    for network in (Critic(3, norm, minibatch_discrimination=True), Generator(7, 3, norm, 0.05), HalfUNet(3, 0.2)):
        told = json.loads(json.dumps(described(network)))
        arguments = {name: value for name, value in told.items() if name not in ("_target_", "activation")}
        assert str(type(network)(**arguments)) == str(network)


def test_segmentation_recipe_is_json_and_complete(pairs):
    recipe = unet_recipe(pairs, flip(), amp=False)
    assert json.loads(json.dumps(recipe)) == recipe
    told = settings(recipe)
    assert told["trainer.batch_size"] == 4 and told["trainer.amp"] is False
    assert told["trainer.dataset.transform.transforms.0.prob"] == 0.5
    assert told["trainer.dataset.data"] == "@pairs" and pairs_digest(recipe) == pairs.digest
    assert recipe["pairs"]["provenance"] == [{"kind": "real", "patients": None}]
    assert recipe["trainer"]["loss"]["dice"]["sigmoid"] is True


@pytest.mark.parametrize(
    "change",
    [
        {"transform": flip(0.6)},
        {"transform": Compose([])},
        {"loss": DiceCELoss(sigmoid=True, smooth_nr=1.0)},
        {"loss": nn.BCEWithLogitsLoss()},
        {"batch_size": 5},
        {"amp": True},
        {"sampler": lambda pairs: RandomSampler(pairs, num_samples=30)},
        {"seed": 1},
    ],
)
def test_change_of_a_segmentation_changes_the_recipe(pairs, change, monkeypatch):
    monkeypatch.setattr(torch.cuda.amp, "GradScaler", lambda: None)
    before = unet_recipe(pairs, flip())
    assert unet_recipe(pairs, flip()) == before
    if "sampler" in change:
        change = {"sampler": change["sampler"](pairs)}
    assert unet_recipe(pairs, **{"transform": flip(), **change}) != before


def test_recipe_holds_no_path_no_device_and_no_sample(tmp_path, pairs):
    told = json.dumps(unet_recipe(pairs, flip()))
    assert str(tmp_path) not in told and "cpu" not in told
    files = Dataset([{"image": "/home/someone.nii.gz"}], flip())
    assert "someone" not in json.dumps(described(ConcatDataset([files, files])))


def test_shared_training_has_the_recipe_of_one_process(pairs, monkeypatch):
    alone = unet_recipe(pairs, flip())
    monkeypatch.setattr("tofgan_monai.training.recipe.world_size", lambda: 2)
    shared = unet_recipe(pairs, flip(), batch_size=2, sampler=ranks.ShareSampler(RandomSampler(pairs)))
    assert shared == alone


def test_part_with_a_name_is_a_reference_elsewhere():
    step = step_of()
    names = {id(step.critic.network): "critic"}
    assert described(step, names)["critic"]["network"] == "@critic"
    assert described([step.critic.network, 1, None, torch.bfloat16], names) == ["@critic", 1, None, "torch.bfloat16"]
