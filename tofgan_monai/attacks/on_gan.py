"""Attacks of whoever holds the networks: the generator (latent recovery), the critic (LOGAN); and how both are loaded.

Every attack gives a score for each query pair, higher = more like a member. Queries are pairs (n, 2, 96, 96), image in
[-1, 1], label in {-1, +1}, float16 or float32, on disk or in memory.
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
from tofgan_monai.gan.latents import GaussianLatents
from tofgan_monai.gan.networks import Critic, Generator
from tofgan_monai.training.weights import fit_weights

N_CANDIDATES = 4096  # random latents, of which the best are optimised
N_STARTS = 3  # for each query
DIFFICULTY = 0.1  # quantile of the random latents' errors that a query's error is measured by
SAME = 1e-3  # a mean squared error below which a pair counts as made; its values span 2
LEARNING_RATE = 0.1
PRIOR_WEIGHT = 0.1  # of the squared relative error of a latent's squared length
CHUNK = 64


def latent_recovery(
    generator: Generator, queries: np.ndarray, *, n_steps: int = 80, seed: int = 0, progress: bool = True
) -> np.ndarray:
    """Scores (n,): how well the generator can make each query pair if its latent is optimised; the white-box attack.

    Of 4096 random latents the 3 nearest to the query are moved by Adam, in evaluation mode, down the squared error of
    image and label alike (both span [-1, 1]), beside a term that keeps the latent as long as those of the prior. The
    score is minus the least error, as a share of the lower decile of the random latents' errors: a plain patch is easy
    to make for any generator, seen or not. A pair that over a tenth of all latents make stands out only if they make it
    all but exactly; the attacks on the data see it without effort.

    Args:
        generator: any network with a `latent_dim`; left as it is.
        queries: (n, 2, 96, 96).
        n_steps: of Adam; its rate falls to 0 over them.
        seed: of the random latents. No score depends on the other queries.
        progress: whether a bar is shown, on a terminal.

    Source: Chen et al. 2020, arXiv:1909.03935, section 4.3 (attack) and 4.4 (calibration); Webster et al. 2019,
        arXiv:1901.03396.
    """
    network: Any = copy.deepcopy(generator).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)
    candidates = GaussianLatents(generator.latent_dim).fixed(N_CANDIDATES, seed=seed)
    rows = CHUNK // N_STARTS
    scores = []
    with tqdm(total=len(queries), desc="latent recovery", unit="pair", disable=None if progress else True) as bar:
        errors = _errors_of(network, candidates, queries)  # (n, candidates)
        for start in range(0, len(queries), rows):
            part = errors[start : start + rows]
            wanted = _tensor(queries[start : start + rows], network)
            starts = candidates[part.topk(N_STARTS, largest=False).indices].to(wanted.device)  # (rows, starts, dim)
            least = _recover(network, starts, wanted, n_steps)
            scores.append(-least / part.quantile(DIFFICULTY, dim=1).clamp_min(SAME))
            bar.update(len(wanted))
    return torch.cat(scores).numpy() if scores else np.empty(0, np.float32)


@torch.no_grad()
def _errors_of(generator: Generator, latents: Tensor, queries: np.ndarray) -> Tensor:
    """Mean squared error of each latent's pair as each query, (n, latents)."""
    flat = _tensor(queries, generator).flatten(1)
    made = (generator(chunk.to(flat.device)).flatten(1) for chunk in latents.split(CHUNK))
    return torch.cat([(torch.cdist(flat, pairs).square() / flat.shape[1]).cpu() for pairs in made], dim=1)


def _recover(generator: Generator, starts: Tensor, wanted: Tensor, n_steps: int) -> Tensor:
    """The least error (b,) that each wanted pair is made with, from latents (b, starts, dim)."""
    b, n_starts, dim = starts.shape
    latents = starts.flatten(0, 1).clone().requires_grad_()
    wanted = wanted.repeat_interleave(n_starts, dim=0)
    optimizer = torch.optim.Adam([latents], LEARNING_RATE)  # elementwise: latents of one batch do not meet
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
    """Scores (n,): the critic's logit of each query pair, "real" as it was trained to say; LOGAN's white-box attack.

    In evaluation mode, so that no score depends on the other queries: the DCGAN's batch norms take the running
    statistics of their training, over reals and fakes with their noise; and minibatch discrimination is left out.

    Source: Hayes et al. 2019, arXiv:1705.07663.
    """
    critic = copy.deepcopy(critic).eval()
    starts = range(0, len(queries), CHUNK)
    chunks = [_tensor(queries[start : start + CHUNK], critic) for start in starts]
    logits = [critic.head(critic.features(chunk)).flatten().cpu() for chunk in chunks]
    return torch.cat(logits).numpy() if logits else np.empty(0, np.float32)


def run_critic(path: Path, content: dict[str, Any]) -> Critic:
    """The critic of a GAN's training, as its last checkpoint has it.

    Args:
        path: of the checkpoint, for errors.
        content: what it holds; both are what `read_checkpoint` gives.

    Raises:
        InputError: not a GAN's.
    """
    state, told = content["state"].get("critic"), content["recipe"].get("critic")
    if state is None or told is None:
        raise InputError(f"{path}: has no critic; name the output folder of a GAN's training")
    if told["_target_"] != "tofgan_monai.Critic":
        raise InputError(f"{path}: its critic is none of tofgan_monai.Critic; attack it by your own code")
    critic = Critic(**{name: value for name, value in told.items() if name != "_target_"})
    fit_weights(critic, state, path)
    return critic.eval()
