"""Parts of a batch shared out to as many threads as torch uses, and the buffers that outlive a step.

Work is a function of Python that spends its time in code which holds no lock. The order of parts is kept, who does
which is not.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock
from typing import Any

import torch
from torch import Tensor

_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _find_team() -> Any:
    """Look up how the OpenMP library that torch has loaded starts a team: GNU's GOMP_parallel, which others offer too.

    After each of torch's own operators its threads turn in circles for milliseconds, ready for the next. A thread of
    ours beside them would get half of a core; a team of theirs begins at once.
    """
    try:
        start = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):  # no such function; no such way to ask, as on Windows
        return None
    start.argtypes, start.restype = [_CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return start


_state: dict[str, Any] = {"team": _find_team(), "pool": None, "many": 0, "lock": Lock()}


def _forget_threads() -> None:
    _state.update(team=None, pool=None, many=0, lock=Lock())


if hasattr(os, "register_at_fork"):  # a forked process has no threads but the one that forked, whatever OpenMP thinks
    os.register_at_fork(after_in_child=_forget_threads)


def in_threads(work: Callable[..., None], parts: Sequence[tuple[int, ...]]) -> None:
    """Do every part, on as many threads as torch uses; the first error of any is raised when all have ended."""
    left, errors = iter(parts), []

    def take_turns(_: Any = None) -> None:
        try:
            for part in left:  # each thread takes the next one
                work(*part)
        except BaseException as error:  # the C code that calls this would lose it
            errors.append(error)

    many = min(torch.get_num_threads(), len(parts))
    if many <= 1:
        take_turns()
    elif _state["team"] is not None:
        _state["team"](_CALLBACK(take_turns), None, many, 0)
    else:
        others = [_helpers(many - 1).submit(take_turns) for _ in range(many - 1)]
        take_turns()
        wait(others)
    if errors:
        raise errors[0]


def _helpers(many: int) -> ThreadPoolExecutor:
    """At least so many threads, kept from step to step: starting them anew takes as long as a small batch."""
    if _state["many"] < many:
        _state.update(pool=ThreadPoolExecutor(many, "lstm"), many=many)
    return _state["pool"]


# The largest buffers of a step, handed from one training step to the next: taking them anew from the system each time
# costs a page fault for every 4 kB.
_spare: list[Tensor] = []
MOST_SPARE = 4


def take(like: Tensor, size: int) -> Tensor:
    """Return a flat tensor of at least `size`, if possible one that was given back."""
    with _state["lock"]:
        for place, buffer in enumerate(_spare):
            if buffer.dtype == like.dtype and size <= buffer.numel() <= 1.2 * size:
                return _spare.pop(place)
    return like.new_empty(int(1.05 * size))


def give_back(*buffers: Tensor) -> None:
    """Offer buffers that are no longer used to the next step; the oldest make room."""
    with _state["lock"]:
        _spare.extend(buffers)
        del _spare[:-MOST_SPARE]
