"""Bundles run with MONAI's command or ours: killed and gone on with, refused overrides, errors unwrapped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from tests.helpers.checkpoints import same
from tofgan_monai import InputError, TrainingDivergedError
from tofgan_monai.bundle_runs.runs import as_text, parse_overrides, run_bundle, verbatim
from tofgan_monai.files import held
from tofgan_monai.training.weights import load_weights

ROOT = Path(__file__).parents[2]
GAN = ROOT / "bundles" / "tof_mra_wgan_gp_sn"
DCGAN = ROOT / "bundles" / "tof_mra_dcgan"
UNET = ROOT / "bundles" / "tof_mra_vessel_segmentation"
PRIVATE = ROOT / "bundles" / "tof_mra_dp_wgan_gp"
REPEATABLE = {PRIVATE: {"noise_seed": 5}}  # where it begins; it goes on by the checkpoint's
RDP = {PRIVATE: {"accountant": "rdp", "critic_width": 2}}  # the quicker
TINY = {"width": 2, "batch_size": 8, "max_epochs": 3}  # 20 pairs: two batches of 8 and one of 4 an epoch
KILL = {
    "kill.yaml": """
initialize:
- "$monai.utils.set_determinism(seed=@seed)"
- {_target_: kill.in_iteration_5, trainer: "@train#trainer"}
""",
    "kill.py": """
import os, signal
from ignite.engine import Events

def in_iteration_5(trainer):
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), lambda: os.kill(os.getpid(), signal.SIGKILL))
""",
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, write_pairs):
    return str(write_pairs(tmp_path_factory.mktemp("stack") / "real.npy", 20))


def train(bundle, pairs, output_dir, **overrides):
    run_bundle(bundle, ["train.yaml"], {**TINY, "pairs": pairs, "output_dir": str(output_dir), **overrides})


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("bundle", [GAN, PRIVATE, UNET], ids=lambda bundle: bundle.name)
def test_training_killed_in_mid_epoch_ends_with_the_same_weights_bit_for_bit(bundle, pairs, tmp_path):
    for name, text in KILL.items():
        (tmp_path / name).write_text(text)
    begin, sizes = REPEATABLE.get(bundle, {}), RDP.get(bundle, {})
    words = {**TINY, **begin, **sizes, "bundle_root": bundle, "pairs": pairs, "output_dir": tmp_path / "killed"}
    configs = str([str(bundle / "configs" / "train.yaml"), str(tmp_path / "kill.yaml")])
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", configs]
    command += [str(word) for name, value in words.items() for word in (f"--{name}", value)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    killed = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_weights(tmp_path / "killed" / "checkpoint.pt")["epoch"] == 1  # two of the second epoch's three are lost

    train(bundle, pairs, tmp_path / "killed", **sizes)
    train(bundle, pairs, tmp_path / "whole", **begin, **sizes)
    for name in ("checkpoint.pt", "best.pt"):
        assert same(load_weights(tmp_path / "killed" / name), load_weights(tmp_path / "whole" / name))

    before = files(tmp_path / "whole")
    train(bundle, pairs, tmp_path / "whole", **sizes)  # finished
    assert files(tmp_path / "whole") == before
    with pytest.raises(InputError, match=r"another configuration .*width was 2, is 3 now"):
        train(bundle, pairs, tmp_path / "whole", **{**sizes, "width": 3})
    assert files(tmp_path / "whole") == before


def test_private_training_stopped_in_its_first_epoch_goes_on_with_its_secret(pairs, tmp_path, monkeypatch):
    """Another would draw noise and share anew: twice as much told."""

    def stopped(step, engine, batch):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tofgan_monai.PrivateStep.__call__", stopped)
        train(PRIVATE, pairs, tmp_path, **RDP[PRIVATE])
    begun = load_weights(tmp_path / "checkpoint.pt")
    train(PRIVATE, pairs, tmp_path, **RDP[PRIVATE])
    ended = load_weights(tmp_path / "checkpoint.pt")
    assert (begun["epoch"], ended["epoch"]) == (0, 3) and begun["state"]["secret"] == ended["state"]["secret"]


def test_segmentation_whose_loss_is_no_number_stops(pairs, tmp_path):
    with pytest.raises(TrainingDivergedError, match="loss became nan in iteration 1; no epoch was complete"):
        train(UNET, pairs, tmp_path, loss="$lambda prediction, label: prediction.sum() * float('nan')")
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("bundle", [GAN, UNET])
def test_other_pairs_are_another_training(bundle, pairs, write_pairs, tmp_path):
    train(bundle, pairs, tmp_path / "out", max_epochs=1)
    with pytest.raises(InputError, match=r"another configuration.*pairs.digest was "):
        train(bundle, write_pairs(tmp_path / "others.npy", seed=9), tmp_path / "out", max_epochs=1)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("augmentation", {"augmentation#transforms#2#prob": 0.1}),
        ("augmentation", {"augmentation#transforms#3#rotate_range": 0.1}),
        ("loss", {"loss#smooth_nr": 0.5}),
        ("loss", {"loss": "$monai.losses.DiceLoss(sigmoid=True)"}),
    ],
)
def test_other_augmentation_or_loss_is_another_training(name, overrides, pairs, tmp_path):
    train(UNET, pairs, tmp_path, max_epochs=1)
    with pytest.raises(InputError, match=f"another configuration.*{name}"):
        train(UNET, pairs, tmp_path, max_epochs=1, **overrides)


def test_longer_segmentation_training_is_another_as_its_rate_falls_otherwise(pairs, tmp_path):
    train(UNET, pairs, tmp_path, max_epochs=1)
    with pytest.raises(InputError, match=r"lr_scheduler.T_max was \d+, is \d+ now"):
        train(UNET, pairs, tmp_path, max_epochs=2)


def test_batch_larger_than_the_stack_is_the_stack(pairs, tmp_path):
    train(GAN, pairs, tmp_path, batch_size=64, max_epochs=1)
    assert load_weights(tmp_path / "checkpoint.pt")["epoch"] == 1


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("bundle", [DCGAN, GAN, UNET], ids=lambda bundle: bundle.name)
def test_batches_of_one_pair_train(bundle, write_pairs, tmp_path, batch_size):
    stack = write_pairs(tmp_path / "three.npy", 3)
    given = {"batch_size": batch_size, "max_epochs": 1, "validation_pairs": str(stack)}
    train(bundle, str(stack), tmp_path / "out", **given)
    assert (tmp_path / "out" / "best.pt").exists()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"widht": 3}, ["--widht: tof_mra_wgan_gp_sn has no such setting; did you mean --width?"]),
        ({"zzz": 3, "qqq": 4}, ["--zzz, --qqq: tof_mra_wgan_gp_sn has no such setting; its settings are "]),
        ({"width": "many"}, ["--width many: is of another kind; give a value like the configuration's own, 12"]),
        (
            {"width": 2.5, "amp": 1},
            [
                "--width 2.5: is of another kind",
                "--amp 1: is of another kind; give a value like the configuration's own, True",
            ],
        ),
        ({"batch_size": 0}, ["--batch_size 0: out of range; give at least 1"]),
        ({"train#dataloader#num_workers": -1}, ["--train#dataloader#num_workers -1: out of range; give at least 0"]),
        ({"max_epochs": 0, "seed": -1}, ["--max_epochs 0: out of range", "--seed -1: out of range; give at least 0"]),
        ({"critic_lr": 0.0}, ["--critic_lr 0.0: out of range; give more than 0"]),
        ({"ema_decay": 1.0}, ["--ema_decay 1.0: out of range; give at least 0 and less than 1"]),
        ({"train#dataloader#batch_sise": 3}, ["--train#dataloader#batch_sise: "]),
    ],
)
def test_mistyped_overrides_are_refused_all_at_once_before_anything_begins(pairs, tmp_path, overrides, told):
    with pytest.raises(InputError) as caught:
        train(GAN, pairs, tmp_path / "out", **overrides)
    assert len(caught.value.problems) == len(told) and not (tmp_path / "out").exists()
    assert all(problem.startswith(start) for problem, start in zip(caught.value.problems, told, strict=True))


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("3", 3), ("[1, 2]", [1, 2]), ("a", "a")]
)
def test_values_of_the_command_line_are_those_of_python_and_yaml(text, value):
    assert parse_overrides(["--x", text]) == {"x": value}


@pytest.mark.parametrize(
    "text",
    ["run #2", "##", "a@b", "x@#y", "%::z", "a%#b", "it's #1", 'a "#" b', "back\\#slash", "M\u00fcller #", "a::b"],
)
def test_texts_reach_the_configuration_unchanged(text):
    given = verbatim({"path": f"/{text}", "several": [f"/{text}"], "name": as_text(text)})
    parser = ConfigParser({**given, "below": "$@path + '/x'", "part": {"_target_": "dict", "path": "@path"}})
    told = [parser.get_parsed_content(name) for name in ("below", "name", "several::0", "part")]
    assert told == [f"/{text}/x", text, f"/{text}", {"path": f"/{text}"}]
    assert as_text(f"@{text}") != f"@{text}" and verbatim("@path") == "@path"
    assert all(DefaultParseValue(str(value)) == value for value in given.values())  # as words of MONAI's own command


def test_training_writes_where_it_was_told_whatever_the_paths_hold(pairs, tmp_path):
    bundle, stack = tmp_path / "lab #3" / "gan", tmp_path / "stack #1.npy"
    shutil.copytree(GAN, bundle)
    for suffix in (".npy", ".json"):
        shutil.copy(Path(pairs).with_suffix(suffix), stack.with_suffix(suffix))
    before = {path.name for path in tmp_path.iterdir()}
    train(bundle, str(stack), tmp_path / "run #2", max_epochs=1)
    assert {path.name for path in tmp_path.iterdir()} == {*before, "run #2"}
    assert {"best.pt", "checkpoint.pt", "losses.jsonl", "tensorboard"} <= {
        p.name for p in (tmp_path / "run #2").iterdir()
    }


def test_second_training_in_the_same_folder_is_refused_at_its_start(pairs, tmp_path):
    (tmp_path / "out").mkdir()
    with (
        held(tmp_path / "out", "training"),
        pytest.raises(InputError, match="out: another training process is running"),
    ):
        train(GAN, pairs, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    train(GAN, pairs, tmp_path / "out", max_epochs=1)


def test_nested_ids_and_expressions_may_be_overridden(pairs, tmp_path):
    train(GAN, pairs, tmp_path, **{"train#dataloader#batch_size": 10, "max_epochs": "$1"})
    assert load_weights(tmp_path / "checkpoint.pt")["epoch"] == 1


@pytest.mark.parametrize("bundle", [GAN, PRIVATE, UNET], ids=lambda bundle: bundle.name)
def test_missing_stack_and_a_file_for_a_folder_are_told_at_once(bundle, pairs, tmp_path):
    with pytest.raises(InputError, match=r"none\.npy cannot be read as a stack"):
        train(bundle, str(tmp_path / "none.npy"), tmp_path / "out")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match=r"file.*cannot be written"):
        train(bundle, pairs, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "a file"


def test_command_is_shown_as_monai_takes_it(pairs, tmp_path, caplog):
    caplog.set_level("INFO")
    with pytest.raises(InputError):
        train(GAN, "none.npy", tmp_path, seed=None)
    (line,) = [line for line in caplog.messages if line.startswith("python -m monai.bundle run")]
    assert f"--config_file {GAN}/configs/train.yaml --bundle_root {GAN}" in line and "--pairs none.npy" in line
    assert "--seed" not in line
