"""One training shared by several processes, one a GPU: each computes a share of every batch, all hold the same weights.

Of N ranks, rank r has the samples r, r + N, r + 2N, ... of each batch. What a step draws for its batch (latents,
epsilons, targets, noise) every rank draws for the whole of it, from the seed that all share, and keeps its own rows:
so a training does not depend on how many ranks share it, but for batch norms and the loss of a whole batch's Dice.
A process that has joined no others is rank 0 of 1.
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

TIMEOUT = timedelta(minutes=30)  # of a rank that waits, while the first samples pairs, say


def world_size() -> int:
    """How many processes share the training."""
    return distributed.get_world_size() if _joined() else 1


def rank() -> int:
    """Which of them this is, from 0; 0 alone writes and logs."""
    return distributed.get_rank() if _joined() else 0


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def rank_device() -> torch.device:
    """This rank's own GPU; the CPU where there is none at all.

    Raises:
        InputError: more ranks were started on this machine than it has GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    index, n_gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if index >= n_gpus:
        raise InputError(
            f"rank {index} of this machine has no GPU of its own: start torchrun --nproc_per_node={n_gpus}"
        )
    return torch.device("cuda", index)


def join_ranks() -> None:
    """Joins the processes that torchrun started: by NCCL where they have GPUs, else by gloo. The first alone logs.

    Raises:
        InputError: torchrun did not start this process.
    """
    if "LOCAL_RANK" not in os.environ:
        raise InputError(
            "multi_gpu_train.yaml is for processes that torchrun started: torchrun --nproc_per_node=N -m monai.bundle "
            "run ...; for one process leave it out"
        )
    own = rank_device()
    if own.type == "cuda":
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=TIMEOUT)
    if rank():
        logging.disable(logging.WARNING)


def leave_ranks() -> None:
    """Ends what `join_ranks` began."""
    distributed.destroy_process_group()


def require_joined() -> None:
    """Fails where torchrun started several processes that do not know of one another: each would write the same files.

    Raises:
        InputError: so it is.
    """
    n = int(os.environ.get("WORLD_SIZE", 1))
    if n > 1 and world_size() != n:
        raise InputError(
            f"{n} processes were started that would each run the whole training; add configs/multi_gpu_train.yaml "
            "to --config_file"
        )


def own_rows(whole: Tensor) -> Tensor:
    """Of a tensor with a row for each sample of the whole batch, the rows of this rank's samples."""
    return whole[rank() :: world_size()]


def local_batch_size(batch_size: int) -> int:
    """How many samples of a batch one rank has.

    Raises:
        InputError: the batch cannot be shared evenly.
    """
    if batch_size % world_size():
        raise InputError(
            f"batch_size {batch_size} is not a multiple of the {world_size()} processes; choose one that is"
        )
    return batch_size // world_size()


class ShareSampler(Sampler[int]):
    """Of the indices that a sampler gives, this rank's; the last few are left out that not every rank would have.

    Unlike torch's DistributedSampler it shares any sampler's indices, and no sample comes twice.

    Args:
        sampler: draws from torch's global generator, which is seeded alike on all ranks.
    """

    def __init__(self, sampler: Sampler[int]) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[int]:
        indices = list(self.sampler)
        return iter(indices[rank() : len(self) * world_size() : world_size()])

    def __len__(self) -> int:
        return len(self.sampler) // world_size()  # type: ignore[arg-type]


def averaged(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The tensors' means over the ranks, in one message.

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
            f"rank {rank()} has lost another rank; what ended that one stands in its own message; "
            "the same command goes on after the last whole epoch"
        ) from error
    parts = (flat / world_size()).split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def averaged_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """The means over the ranks of figures that all of them have."""
    if world_size() == 1:
        return dict(figures)
    (means,) = averaged([torch.tensor(list(figures.values()), dtype=torch.float64, device=rank_device())])
    return dict(zip(figures, means.tolist(), strict=True))


def batch_mean(samples: Tensor) -> Tensor:
    """Mean over the whole batch of samples (B, ...), of which each rank gives its own.

    Its gradient is that of the own samples' mean: averaged over the ranks, this is the gradient of the whole mean.
    """
    own = samples.mean(0)
    (whole,) = averaged([own])
    return own + (whole - own).detach()


def from_first(content: Any) -> Any:
    """What the first rank gives, tensors on the CPU; the others' is not looked at."""
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
    """A block that the first rank has left before the others enter: it finds or makes the file that they find."""
    if rank():
        distributed.barrier()
    yield
    if world_size() > 1 and not rank():
        distributed.barrier()


def with_batch_norm(network: nn.Module, *, synced: bool) -> nn.Module:
    """The network; where `synced`, its batch norms see the batches of all ranks, not of their own (CUDA alone)."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(network) if synced else network
