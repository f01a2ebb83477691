"""The priors: a latent is the same by seed and index; the simulated one holds pairs of plain heads, masked."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from tofgan_monai import GaussianLatents, InputError, Refiner, SimulatedLatents, prior_of
from tofgan_monai.gan import latents as priors
from tofgan_monai.gan.latents import PAIRS_PER_HEAD
from tofgan_monai.phantom import simulate_head
from tofgan_monai.volumes.transforms.skull_strip import SkullStripd

EDGE = 96


@pytest.fixture(scope="module")
def head():
    return simulate_head("P", 2**32, small=True)


@pytest.fixture
def asked(monkeypatch, head):
    """The seeds of the heads that were asked for; each is the same head with other patches."""
    seeds = []

    def simulate(source, seed, *, small, spacing_mm):
        seeds.append((source, seed, small))
        return head

    monkeypatch.setattr(priors, "simulate_head", simulate)
    priors._cached_pairs.cache_clear()
    yield seeds
    priors._cached_pairs.cache_clear()


def parts(latents):
    return latents.unflatten(1, (3, EDGE, EDGE)).unbind(1)


@pytest.mark.parametrize("prior", [GaussianLatents(5), SimulatedLatents(small=True)])
def test_fixed_latent_depends_on_its_seed_and_index_alone(prior, asked):
    latents = prior.fixed(4, seed=3)
    assert latents.shape == (4, prior.dim) and latents.dtype == torch.float32
    torch.manual_seed(9)
    assert prior.fixed(2, seed=3, start=2).equal(latents[2:])
    assert not prior.fixed(4, seed=4).equal(latents)


def test_pairs_are_masked_patches_of_the_head_in_range(head, asked):
    image, label, noise = parts(SimulatedLatents(small=True).fixed(PAIRS_PER_HEAD, seed=0))
    stripped = SkullStripd(["image", "label"])(
        {name: torch.from_numpy(getattr(head, name)[None]) for name in ("image", "label", "mask")}
    )
    share = (label > 0).float().mean()
    assert image.amin((1, 2)).eq(-1).all() and image.amax((1, 2)).eq(1).all()
    assert label.unique().tolist() == [-1, 1]
    centred = (label[:, EDGE // 2, EDGE // 2] > 0).float().mean()
    assert 0.5 <= centred < 0.6, "half of the patches are centred on a vessel, and a few more by chance"
    assert share > 1.2 * stripped["label"].float().mean()  # around vessels there are more of them
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert not label[:64].equal(label[64:]) and (label[:32, 48, 48] > 0).float().mean() < 0.9, "in a random order"


def test_what_lies_outside_the_mask_is_not_seen(head, monkeypatch):
    inside = head.mask > 0
    inside[:, :80] = False  # a cut through the small head, whose mask is almost everywhere
    bright = np.where(inside, head.image, 5000)
    bright[0, 0, 0] = head.image.min()  # what counts as black
    black = np.where(inside, head.image, head.image.min())
    heads = [
        replace(head, mask=1 * inside, image=image, label=np.where(inside, head.label, outside))
        for image, outside in ((bright, 1), (black, 0))
    ]
    made = []
    for each in heads:
        monkeypatch.setattr(priors, "simulate_head", lambda *args, each=each, **options: each)
        priors._cached_pairs.cache_clear()
        made.append(SimulatedLatents(small=True).fixed(8, seed=0))
    priors._cached_pairs.cache_clear()
    assert (made[0][:, : EDGE**2] == -1).any() and made[0].equal(made[1])


def test_fixed_latents_are_of_other_heads_than_the_pool(asked):
    prior = SimulatedLatents(3, small=True)
    torch.manual_seed(0)
    drawn = prior(5)
    assert asked == [("P", seed, True) for seed in range(3)]
    prior(5)
    assert len(asked) == 3, "the pool is simulated once"
    torch.manual_seed(0)
    assert prior(5).equal(drawn), "torch's generator decides"
    prior.fixed(2, seed=0, start=PAIRS_PER_HEAD - 1)
    prior.fixed(1, seed=1)
    assert [seed for _, seed, _ in asked[3:]] == [2**32, 2**32 + 1, 2 * 2**32]
    SimulatedLatents().fixed(1, seed=1)
    assert asked[-1] == ("P", 2 * 2**32, False)


def test_head_of_fixed_latents_is_simulated_once_for_latents_one_by_one(asked):
    prior = SimulatedLatents(small=True)
    for start in range(5):
        prior.fixed(1, seed=0, start=start)
    assert len(asked) == 1


def test_noise_of_the_pool_is_new_at_each_draw(asked):
    prior = SimulatedLatents(1, small=True)
    first, again = (parts(prior(4))[2] for _ in range(2))
    assert not first.equal(again) and abs(first.std() - 1) < 0.02


@pytest.mark.parametrize("n_heads", [0, 1001])
def test_number_of_heads_is_bounded(n_heads):
    with pytest.raises(InputError, match=f"n_heads = {n_heads} .*1 to 1000"):
        SimulatedLatents(n_heads)


@pytest.mark.parametrize("spacing", [[0.5, 0.5], [0.2, 0.5, 0.7], [0.5, 0.5, 2], [0.5, 0.5, float("nan")]])
def test_voxel_size_is_bounded(spacing):
    with pytest.raises(InputError, match=r"is no voxel size for simulated heads; give three values, 0\.25 to 1\.5 mm"):
        SimulatedLatents(spacing_mm=spacing)


def test_anatomy_has_the_voxel_size_that_is_given(head):
    coarse = simulate_head("P", 2**32, small=True, spacing_mm=[1.0, 1.0, 1.4])
    whole = simulate_head("P", 2**32, spacing_mm=[1.0, 1.0, 1.4])
    assert whole.image.shape == (156, 192, 64), "the same field of view"
    assert np.allclose(np.linalg.norm(coarse.affine[:3, :3], axis=0), [1.0, 1.0, 1.4])
    assert {k: v for k, v in coarse.parameters.items() if "spacing" not in k} == {
        k: v for k, v in head.parameters.items() if "spacing" not in k
    }


@cache
def protocol():
    return {name: [*inspect.signature(getattr(priors.Latents, name)).parameters] for name in ("__call__", "fixed")}


@pytest.mark.parametrize("kind", [GaussianLatents, SimulatedLatents])
def test_priors_have_the_methods_of_the_protocol(kind):
    assert {name: [*inspect.signature(getattr(kind, name)).parameters] for name in protocol()} == protocol()


@pytest.mark.parametrize("small", [False, True])
def test_prior_of_a_refiner_is_that_of_its_weights(small):
    network = Refiner(2)
    network.load_state_dict(Refiner(2, SimulatedLatents(small=small, spacing_mm=[0.4, 0.6, 0.8])).state_dict())
    prior = prior_of(network)
    assert (
        isinstance(prior, SimulatedLatents)
        and prior.small is small
        and prior.spacing_mm == [0.4, 0.6, 0.8]
        and prior.dim == network.latent_dim
    )
    assert np.isclose(prior.dim, 3 * EDGE**2)
