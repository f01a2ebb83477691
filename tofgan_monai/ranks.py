"""One training shared by several processes (ranks), one for each GPU: each computes its share of every batch.

All ranks hold the same weights. With world size N, rank r has the samples r, r + N, r + 2N, ... of each batch. Each
rank draws the random numbers of a step (latents, mixing weights, targets, noise) for the whole batch, from the same
seed, and keeps the rows of its own samples. So the result does not depend on the world size, except through batch norms
and a Dice loss over the whole batch. A process that has joined no others is rank 0 of world size 1.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import Sampler

from tofgan_monai.errors import InputError

TIMEOUT = timedelta(minutes=30)  # how long a rank waits for another, for example while the first samples pairs


def world_size() -> int:
    """The number of processes that share the training."""
    return distributed.get_world_size() if _joined() else 1


def rank() -> int:
    """The number of this process among those that share the training, from 0; rank 0 alone writes files and logs."""
    return distributed.get_rank() if _joined() else 0


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def rank_device() -> torch.device:
    """The GPU of this rank, or the CPU on a machine without a GPU.

    Raises:
        InputError: this machine has fewer GPUs than ranks.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    index, n_gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if index >= n_gpus:
        raise InputError(f"rank {index} of this machine has no GPU of its own; run torchrun --nproc_per_node={n_gpus}")
    return torch.device("cuda", index)


def join_ranks() -> None:
    """Connects this process with the others that torchrun started, by NCCL on GPUs and by gloo without.

    Ranks other than the first stop logging.

    Raises:
        InputError: torchrun did not start this process.
    """
    if "LOCAL_RANK" not in os.environ:
        raise InputError(
            "multi_gpu_train.yaml needs processes that torchrun started: torchrun --nproc_per_node=N -m monai.bundle "
            "run ...; for one process leave it out"
        )
    own = rank_device()
    if own.type == "cuda":
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=TIMEOUT)
    if rank():
        logging.disable(logging.WARNING)


def leave_ranks() -> None:
    """Disconnects this process from the others, after `join_ranks`."""
    distributed.destroy_process_group()


def require_joined() -> None:
    """Raises an error if torchrun started several processes that are not connected: each would write the same files.

    Raises:
        InputError: the processes are not connected.
    """
    n = int(os.environ.get("WORLD_SIZE", 1))
    if n > 1 and world_size() != n:
        remedy = "add configs/multi_gpu_train.yaml to --config_file"
        raise InputError(f"{n} processes were started, and each would run the whole training; {remedy}")


def own_rows(whole: Tensor) -> Tensor:
    """Returns the rows of this rank's samples, from a tensor with one row for each sample of the whole batch."""
    return whole[rank() :: world_size()]


def local_batch_size(batch_size: int) -> int:
    """The number of samples of a batch that each rank computes.

    Raises:
        InputError: the batch size is not a multiple of the world size.
    """
    if batch_size % world_size():
        raise InputError(f"batch_size {batch_size} is not a multiple of the {world_size()} processes; choose one")
    return batch_size // world_size()


class ShareSampler(Sampler[int]):
    """Sampler of this rank's share of the indices of another sampler; the shares of all ranks are equally long.

    The last indices are left out if they are too few for all ranks. Unlike torch's DistributedSampler it works with any
    sampler, and no index comes twice.

    Args:
        sampler: a sampler that draws from torch's global generator, which all ranks seed alike.
    """

    def __init__(self, sampler: Sampler[int]) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[int]:
        indices = list(self.sampler)
        return iter(indices[rank() : len(self) * world_size() : world_size()])

    def __len__(self) -> int:
        return len(self.sampler) // world_size()  # type: ignore[arg-type]


def averaged(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Returns the means of tensors over the ranks; all are sent in one message.

    Raises:
        RuntimeError: another rank has died.
    """
    if world_size() == 1:
        return tensors
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    try:
        distributed.all_reduce(flat)
    except RuntimeError as error:
        raise RuntimeError(
            f"rank {rank()} has lost another rank; read that rank's own message; "
            "the same command goes on after the last complete epoch"
        ) from error
    parts = (flat / world_size()).split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def averaged_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """Returns the means of figures over the ranks; all ranks give figures of the same names."""
    if world_size() == 1:
        return dict(figures)
    (means,) = averaged([torch.tensor(list(figures.values()), dtype=torch.float64, device=rank_device())])
    return dict(zip(figures, means.tolist(), strict=True))


def batch_mean(samples: Tensor) -> Tensor:
    """Returns the mean over the samples of the whole batch; each rank gives its own samples (B, ...).

    The gradient is that of the mean of a rank's own samples; averaged over the ranks it is that of the whole mean.
    """
    own = samples.mean(0)
    (whole,) = averaged([own])
    return own + (whole - own).detach()


def from_first(content: Any) -> Any:
    """Returns the content that the first rank gives, on all ranks, with tensors on the CPU.

    What the other ranks give is ignored.
    """
    if world_size() == 1:
        return content
    buffer = io.BytesIO()
    if not rank():
        torch.save(content, buffer)
    box = [buffer.getvalue()]
    distributed.broadcast_object_list(box)
    return torch.load(io.BytesIO(box[0]), map_location="cpu", weights_only=True)


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """Context in which the first rank runs before the others, for example to write a file that they read."""
    if rank():
        distributed.barrier()
    yield
    if world_size() > 1 and not rank():
        distributed.barrier()


def with_batch_norm(network: nn.Module, *, synced: bool) -> nn.Module:
    """Returns the network; if `synced`, its batch norms take their statistics over all ranks, which needs CUDA."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(network) if synced else network
