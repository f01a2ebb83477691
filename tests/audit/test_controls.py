"""Positive controls: which canaries fit the audited training, and which attacks recognise planted copies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.clinic import GAN, stacks, trained_gan
from tofgan_monai import InputError, weights_file_digest
from tofgan_monai.attacks.canary import plant_canary
from tofgan_monai.audit.cohorts import Cohort, Cohorts, read_cohorts
from tofgan_monai.audit.controls import read_canaries, recognised
from tofgan_monai.audit.target import read_target
from tofgan_monai.audit.training import read_training
from tofgan_monai.training.weights import load_weights, save_weights


def changed(path, **recipe):
    """The checkpoint of a training, with other entries in its recipe."""
    content = load_weights(path / "checkpoint.pt")
    save_weights({**content, "recipe": content["recipe"] | recipe}, path / "checkpoint.pt")
    return path


@pytest.fixture
def audited(clinic, run):
    """Callable (of, recipe) -> what `read_canaries` is told of an audited training, in the folder `run`."""

    def made(of=GAN, **recipe):
        cohorts = read_cohorts(**stacks(clinic), pairs_per_patient=50)
        target = read_target(clinic / of)
        return target, read_training(changed(run, **recipe), target, cohorts), cohorts

    return made


def repeated(clinic, seed=0, times=2, of="members", **more):
    """A stack with one patient repeated and the training on it."""
    stack = clinic / f"canary_{seed}_{times}.npy"
    plant_canary(clinic / f"{of}.npy", stack, times=times, seed=seed)
    return stack, trained_gan(clinic / f"of_{stack.stem}", stack, seed=seed, **more)


SEEDS = (0, 1)  # that draw different patients
NOISE = {"budget": {"noise_multiplier": 1.0}}


def test_two_patients_are_two_canaries_and_one_is_not(clinic, audited):
    given, two = audited(), [repeated(clinic, seed) for seed in SEEDS]
    assert len({canary.patient for canary in read_canaries(two, *given)}) == 2
    with pytest.raises(InputError, match="repeat the same patient; make each with another seed"):
        read_canaries([two[0], two[0]], *given)
    assert read_canaries([], *given) == []


def test_canaries_repeated_not_as_often_are_refused(clinic, audited):
    two = [repeated(clinic, seed, times) for seed, times in zip(SEEDS, (2, 3), strict=True)]
    with pytest.raises(InputError, match="repeat their patients 2, 3 times"):
        read_canaries(two, *audited())


@pytest.mark.parametrize(
    ("audited_recipe", "canary", "told"),
    [
        ({}, {"n_steps": 20}, None),
        ({}, {"n_steps": 110}, None),
        ({}, {"n_steps": 111}, "111 steps, but the audited training took 100"),
        ({"lr_scheduler": {"T_max": 30}}, {"recipe": {"lr_scheduler": {"T_max": 13}}}, None),
        *((NOISE, {"recipe": {"budget": {"noise_multiplier": noise}}}, None) for noise in (1.0, 1.25, 10.0)),
        (NOISE, {"recipe": {"budget": {"noise_multiplier": 0.9}}}, r"audited training \(budget.noise_multiplier\)"),
        ({}, {"recipe": {"trainer": {"batch_size": 8}}}, r"settings of .* differ .*\(trainer.batch_size\)"),
        ({}, {"recipe": {"pairs": {"digest": "0"}}}, "the training used other pairs than"),
        ({}, {"of": "references"}, "no canary of the members' stack"),
    ],
)
def test_canary_is_trained_as_the_audited_one_no_longer_and_with_no_less_noise(
    clinic, audited, audited_recipe, canary, told
):
    given, pair = audited(**audited_recipe), [repeated(clinic, **canary)]
    if told is None:
        assert len(read_canaries(pair, *given)) == 1
    else:
        with pytest.raises(InputError, match=told):
            read_canaries(pair, *given)


def test_canary_is_in_the_state_that_was_audited(clinic, audited):
    stack, run = repeated(clinic)
    best, last = (load_weights(run / "best.pt"), load_weights(run / "checkpoint.pt")["state"]["generator"])
    save_weights({name: weight + 1 for name, weight in best.items()}, run / "best.pt")  # an earlier epoch's
    target, training, cohorts = audited()
    (canary,) = read_canaries([(stack, run)], target, training, cohorts)
    assert training.state == "best" and torch.equal(canary.network[0].weight, best["0.weight"] + 1)
    (canary,) = read_canaries([(stack, run)], target, replace(training, state="generator"), cohorts)
    assert torch.equal(canary.network[0].weight, last["0.weight"])


def test_training_tells_which_state_was_audited(clinic, audited):
    target, training, cohorts = audited()
    assert training.state == "best" and training.n_steps == 100
    best = load_weights(clinic / "run/best.pt")
    save_weights({name: weight + 1 for name, weight in best.items()}, clinic / "run/best.pt")
    assert read_training(clinic / "run", target, cohorts).state == "average"
    content = load_weights(clinic / "run/checkpoint.pt")
    del content["state"]["history"]
    save_weights(content, clinic / "run/checkpoint.pt")
    with pytest.raises(InputError, match="does not name the number of steps"):
        read_training(clinic / "run", target, cohorts)


def test_stack_alone_has_the_training_that_its_manifest_names(clinic, audited, write_pairs):
    facts = {"kind": "synthetic", "seed": 0, "label_threshold": 0.0}
    write_pairs(clinic / "alone.npy", 30, **facts, weights_sha256=weights_file_digest(clinic / GAN / "models/model.pt"))
    target, training, cohorts = audited("alone.npy")
    canary = repeated(clinic)
    (found,) = read_canaries([canary], target, training, cohorts)
    assert found.network(torch.zeros(1, 100)).shape == (1, 2, 96, 96)
    with pytest.raises(InputError, match="training of the audited stack's generator"):
        read_canaries([canary], target, None, cohorts)


def test_attack_that_puts_the_patient_first_without_copies_has_not_seen_them():
    rng = np.random.default_rng(0)

    def cohort(n):
        return Cohort(np.empty((2 * n, 0)), np.repeat(np.arange(n), 2), "real", "0")

    cohorts = Cohorts(cohort(3), cohort(9), cohort(2))
    is_member = np.arange(20) < 2  # the queries of one member and of nine non-members
    before, after = (
        {"blind": noise + 99 * is_member, "sees": noise + sees * is_member, "misses": noise - 99 * is_member}
        for noise, sees in ((rng.normal(size=20), 0), (rng.normal(size=20), 99))
    )
    found = recognised(before, after, cohorts, patient=1)
    assert {name: one["caught"] for name, one in found.items()} == {"blind": False, "sees": True, "misses": False}
