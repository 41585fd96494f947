"""Work shared among processes by Dask: here, or by any scheduler that answers at an address.

It hands out independent tasks and gives their results back as they come; what a task does, it does not know.
"""

from __future__ import annotations

import importlib
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")
SERIAL, LOCAL = "serial", "local"


class ClusterError(RuntimeError):
    """No scheduler, or one that loses its workers; the message says which."""


def results(
    work: Callable[[Any, Part], Result], common: Any, parts: Iterable[Part], scheduler: str | None = None
) -> Iterator[tuple[Part, Result]]:
    """Yield each part with ``work(common, part)``, as they are done.

    Parameters
    ----------
    work : function
        Of a module, so that a worker finds it by name.
    common : object
        What all parts need; it is pickled once and goes to each worker once, so it should hold paths, not data.
    parts : iterable
    scheduler : str, optional
        ``serial`` (the default): in this process, in order. ``local``: processes of this machine, one a core. Else the
        address of a Dask scheduler, or the path (``.json``) of its file, whose workers see the same files.

    Raises
    ------
    ClusterError
        The package distributed is not here, no scheduler answers, or workers die at a part (out of memory, as a rule).
        What a part raises itself comes as it is. Either way, parts that have not begun are called off.
    """
    parts = list(parts)
    if scheduler in (None, SERIAL):
        for part in parts:
            yield part, work(common, part)
        return
    distributed = _distributed(str(scheduler))
    with _client(distributed, str(scheduler), len(parts)) as client:
        [sent] = client.scatter([pickle.dumps(common)], broadcast=True, hash=False)
        futures = {client.submit(_unpacked, work, sent, part, pure=False): part for part in parts}
        try:
            for future in distributed.as_completed(futures):
                yield futures[future], future.result()
        except distributed.scheduler.KilledWorker as error:
            raise ClusterError(f"scheduler {scheduler!r}: workers die at one part, out of memory? {error}") from error
        finally:
            client.cancel([future for future in futures if not future.done()])


def _unpacked(work: Callable[[Any, Any], Any], common: bytes, part: Any) -> Any:
    return work(pickle.loads(common), part)


def _distributed(scheduler: str) -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise ClusterError(
            f"scheduler {scheduler!r} needs the package distributed ({error}): "
            "pip install -e '.[cluster]' in the project's folder"
        ) from error


@contextmanager
def _client(distributed: Any, scheduler: str, n_parts: int) -> Iterator[Any]:
    if scheduler == LOCAL:
        workers = max(1, min(os.cpu_count() or 1, n_parts))
        with (
            distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    where = {"scheduler_file": scheduler} if scheduler.endswith(".json") else {"address": scheduler}
    try:
        client = distributed.Client(**where, timeout="30s")
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {scheduler!r}: {error}") from error
    with client:
        yield client
