"""Membership inference attacks that need a GAN's networks: latent recovery (the generator) and LOGAN (the critic).

Each attack gives a score (n,) to each query pair; a higher score means more like a training patient's (member's) pair.
Queries are pairs (n, 2, 96, 96) with the image in [-1, 1] and the label in {-1, +1}, float16 or float32, on disk or in
memory.
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

N_CANDIDATES = 4096  # random latents; the best of them are optimised
N_STARTS = 3  # latents that are optimised for each query
DIFFICULTY = 0.1  # quantile of the random latents' errors; a query's error is divided by it
SAME = 1e-3  # mean squared error, of values that span 2, below which a pair counts as reproduced
LEARNING_RATE = 0.1
PRIOR_WEIGHT = 0.1  # weight of the squared relative error of a latent's squared length
CHUNK = 64  # pairs in a batch


def latent_recovery(
    generator: Generator, queries: np.ndarray, *, n_steps: int = 80, seed: int = 0, progress: bool = True
) -> np.ndarray:
    """Scores (n,): how well the generator reproduces each query pair after its latent is optimised; a white-box attack.

    The 3 of 4096 random latents whose pairs are nearest to the query are optimised by Adam, in evaluation mode. The
    loss is the squared error of image and label (both span [-1, 1]) plus a term that keeps the latent as long as those
    of the prior. The score is minus the least error, divided by the lowest tenth of the random latents' errors, because
    any generator reproduces a plain patch easily. A pair that more than a tenth of all latents reproduce stands out
    only if the error is almost 0; the attacks on the released pairs recognise such a pair at once.

    Args:
        generator: any network with a `latent_dim`; it is not changed.
        queries: (n, 2, 96, 96).
        n_steps: steps of Adam; the learning rate falls to 0 over them.
        seed: of the random latents. A score does not depend on the other queries.
        progress: show a bar on a terminal.

    Source: Chen et al. 2020, arXiv:1909.03935, section 4.3 (attack) and 4.4 (calibration); Webster et al. 2019,
        arXiv:1901.03396.
    """
    network: Any = copy.deepcopy(generator).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)
    candidates = GaussianLatents(generator.latent_dim).fixed(N_CANDIDATES, seed=seed)
    rows = CHUNK // N_STARTS
    scores = [torch.empty(0)]
    with tqdm(total=len(queries), desc="latent recovery", unit="pair", disable=None if progress else True) as bar:
        errors = _errors_of(network, candidates, queries)  # (n, candidates)
        for start in range(0, len(queries), rows):
            part = errors[start : start + rows]
            wanted = _tensor(queries[start : start + rows], network)
            starts = candidates[part.topk(N_STARTS, largest=False).indices].to(wanted.device)  # (rows, starts, dim)
            least = _recover(network, starts, wanted, n_steps)
            scores.append(-least / part.quantile(DIFFICULTY, dim=1).clamp_min(SAME))
            bar.update(len(wanted))
    return torch.cat(scores).numpy()


@torch.no_grad()
def _errors_of(generator: Generator, latents: Tensor, queries: np.ndarray) -> Tensor:
    """Mean squared error between each query and the pair of each latent, (n, latents)."""
    flat = _tensor(queries, generator).flatten(1)
    made = (generator(chunk.to(flat.device)).flatten(1) for chunk in latents.split(CHUNK))
    return torch.cat([(torch.cdist(flat, pairs).square() / flat.shape[1]).cpu() for pairs in made], dim=1)


def _recover(generator: Generator, starts: Tensor, wanted: Tensor, n_steps: int) -> Tensor:
    """The least error (b,) with which the generator reproduces each wanted pair, from latents (b, starts, dim)."""
    b, n_starts, dim = starts.shape
    latents = starts.flatten(0, 1).clone().requires_grad_()
    wanted = wanted.repeat_interleave(n_starts, dim=0)
    optimizer = torch.optim.Adam([latents], LEARNING_RATE)  # works elementwise: latents in a batch are independent
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
    """Scores (n,): the critic's logit of each query pair, high for real ones; the white-box attack LOGAN.

    The critic runs in evaluation mode, so a score does not depend on the other queries. Batch norms (DCGAN) use the
    running statistics of their training, over noisy real and synthetic pairs. Minibatch discrimination is left out.

    Source: Hayes et al. 2019, arXiv:1705.07663.
    """
    critic = copy.deepcopy(critic).eval()
    chunks = (_tensor(queries[start : start + CHUNK], critic) for start in range(0, len(queries), CHUNK))
    logits = [critic.head(critic.features(chunk)).flatten().cpu() for chunk in chunks]
    return torch.cat([torch.empty(0), *logits]).numpy()


def run_critic(path: Path, content: dict[str, Any]) -> Critic:
    """The critic that the checkpoint of a GAN's training holds, in evaluation mode.

    Args:
        path: path of the checkpoint, for error messages.
        content: content of the checkpoint; `read_checkpoint` returns both.

    Raises:
        InputError: the checkpoint holds no critic, or a critic that is no `tofgan_monai.Critic`.
    """
    state, told = content["state"].get("critic"), content["recipe"].get("critic")
    if state is None or told is None:
        raise InputError(f"{path}: has no critic; name the output folder of a GAN's training")
    if told["_target_"] != "tofgan_monai.Critic":
        raise InputError(f"{path}: its critic is none of tofgan_monai.Critic; attack it by code of your own")
    critic = Critic(**{name: value for name, value in told.items() if name != "_target_"})
    fit_weights(critic, state, path)
    return critic.eval()
