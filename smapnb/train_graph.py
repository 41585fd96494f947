"""The gradient of a batch as one CUDA graph: what a step computes is recorded once and replayed for other batches.

At the paper's batch of 100 the host is expected to take longer to launch a step's few hundred kernels than a GPU to run
them. Only what lies between the places of a batch and its gradients is recorded; sums over processes, clipping and the
optimiser stay outside. Anywhere but on CUDA, and where recording fails (a line of the log says so), the work is called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from smapnb.batch import Places
from smapnb.lstm import part_of_another

log = logging.getLogger(__name__)

Work = Callable[[Places], Tensor]  # from places on the device to the loss; leaves its gradients at the parameters


def dice_for(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """Say who throws masks and noise: on a GPU a generator of its own, seeded alike; elsewhere `generator` itself.

    Masks of a batch take the host longer to draw than a GPU needs for the whole step.
    """
    if device.type != "cuda":
        return generator
    return torch.Generator(device).manual_seed(generator.initial_seed())


def replayed(work: Work, device: torch.device, dice: torch.Generator) -> Work:
    """Give what computes as `work` does, from places on the CPU.

    Parameters
    ----------
    work : callable
        It sets the gradients anew, draws from `dice` alone, never asks for a number, and works on the same parameters
        and data each time.
    dice : torch.Generator
        Of the device; recording leaves it as it was.
    """
    if device.type == "cuda":
        return _Replayed(work, device, dice)
    return lambda places: work(_sent(places, device))


class _Replayed:
    def __init__(self, work: Work, device: torch.device, dice: torch.Generator):
        self.work, self.device, self.dice = work, device, dice
        self.places: Places | None = None
        self.replay: Callable[[], Tensor] | None = None

    def __call__(self, places: Places) -> Tensor:
        if self.places is None:
            self.places = still = Places(*(values.to(self.device) for values in places))
            before = self.dice.get_state()
            self.replay = recorded(lambda: self.work(still), self.device, self.dice)
            self.dice.set_state(before)
        if self.replay is None:
            return self.work(_sent(places, self.device))
        for place, values in zip(self.places, _sent(places, self.device), strict=True):
            place.copy_(values)
        return self.replay().clone()


def _sent(places: Places, device: torch.device) -> Places:
    # Not blocking: else the host would wait each time for all that a GPU has to do.
    return Places(*(values.to(device, non_blocking=True) for values in places))


def recorded(work: Callable[[], Tensor], device: torch.device, dice: torch.Generator) -> Callable[[], Tensor] | None:
    """Record `work` and return what replays it; None where that fails."""
    try:
        return record(work, device, dice)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        log.warning("no CUDA graph of the training step, which makes it slower: %s", str(error).split("\n")[0])
        return None


def record(work: Callable[[], Tensor], device: torch.device, dice: torch.Generator) -> Callable[[], Tensor]:
    """Record `work` as a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(dice)
    with torch.cuda.device(device), part_of_another():
        # Beside the stream at work, and more than once: kernels are compiled and chosen, and workspaces taken.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        # Of this thread only: NCCL's watchdog asks for events in another, which would spoil a recording of all.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            loss = work()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay
