"""Membership inference attacks that need a GAN's networks: latent recovery (the generator) and LOGAN (the critic).

A query is a real image-label pair; the attack must decide whether the pair is a training patient's (member's) pair.
Each attack returns one score for each of n queries, (n,). A higher score means more like a member's pair. Queries have
shape (n, 2, 96, 96), with the image in [-1, 1] and the label in {-1, +1}, in float16 or float32, on disk or in memory.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.gan.kinds import PairGenerator, prior_of
from tofgan_monai.gan.networks import Critic
from tofgan_monai.gan.refiner import Refiner
from tofgan_monai.training.weights import fit_weights
from tofgan_monai.volumes.patch_grid import PATCH_SIZE

N_CANDIDATES = 4096  # number of random latents; the best of them are optimised
N_STARTS = 3  # number of latents that are optimised for each query
DIFFICULTY = 0.1  # quantile of the random latents' errors; a query's error is divided by it
SAME = 1e-3  # a pair counts as reproduced below this mean squared error; its values span 2
LEARNING_RATE = 0.1
PRIOR_WEIGHT = 0.1  # weight of the squared relative error of a latent's squared length
CHUNK = 64  # pairs in a batch


def latent_recovery(generator: PairGenerator, queries: np.ndarray, *, n_steps: int = 80, seed: int = 0) -> np.ndarray:
    """Returns a score (n,) of how well the generator reproduces each query after its latent vectors are optimised.

    This is a white-box attack. For each query, 4096 random latents are tried. Adam then optimises the 3 latents whose
    generated pairs are nearest to the query, with the generator in evaluation mode. The loss is the squared error of
    image and label (both in [-1, 1]) plus a term that keeps the length of the latent near the lengths in the prior. A
    latent of a `Refiner` is itself a pair, and free latents would reproduce any query: its latents are tried, with
    noise 0, and not optimised. The score is minus the least error, divided by the 10% quantile of the random latents'
    errors, because any generator reproduces a plain patch easily. If more than a tenth of all latents reproduce a pair,
    that pair gets a high score only if its least error is almost 0. The attacks on the released pairs recognise such a
    pair easily.

    Args:
        generator: any network with a `latent_dim`; the function does not change it.
        queries: pairs whose membership the attack must decide, (n, 2, 96, 96).
        n_steps: number of Adam steps; the learning rate falls to 0 over these steps.
        seed: seed of the random latents. A query's score does not depend on the other queries.

    Source: Chen et al. 2020, arXiv:1909.03935, section 4.3 (attack) and 4.4 (calibration); Webster et al. 2019,
        arXiv:1901.03396.
    """
    network: Any = copy.deepcopy(generator).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)
    candidates = _candidates(generator, seed)
    rows = CHUNK // N_STARTS
    scores = [torch.empty(0)]
    with tqdm(total=len(queries), desc="latent recovery", unit="pair", disable=None) as bar:
        errors = _errors_of(network, candidates, queries)  # (n, candidates)
        for start in range(0, len(queries), rows):
            part = errors[start : start + rows]
            wanted = _tensor(queries[start : start + rows], network)
            if isinstance(generator, Refiner):
                least = part.amin(1)
            else:
                starts = candidates[part.topk(N_STARTS, largest=False).indices].to(wanted.device)  # (rows, starts, dim)
                least = _recover(network, starts, wanted, n_steps)
            scores.append(-least / part.quantile(DIFFICULTY, dim=1).clamp_min(SAME))
            bar.update(len(wanted))
    return torch.cat(scores).numpy()


def _candidates(generator: PairGenerator, seed: int) -> Tensor:
    """Returns the latents that are tried, (candidates, latent_dim); of a `Refiner` with noise 0."""
    latents = prior_of(generator).fixed(N_CANDIDATES, seed=seed)
    if isinstance(generator, Refiner):
        latents[:, 2 * PATCH_SIZE**2 :] = 0
    return latents


@torch.no_grad()
def _errors_of(generator: PairGenerator, latents: Tensor, queries: np.ndarray) -> Tensor:
    """Returns the mean squared error between each query and the pair generated from each latent, (n, latents)."""
    flat = _tensor(queries, generator).flatten(1)
    made = (generator(chunk.to(flat.device)).flatten(1) for chunk in latents.split(CHUNK))
    return torch.cat([(torch.cdist(flat, pairs).square() / flat.shape[1]).cpu() for pairs in made], dim=1)


def _recover(generator: PairGenerator, starts: Tensor, wanted: Tensor, n_steps: int) -> Tensor:
    """Optimises latents by Adam; returns the least mean squared error for each target pair, (b,).

    Args:
        generator: generator in evaluation mode, whose weights need no gradient.
        starts: latents at which the optimisation starts, (b, starts, dim).
        wanted: target pairs that the generator should reproduce, (b, 2, 96, 96).
        n_steps: number of Adam steps.
    """
    b, n_starts, dim = starts.shape
    latents = starts.flatten(0, 1).clone().requires_grad_()
    wanted = wanted.repeat_interleave(n_starts, dim=0)
    optimizer = torch.optim.Adam([latents], LEARNING_RATE)  # elementwise, so latents are independent
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    least = torch.full((len(latents),), torch.inf)
    for step in range(n_steps + 1):
        errors = (generator(latents) - wanted).square().mean((1, 2, 3))
        least = least.minimum(errors.detach().cpu())
        if step < n_steps:
            prior = (latents.square().sum(1) / dim - 1).square()
            optimizer.zero_grad()
            (errors + PRIOR_WEIGHT * prior).sum().backward()
            optimizer.step()
            schedule.step()
    return least.unflatten(0, (b, n_starts)).amin(1)


def _tensor(pairs: np.ndarray, network: torch.nn.Module) -> Tensor:
    tensor = torch.from_numpy(np.asarray(pairs, dtype=np.float32))
    return tensor.to(next(network.parameters()).device)


@torch.no_grad()
def critic_score(critic: Critic, queries: np.ndarray) -> np.ndarray:
    """Returns the critic's logit of each query pair as its score, (n,); a logit is high for real pairs.

    This is the white-box attack LOGAN. The critic runs in evaluation mode, so a query's score does not depend on the
    other queries. Batch normalisation (DCGAN) uses the running statistics that the training collected on real and
    synthetic pairs with added noise. Minibatch discrimination is left out.

    Args:
        critic: critic of the audited GAN; the function does not change it.
        queries: pairs whose membership the attack must decide, (n, 2, 96, 96).

    Source: Hayes et al. 2019, arXiv:1705.07663.
    """
    critic = copy.deepcopy(critic).eval()
    chunks = (_tensor(queries[start : start + CHUNK], critic) for start in range(0, len(queries), CHUNK))
    logits = [critic.head(critic.features(chunk)).flatten().cpu() for chunk in chunks]
    return torch.cat([torch.empty(0), *logits]).numpy()


def run_critic(path: Path, content: dict[str, Any]) -> Critic:
    """Returns the critic that a GAN training's checkpoint holds, in evaluation mode.

    Args:
        path: path of the checkpoint, for error messages; `read_checkpoint` returns it with the content.
        content: content of the checkpoint.

    Raises:
        InputError: the checkpoint holds no critic, or the critic is not a `tofgan_monai.Critic`, or its weights do not
            fit this critic.
    """
    state, told = content["state"].get("critic"), content["recipe"].get("critic")
    if state is None or told is None:
        raise InputError(f"{path}: the checkpoint has no critic; give the output folder of a GAN training")
    if told["_target_"] != "tofgan_monai.Critic":
        raise InputError(
            f"{path}: the critic is a {told['_target_']}, not a tofgan_monai.Critic; attack it with your own code"
        )
    critic = Critic(**{name: value for name, value in told.items() if name != "_target_"})
    fit_weights(critic, state, path)
    return critic.eval()
