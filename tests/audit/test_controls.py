"""Positive controls: which canaries are those of the audited training, and which attacks have seen planted copies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.audit.test_run import GAN, clinic, stacks, trained  # noqa: F401 - a fixture among them
from tofgan_monai.attacks.canary import plant_canary
from tofgan_monai.audit import controls as positive
from tofgan_monai.audit.cohorts import Cohort, Cohorts, read_cohorts
from tofgan_monai.audit.controls import planted, read_canaries
from tofgan_monai.audit.target import read_target, with_pairs
from tofgan_monai.audit.training import Training
from tofgan_monai.errors import InputError
from tofgan_monai.training.weights import load_weights, save_weights, weights_file_digest


@pytest.fixture
def audited(clinic):  # noqa: F811
    """Callable (recipe, of) -> what `read_canaries` is told of an audited training, in the folder `run`."""

    def made(of=GAN, **recipe):
        run = trained(clinic, clinic / "run", clinic / "members.npy", clinic / GAN / "models/model.pt")
        change(run, **recipe)
        cohorts = read_cohorts(*stacks(clinic).values(), pairs_per_patient=50)
        target = with_pairs(read_target(clinic / of), clinic, n=26, seed=0)
        return target, Training(run, target, cohorts), cohorts

    return made


def change(run, **recipe):
    content = load_weights(run / "checkpoint.pt")
    content["recipe"] |= recipe
    save_weights(content, run / "checkpoint.pt")
    return run


def repeated(clinic, seed=0, times=2, **more):  # noqa: F811
    """A stack with one patient repeated and the training on it."""
    stack = clinic / f"canary_{seed}_{times}.npy"
    plant_canary(clinic / "members.npy", stack, times=times, seed=seed)
    return stack, trained(clinic, clinic / f"of_{stack.stem}", stack, seed=seed, **more)


def two_patients(clinic):  # noqa: F811
    """Two canaries of different patients."""
    by_patient = {}
    for seed in range(9):
        stack = clinic / "drawn.npy"
        by_patient.setdefault(
            plant_canary(clinic / "members.npy", stack, times=2, seed=seed)["canary"]["patient"], seed
        )
    return [repeated(clinic, seed) for seed in list(by_patient.values())[:2]]


def test_two_patients_are_two_canaries_and_one_is_not(clinic, audited):  # noqa: F811
    given, first = audited(), two_patients(clinic)
    assert len({canary.patient for canary in read_canaries(first, *given)}) == 2
    with pytest.raises(InputError, match="repeat the same patient; make each with another `--seed`"):
        read_canaries([first[0], first[0]], *given)
    assert read_canaries([], *given) == []


def test_canaries_repeated_not_as_often_are_refused(clinic, audited):  # noqa: F811
    given, first = audited(), two_patients(clinic)
    seed = int(first[1][0].stem.split("_")[1])
    with pytest.raises(InputError, match="repeat their patients 2, 3 times; make all with the same `--times`"):
        read_canaries([first[0], repeated(clinic, seed, times=3)], *given)


@pytest.mark.parametrize(("n_steps", "is_taken"), [(20, True), (110, True), (111, False)])
def test_canary_is_trained_no_longer(clinic, audited, n_steps, is_taken):  # noqa: F811
    given, canary = audited(), repeated(clinic, n_steps=n_steps)
    if is_taken:
        assert len(read_canaries([canary], *given)) == 1
    else:
        with pytest.raises(InputError, match="111 steps, where the audited training took 100"):
            read_canaries([canary], *given)


@pytest.mark.parametrize(("noise", "is_taken"), [(0.9, False), (1.0, True), (1.25, True), (10.0, True)])
def test_canary_has_no_less_noise(clinic, audited, noise, is_taken):  # noqa: F811
    given = audited(budget={"noise_multiplier": 1.0}, lr_scheduler={"T_max": 30})
    stack, run = repeated(clinic)
    change(run, budget={"noise_multiplier": noise}, lr_scheduler={"T_max": 13})
    if is_taken:
        assert len(read_canaries([(stack, run)], *given)) == 1
    else:
        with pytest.raises(InputError, match=r"not as the audited training \(budget.noise_multiplier\)"):
            read_canaries([(stack, run)], *given)


def test_canary_is_in_the_state_that_was_audited(clinic, audited):  # noqa: F811
    stack, run = repeated(clinic)
    best, last = (load_weights(run / "best.pt"), load_weights(run / "checkpoint.pt")["state"]["generator"])
    save_weights({name: weight + 1 for name, weight in best.items()}, run / "best.pt")  # an earlier epoch's
    target, training, cohorts = audited()
    (canary,) = read_canaries([(stack, run)], target, training, cohorts)
    assert training.state == "best" and torch.equal(canary.network[0].weight, best["0.weight"] + 1)
    training.state = "generator"
    (canary,) = read_canaries([(stack, run)], target, training, cohorts)
    assert torch.equal(canary.network[0].weight, last["0.weight"])


def test_training_tells_which_state_was_audited(clinic, audited):  # noqa: F811
    target, training, cohorts = audited()
    assert training.state == "best" and training.n_steps == 100
    save_weights(
        {name: weight + 1 for name, weight in load_weights(clinic / "run/best.pt").items()}, clinic / "run/best.pt"
    )
    assert Training(clinic / "run", target, cohorts).state == "average"


def test_stack_alone_has_the_training_that_its_manifest_names(clinic, audited, write_pairs):  # noqa: F811
    facts = {"kind": "synthetic", "seed": 0, "label_threshold": 0.0}
    write_pairs(clinic / "alone.npy", 30, **facts, weights_sha256=weights_file_digest(clinic / GAN / "models/model.pt"))
    target, training, cohorts = audited("alone.npy")
    canary = repeated(clinic)
    (found,) = read_canaries([canary], target, training, cohorts)
    assert found.network(torch.zeros(1, 100)).shape == (1, 2, 96, 96)
    with pytest.raises(InputError, match="give that of the stack's generator, too"):
        read_canaries([canary], target, None, cohorts)
    write_pairs(clinic / "other.npy", 30, **facts, weights_sha256="0" * 64)
    with pytest.raises(InputError, match="not the training that the stack's manifest tells of"):
        Training(clinic / "run", read_target(clinic / "other.npy"), cohorts)


def test_checkpoint_without_a_history_is_told(clinic, audited):  # noqa: F811
    target, _, cohorts = audited()
    content = load_weights(clinic / "run/checkpoint.pt")
    del content["state"]["history"]
    save_weights(content, clinic / "run/checkpoint.pt")
    with pytest.raises(InputError, match="does not tell its steps"):
        Training(clinic / "run", target, cohorts)


def test_attack_that_puts_the_patient_first_without_copies_has_not_seen_them(monkeypatch):
    rng = np.random.default_rng(0)

    def cohort(n):
        pairs = rng.uniform(-1, 1, (2 * n, 2, 8, 8)).astype(np.float16)
        return Cohort(pairs, np.repeat(np.arange(n), 2), "real", "0")

    cohorts, stack = Cohorts(cohort(3), cohort(9), cohort(2)), rng.uniform(-1, 1, (5, 2, 8, 8)).astype(np.float16)

    def scores(queries, pairs, references, found):
        is_member = np.arange(len(queries)) < 2
        has_copies = float(len(pairs) > len(stack))
        noise = rng.normal(size=len(queries))
        return {
            "blind": noise + 99 * is_member,
            "sees": noise + 99 * is_member * has_copies,
            "misses": noise - 99 * is_member,
        }

    monkeypatch.setattr(positive, "data_scores", scores)
    found = planted(stack, cohorts, None)["attacks"]
    assert {name: line["caught"] for name, line in found.items()} == {"blind": False, "sees": True, "misses": False}
