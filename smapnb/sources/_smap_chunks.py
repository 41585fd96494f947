"""Windows of an HDF5 array, read as compressed chunks that are inflated here, so that several threads can do it.

HDF5 holds one lock for the whole process while it inflates; ISA-L holds none, and takes half of zlib's time. Only plain
chunks of numbers, deflated with or without shuffling, are taken this way; every other layout or filter is left to h5py,
which gives the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import h5py
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

# ISA-L's types call its error an instance, though it is a class.
InflateError: type[Exception] = isal_zlib.error  # type: ignore[assignment]
Window = tuple[slice, ...]
# HDF5 goes through many small chunks faster than Python does: rows of 4 kB take half as long there, while chunks of
# 100 kB and more win by threads.
LEAST_BYTES = 32 * 1024


@dataclass(frozen=True)
class _Layout:
    """How a dataset lies in the file: shape of its chunks, type, and whether their bytes are shuffled."""

    chunk: tuple[int, ...]
    dtype: np.dtype
    shuffled: bool

    @property
    def n_bytes(self) -> int:
        """Length of an inflated chunk; those at the array's edge are stored whole, too."""
        return math.prod(self.chunk) * self.dtype.itemsize


def read_window(dataset: h5py.Dataset, rows: slice, cols: slice) -> NDArray:
    """Read rows and columns, (row, col[, layer]), as ``dataset[rows, cols]`` does.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of two dimensions or more.
    rows, cols : slice
        Start and stop, step 1.

    Raises
    ------
    OSError, RuntimeError
        A chunk that cannot be read or inflated, whose checksum differs, or that has another length than it must.
    """
    window = (rows, cols, *(slice(0, n) for n in dataset.shape[2:]))
    layout = _plain_layout(dataset)
    if layout is None or any(s.start < 0 or s.stop > n for s, n in zip(window, dataset.shape, strict=True)):
        return dataset[rows, cols]
    out = np.empty([s.stop - s.start for s in window], layout.dtype)
    corners = (range(s.start // n * n, s.stop, n) for s, n in zip(window, layout.chunk, strict=True))
    for corner in product(*corners):
        raw = _raw_chunk(dataset, corner)
        if raw is None:
            return dataset[rows, cols]
        source, target = _overlap(window, corner, layout.chunk)
        out[target] = _inflate(raw, layout, dataset.name, corner)[source]
    return out


def _plain_layout(dataset: h5py.Dataset) -> _Layout | None:
    """Layout of deflated chunks of numbers; None: anything else, which h5py must read."""
    about, dtype = dataset.id.get_create_plist(), dataset.dtype
    if about.get_layout() != h5py.h5d.CHUNKED or dtype.kind not in "fiu":
        return None
    filters = [about.get_filter(i)[0] for i in range(about.get_nfilters())]
    if filters not in ([h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]):
        return None
    layout = _Layout(about.get_chunk(), dtype, len(filters) == 2)
    return layout if layout.n_bytes >= LEAST_BYTES else None


def _raw_chunk(dataset: h5py.Dataset, corner: tuple[int, ...]) -> bytes | None:
    """Bytes of a chunk as they lie in the file; None: never written, or a filter was left out for this chunk."""
    info = dataset.id.get_chunk_info_by_coord(corner)
    if info.byte_offset is None or info.filter_mask:
        return None
    return dataset.id.read_direct_chunk(corner)[1]


def _overlap(window: Window, corner: tuple[int, ...], chunk: tuple[int, ...]) -> tuple[Window, Window]:
    """Where a chunk and the window meet: in the chunk, and in the window."""
    source, target = [], []
    for wanted, first, length in zip(window, corner, chunk, strict=True):
        start, stop = max(wanted.start, first), min(wanted.stop, first + length)
        source.append(slice(start - first, stop - first))
        target.append(slice(start - wanted.start, stop - wanted.start))
    return tuple(source), tuple(target)


def _inflate(raw: bytes, layout: _Layout, name: str, corner: tuple[int, ...]) -> NDArray:
    """Values of a chunk."""
    due = layout.n_bytes
    try:
        flat = isal_zlib.decompress(raw, bufsize=due)
    except InflateError as error:
        raise OSError(f"{name}, chunk at {corner}: {error}") from error
    if len(flat) != due:
        raise OSError(f"{name}, chunk at {corner}: {len(flat)} bytes where {due} are due")
    if layout.shuffled:
        # All first bytes lie together, then all second ones, and so on.
        planes = np.frombuffer(flat, np.uint8).reshape(layout.dtype.itemsize, -1)
        flat = np.ascontiguousarray(planes.T).tobytes()
    return np.frombuffer(flat, layout.dtype).reshape(layout.chunk)
