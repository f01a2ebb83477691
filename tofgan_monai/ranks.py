"""Functions for one training run that several processes (ranks) share; each GPU has one rank.

Each rank computes the losses of a part of every batch. All ranks hold the same weights. With world size N, rank r has
the samples r, r + N, r + 2N, ... of each batch. Each rank draws the random numbers of a step (latents, mixing weights,
targets, noise) for the whole batch, from the same seed, and keeps the rows of its own samples. So the result does not
depend on the world size, except through batch norms and a Dice loss over the whole batch. A process that is not
connected to other processes is rank 0 of world size 1.
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

TIMEOUT = timedelta(minutes=30)  # a rank waits so long for another rank, for example while rank 0 samples pairs


def world_size() -> int:
    """Returns the number of processes that share the training run."""
    return distributed.get_world_size() if _joined() else 1


def rank() -> int:
    """Returns the number of this process, from 0 to world size - 1; rank 0 alone writes files and logs."""
    return distributed.get_rank() if _joined() else 0


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def rank_device() -> torch.device:
    """Returns the GPU of this rank, or the CPU on a machine without a GPU.

    Raises:
        InputError: this machine has fewer GPUs than ranks.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    index, n_gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if index >= n_gpus:
        problem = f"process {index} of this machine has no GPU of its own: the machine has {n_gpus} GPUs"
        raise InputError(f"{problem}; start torchrun with --nproc_per_node={n_gpus}")
    return torch.device("cuda", index)


def join_ranks() -> None:
    """Connects this process with the other processes that torchrun started, by NCCL on GPUs and by gloo on CPUs.

    All ranks except rank 0 stop logging.

    Raises:
        InputError: torchrun did not start this process.
    """
    if "LOCAL_RANK" not in os.environ:
        raise InputError(
            "multi_gpu_train.yaml needs processes that torchrun started; run torchrun --nproc_per_node=N -m "
            "monai.bundle run ..., or omit multi_gpu_train.yaml to train in one process"
        )
    own = rank_device()
    if own.type == "cuda":
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=TIMEOUT)
    if rank():
        logging.disable(logging.WARNING)


def leave_ranks() -> None:
    """Disconnects this process from the processes that `join_ranks` connected it with."""
    distributed.destroy_process_group()


def require_joined() -> None:
    """Checks that the processes that torchrun started are connected; otherwise all would write the same files.

    Raises:
        InputError: torchrun started several processes, and these are not connected.
    """
    n = int(os.environ.get("WORLD_SIZE", 1))
    if n > 1 and world_size() != n:
        remedy = "add configs/multi_gpu_train.yaml to --config_file"
        raise InputError(f"torchrun started {n} processes, and each would run the whole training; {remedy}")


def own_rows(whole: Tensor) -> Tensor:
    """Returns the rows for this rank's samples from `whole`, a tensor with one row for each sample of the batch."""
    return whole[rank() :: world_size()]


def local_batch_size(batch_size: int) -> int:
    """Returns the number of samples that each rank has in a batch of `batch_size` samples.

    Raises:
        InputError: the batch size is not a multiple of the world size.
    """
    if batch_size % world_size():
        raise InputError(
            f"batch_size {batch_size} is not a multiple of {world_size()}, the number of processes; choose a multiple"
        )
    return batch_size // world_size()


class ShareSampler(Sampler[int]):
    """Sampler that returns every N-th index of another sampler, from index r; r is this rank and N the world size.

    All ranks get equally many indices: the last indices are omitted if not every rank can get one. Unlike torch's
    DistributedSampler, this class works with any sampler and repeats no index.

    Args:
        sampler: the sampler to share; it draws from torch's global generator, which has the same seed on all ranks.
    """

    def __init__(self, sampler: Sampler[int]) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[int]:
        indices = list(self.sampler)
        return iter(indices[rank() : len(self) * world_size() : world_size()])

    def __len__(self) -> int:
        return len(self.sampler) // world_size()  # type: ignore[arg-type]


def averaged(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Returns the mean of each tensor over all ranks; one message carries all tensors.

    Raises:
        RuntimeError: another rank has ended.
    """
    if world_size() == 1:
        return tensors
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    try:
        distributed.all_reduce(flat)
    except RuntimeError as error:
        raise RuntimeError(
            f"rank {rank()} has lost the connection to another rank; read the message of the other rank; "
            "the same command continues after the last complete epoch"
        ) from error
    parts = (flat / world_size()).split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def averaged_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """Returns the mean of each named value over all ranks; all ranks must pass the same names."""
    if world_size() == 1:
        return dict(figures)
    (means,) = averaged([torch.tensor(list(figures.values()), dtype=torch.float64, device=rank_device())])
    return dict(zip(figures, means.tolist(), strict=True))


def batch_mean(samples: Tensor) -> Tensor:
    """Returns the mean over the samples of the whole batch; each rank gives its own samples (B, ...).

    The gradient is the gradient of the mean over this rank's own samples. The mean of this gradient over the ranks is
    the gradient of the mean over the whole batch.
    """
    own = samples.mean(0)
    (whole,) = averaged([own])
    return own + (whole - own).detach()


def whole_batch(samples: Tensor) -> Tensor:
    """Returns the samples of the whole batch, (N B, ...) in their order; each of N ranks gives its own, (B, ...).

    For a loss that compares the samples of a batch with one another. The gradient is N times that of the rank's own
    samples, so that its mean over the ranks is the gradient of the loss of the whole batch.
    """
    n = world_size()
    if n == 1:
        return samples
    own = samples.new_zeros(n * len(samples), *samples.shape[1:])
    own[rank() :: n] = n * samples
    (whole,) = averaged([own])
    return own + (whole - own).detach()


def from_first(content: Any) -> Any:
    """Returns on every rank the content that rank 0 passes, with tensors on the CPU.

    The content that the other ranks pass is ignored.
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
    """Context manager whose block rank 0 runs before all other ranks, for example to write a file for these ranks."""
    if rank():
        distributed.barrier()
    yield
    if world_size() > 1 and not rank():
        distributed.barrier()


def with_batch_norm(network: nn.Module, *, synced: bool) -> nn.Module:
    """Returns the network; if `synced`, its batch norms compute their statistics over all ranks, which needs CUDA."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(network) if synced else network
