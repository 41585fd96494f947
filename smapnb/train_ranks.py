"""The processes that share a training: who computes which instances, and the sums over all of them.

One process is the common case and costs nothing. It knows nothing of networks, losses or files.

torch.distributed is used directly rather than through DistributedDataParallel, which takes the mean of the gradients as
if each process had seen equally much (wrong where shares or numbers of observations differ), and whose merit, sending
while backward still computes, has nothing to hide here: half a million gradients are 2 MB in one message.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from smapnb.train_checkpoint import TrainingError, choose_device

T = TypeVar("T")
# Sums of float32 in another order move weights by 1e-7 of their size; more means another step was taken.
APART = 1e-4


@dataclass(frozen=True)
class Ranks:
    """A process among those that train together: its number, how many they are, its number on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Part of `n` things that this process takes: shares differ by one at most, and none is left over.

        Raises
        ------
        TrainingError
            Fewer things than processes.
        """
        if n < self.size:
            raise TrainingError(f"training.batch_size {n} is smaller than the number of processes, {self.size}")
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def device(self, wish: str) -> torch.device:
        """Device of this process: as `choose_device` where it is alone, else the CPU or a GPU of its own."""
        if self.size == 1:
            return choose_device(wish)
        if wish == "auto":
            wish = "cuda" if torch.cuda.is_available() else "cpu"
        if wish == "cpu":
            return torch.device("cpu")
        if wish != "cuda":
            raise TrainingError(f"training.device={wish}: several processes compute on cpu, or on cuda, a GPU each")
        there = torch.cuda.device_count()
        if self.local >= there:
            raise TrainingError(
                f"process {self.local} of this machine finds {there} GPUs, and each needs one of its own: "
                f"start fewer with --nproc-per-node, or use -p training.device=cpu"
            )
        return torch.device("cuda", self.local)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put into each tensor its sum over all processes, the same bits in all of them."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _told_when_one_is_lost(self):
            dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what `make` gives in the first process, the only one that calls it."""
        if self.size == 1:
            return make()
        box = [make() if self.first else None]
        with _told_when_one_is_lost(self):
            dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]  # type: ignore[return-value]

    def check_same(self, value: str, what: str) -> None:
        """Refuse to go on where another process holds something else, as one does that sees an older file."""
        if self.size == 1:
            return
        seen: list[str] = [""] * self.size
        with _told_when_one_is_lost(self):
            dist.all_gather_object(seen, value)
        others = [rank for rank, other in enumerate(seen) if other != seen[0]]
        if others:
            raise TrainingError(f"{what} of process {others[0]} differ from those of process 0: nothing is trained")

    def check_close(self, values: Tensor, what: str) -> None:
        """Refuse to go on where the numbers of a process have left those of the first."""
        if self.size == 1:
            return
        first = values.clone()
        with _told_when_one_is_lost(self):
            dist.broadcast(first, 0)
            apart = (values - first).abs().max() / first.abs().max()
            dist.all_reduce(apart, dist.ReduceOp.MAX)
        if not float(apart) <= APART:
            raise TrainingError(f"{what} differ between the processes by {float(apart):.2g} of the largest of them")

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.size > 1:
            with _told_when_one_is_lost(self):
                dist.barrier()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun started with this one; started alone, be alone.

    gloo between CPUs, NCCL between GPUs; torchrun ends all of them when one fails.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Ranks()
        return
    ranks = Ranks(*(int(os.environ.get(key, "0")) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    if torch.cuda.is_available() and ranks.local < torch.cuda.device_count():
        torch.cuda.set_device(ranks.local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    yield ranks
    # After an error the others may be gone or waiting; the end of the process is what torchrun looks for.
    dist.destroy_process_group()


@contextmanager
def _told_when_one_is_lost(ranks: Ranks) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"process {ranks.rank} of {ranks.size} lost another one, whose own message says why ({error}); "
            "the last finished epoch is kept, and the same command goes on from it"
        ) from error
