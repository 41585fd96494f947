"""Loops over days recorded once and replayed as CUDA graphs, and the pool of the buffers that such a graph is bound to.

A graph saves the host's launching of some thousand small kernels a step, which at the paper's batch takes longer than
the kernels. Where recording or compiling fails, the loops run as they stand and one line of the log says so.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Day = Callable[..., None]
Loop = Callable[[Day], None]
IDLE = 4  # shapes held for the next step: those of a training whose members take turns, and its last, smaller batch


class Loops:
    """Loops over days, each with its function of one day, ready to be run any number of times.

    Parameters
    ----------
    loops : sequence of (callable, callable)
        Each loop takes its function of one day and touches only tensors that stay where they are.
    device : torch.device
        On CUDA the functions are compiled to one kernel and the loops recorded; elsewhere they run as they stand.
    """

    def __init__(self, loops: Sequence[tuple[Loop, Day]], device: torch.device):
        self._plain: list[Callable[[], None]] = [partial(loop, day) for loop, day in loops]
        self._replays: list[Callable[[], None]] | None = None
        if capturing(device):
            self._plain = [partial(loop, compiled(day)) for loop, day in loops]
        elif recordable(device):
            self._plain = [fused(loop, day) for loop, day in loops]
            self._replays = None if _within_another else recorded(self._plain, device)

    @property
    def recorded(self) -> bool:
        """Whether the loops are replayed, so that their tensors must outlive this step."""
        return self._replays is not None

    def run(self, which: int) -> None:
        """Run one of the loops."""
        (self._replays or self._plain)[which]()


_compiled: dict[Day, Day] = {}


def compiled(day: Day) -> Day:
    """One kernel of `day`, compiled when it is first called; the same object each time."""
    if day not in _compiled:
        _compiled[day] = torch.compile(day, fullgraph=True, dynamic=False)
    return _compiled[day]


def fused(loop: Loop, day: Day) -> Callable[[], None]:
    """Give the loop with `day` compiled, having run it once; with `day` as it is where it cannot be compiled."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own parts
            loop(compiled(day))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        log.warning("%s is not compiled, which makes a step slower: %s", day.__name__, _first_line(error))
        _compiled[day] = day
    return partial(loop, compiled(day))


def recordable(device: torch.device) -> bool:
    """Whether loops on this device are compiled and recorded."""
    return device.type == "cuda"


_within_another: list[object] = []


@contextmanager
def part_of_another() -> Iterator[None]:
    """While somebody records more, as a whole step, or warms up for it: the loops run as part of that, on new buffers.

    A graph cannot be replayed while another is recorded, and the other must own all memory that it touches.
    """
    _within_another.append(None)
    try:
        yield
    finally:
        _within_another.pop()


def capturing(device: torch.device) -> bool:
    """Whether a CUDA graph is being recorded on the stream at work."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def recorded(loops: Sequence[Callable[[], None]], device: torch.device) -> list[Callable[[], None]] | None:
    """Record each loop as a CUDA graph and return what replays it; None where that fails."""
    try:
        return [_record(loop, device) for loop in loops]
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        log.warning("no CUDA graph of the loop over days, which makes a step slower: %s", _first_line(error))
        return None


def _record(loop: Callable[[], None], device: torch.device) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):
        # Once before, beside the stream at work: kernels are chosen and workspaces taken, which no graph may do.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            loop()
        torch.cuda.current_stream().wait_stream(aside)
        # Of this thread only: NCCL's watchdog asks for events in another, which would spoil a recording of all.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            loop()
    return graph.replay


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


class Loan:
    """Buffers lent to one pass through the network; they go back when the last who knows of the loan forgets it."""

    def __init__(self, item: Any, give_back: Callable[[Any], None] | None):
        self.item, self._give_back = item, give_back

    def own(self, result: Tensor) -> Tensor:
        """Keep a result that lies in the buffers: as a copy where another pass will write over it."""
        return result.detach() if self._give_back is None else result.clone()

    def __del__(self) -> None:
        if self._give_back is not None:
            self._give_back(self.item)


class Pool:
    """Recorded buffers between two steps, so that no step records again: two passes at once never share any."""

    def __init__(self) -> None:
        self._idle: list[tuple[Hashable, Any]] = []

    def lend(self, make: Callable[..., Any], key: tuple[Any, ...], device: torch.device) -> Loan:
        """Buffers of ``make(*key)``, idle ones where there are any that round products as is set now."""
        if _within_another or capturing(device):
            return Loan(make(*key), None)
        key_now = (*key, torch.get_float32_matmul_precision())
        same = [place for place, (theirs, _) in enumerate(self._idle) if theirs == key_now]
        item = self._idle.pop(same[-1])[1] if same else make(*key)
        return Loan(item, partial(self._take_back, key_now) if item.loops.recorded else None)

    def _take_back(self, key: Hashable, item: Any) -> None:
        self._idle.append((key, item))
        del self._idle[:-IDLE]

    def clear(self) -> None:
        """Forget all idle buffers and their graphs."""
        self._idle.clear()


pool = Pool()
