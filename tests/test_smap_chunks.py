"""Windows that are inflated here hold the bits that h5py reads, whatever the layout, the filters and the place."""

import zlib

import h5py
import numpy as np
import pytest
from granules import write_l3
from hypothesis import given, settings
from hypothesis import strategies as st

from smapnb.sources import _smap_chunks, _smap_granules, smap

SHAPE = (61, 143)
LAYOUTS = {
    "whole, deflated": {"chunks": SHAPE, "compression": "gzip", "compression_opts": 2},
    "cut unevenly, shuffled": {"chunks": (17, 40), "compression": "gzip", "shuffle": True},
    "rows": {"chunks": (1, 143), "compression": "gzip"},
    "level 0": {"chunks": (20, 143), "compression": "gzip", "compression_opts": 0},
}
OTHERS = {
    "contiguous": {},
    "checksums": {"chunks": (20, 50), "compression": "gzip", "fletcher32": True},
    "not compressed": {"chunks": (20, 50)},
    "another compression": {"chunks": (20, 50), "compression": "lzf"},
}


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    monkeypatch.setattr(_smap_chunks, "LEAST_BYTES", 0)


@pytest.fixture
def spy(monkeypatch) -> list[int]:
    """Lengths of what was inflated here, and not by HDF5."""
    lengths: list[int] = []
    real = _smap_chunks.isal_zlib.decompress

    def decompress(raw: bytes, bufsize: int) -> bytes:
        lengths.append(bufsize)
        return real(raw, bufsize=bufsize)

    monkeypatch.setattr(_smap_chunks.isal_zlib, "decompress", decompress)
    return lengths


def numbers(dtype: str, shape=SHAPE) -> np.ndarray:
    """Every byte of every value matters."""
    rng = np.random.default_rng(1)
    n = int(np.prod(shape))
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(n).astype(dtype).reshape(shape)
    return rng.integers(0, np.iinfo(dtype).max, n, dtype=np.dtype(dtype).newbyteorder("=")).astype(dtype).reshape(shape)


def written(path, values, **options) -> h5py.File:
    with h5py.File(path, "w") as file:
        file.create_dataset("field", data=values, **options)
    return h5py.File(path)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<u2", "u1", ">f4", ">i4"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_plain_chunks_are_inflated_here(tmp_path, spy, layout, dtype):
    values = numbers(dtype)
    with written(tmp_path / "a.h5", values, **LAYOUTS[layout]) as file:
        found = _smap_chunks.read_window(file["field"], slice(15, 52), slice(38, 81))
        assert found.dtype == file["field"].dtype
    np.testing.assert_array_equal(found, values[15:52, 38:81])
    assert spy and set(spy) == {int(np.prod(LAYOUTS[layout]["chunks"])) * values.dtype.itemsize}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_window_of_any_chunks(tmp_path_factory, data):
    chunks = tuple(data.draw(st.integers(1, n)) for n in (13, 17))
    window = [slice(*sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2)))) for n in (13, 17)]
    values = numbers("f4", (13, 17))
    path = tmp_path_factory.mktemp("windows") / "a.h5"
    with written(path, values, chunks=chunks, compression="gzip", shuffle=data.draw(st.booleans())) as file:
        np.testing.assert_array_equal(_smap_chunks.read_window(file["field"], *window), values[tuple(window)])


def test_layers_come_whole(tmp_path, spy):
    values = numbers("u1", (30, 40, 3))
    with written(tmp_path / "a.h5", values, chunks=(7, 9, 2), compression="gzip") as file:
        found = _smap_chunks.read_window(file["field"], slice(3, 20), slice(10, 31))
    np.testing.assert_array_equal(found, values[3:20, 10:31])
    assert spy


@pytest.mark.parametrize("layout", OTHERS)
def test_other_layouts_are_left_to_h5py(tmp_path, spy, layout):
    values = numbers("f4")
    with written(tmp_path / "a.h5", values, **OTHERS[layout]) as file:
        found = _smap_chunks.read_window(file["field"], slice(15, 52), slice(38, 81))
    np.testing.assert_array_equal(found, values[15:52, 38:81])
    assert not spy


def test_scaled_numbers_and_texts_are_left_to_h5py(tmp_path, spy):
    steps = np.round(numbers("f8"), 3)
    with written(tmp_path / "a.h5", steps, chunks=(20, 50), scaleoffset=3, compression="gzip") as file:
        found = _smap_chunks.read_window(file["field"], slice(0, 9), slice(0, 9))
    np.testing.assert_allclose(found, steps[:9, :9], atol=1e-3)
    texts = np.full((30, 30), b"2015-04-01", "S24")
    with written(tmp_path / "b.h5", texts, chunks=(10, 10), compression="gzip") as file:
        assert (_smap_chunks.read_window(file["field"], slice(0, 9), slice(0, 9)) == b"2015-04-01").all()
    assert not spy


def test_small_chunks_are_left_to_h5py(tmp_path, spy, monkeypatch):
    monkeypatch.setattr(_smap_chunks, "LEAST_BYTES", 20 * 143 * 4)
    values = numbers("f4")
    for rows, here in ((20, True), (19, False)):
        with written(tmp_path / f"{rows}.h5", values, chunks=(rows, 143), compression="gzip") as file:
            _smap_chunks.read_window(file["field"], slice(0, 9), slice(0, 9))
        assert bool(spy) == here
        spy.clear()


def test_chunks_never_written_hold_the_fill(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        field = file.create_dataset("field", (20, 20), "f4", chunks=(10, 10), compression="gzip", fillvalue=-9999)
        field[:10, :10] = 0.25
        found = _smap_chunks.read_window(field, slice(5, 15), slice(5, 15))
    assert (found[:5, :5] == 0.25).all() and (found[5:] == -9999).all() and (found[:, 5:] == -9999).all()


def test_a_chunk_that_its_filters_left_alone(tmp_path, spy):
    """HDF5 may store a chunk as it is; the mask that says so stands beside it."""
    values = numbers("f4", (10, 20))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        field = file.create_dataset("field", (20, 20), "f4", chunks=(10, 20), compression="gzip")
        field.id.write_direct_chunk((0, 0), values.tobytes(), filter_mask=1)
        field[10:] = 0.5
        found = _smap_chunks.read_window(field, slice(0, 20), slice(3, 8))
    np.testing.assert_array_equal(found[:10], values[:, 3:8])
    assert (found[10:] == 0.5).all()


@pytest.mark.parametrize("length", [799, 801])
def test_a_chunk_of_another_length_is_an_error(tmp_path, length):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        field = file.create_dataset("field", (10, 20), "f4", chunks=(10, 20), compression="gzip")
        field.id.write_direct_chunk((0, 0), zlib.compress(bytes(length)))
        with pytest.raises(OSError, match=rf"/field, chunk at \(0, 0\): {length} bytes where 800 are due"):
            _smap_chunks.read_window(field, slice(0, 2), slice(0, 2))


def test_every_flipped_bit_of_a_chunk_is_an_error(tmp_path):
    """Adler's checksum at the end sees what still inflates; HDF5 asks it too."""
    raw = bytearray(zlib.compress(numbers("f4", (10, 20)).tobytes(), 2))
    for place in range(0, len(raw), 7):
        spoiled = bytearray(raw)
        spoiled[place] ^= 0x10
        with h5py.File(tmp_path / f"{place}.h5", "w") as file:
            field = file.create_dataset("field", (10, 20), "f4", chunks=(10, 20), compression="gzip")
            field.id.write_direct_chunk((0, 0), bytes(spoiled))
            with pytest.raises(OSError, match="/field, chunk at"):
                _smap_chunks.read_window(field, slice(0, 2), slice(0, 2))


@pytest.mark.data
def test_real_files_are_read_alike(data_root):
    """Every two-dimensional field of a real analysis, by window, both ways."""
    path = data_root / "smap" / "SMAP_L4_SM_aup_20200128T150000_Vv4030_NAmerica_subset.h5"
    if not path.is_file():
        pytest.skip(f"no real granule: {path} is not there (SMAPNB_DATA names its parent)")
    seen = 0
    with h5py.File(path) as file:
        fields = [node for node in (*file.values(), *file["Analysis_Data"].values()) if isinstance(node, h5py.Dataset)]
        for field in (node for node in fields if node.ndim == 2):
            for window in ((slice(100, 300), slice(1100, 1123)), (slice(0, 508), slice(0, 5))):
                np.testing.assert_array_equal(_smap_chunks.read_window(field, *window), field[window])
                seen += 1
    assert seen == 8


def test_a_series_is_the_same_by_any_number_of_threads(tmp_path, monkeypatch):
    """Days, counts and the order of what is counted do not depend on which granule is read first."""
    rng = np.random.default_rng(3)
    for day in range(1, 13):
        if day == 5:
            continue
        field = rng.uniform(0, 0.6, (406, 964)).astype("f4")
        path = write_l3(tmp_path, f"2015-04-{day:02d}", {"soil_moisture_scav": field})
        if day in (7, 3):
            path.write_bytes(path.read_bytes()[:5000])
    made = []
    for threads in (1, 4):
        monkeypatch.setattr(_smap_granules, "THREADS", threads)
        made.append(smap.open_l3(tmp_path, damaged="gap"))
    one, many = made
    assert one.identical(many)
    assert one.attrs["n_granules"] == 9 and one.attrs["missing"] == "2015-04-03; 2015-04-05; 2015-04-07"
    assert one.attrs["damaged_granules"].startswith("SMAP_L3_SM_P_20150403") and one.attrs["n_out_of_range_masked"] > 0


def test_the_first_fault_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(_smap_granules, "THREADS", 4)
    for day in range(1, 9):
        path = write_l3(tmp_path, f"2015-04-{day:02d}", {"soil_moisture_scav": np.full((406, 964), 0.2, "f4")})
        if day in (6, 4, 8):
            path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(smap.DamagedError, match="SMAP_L3_SM_P_20150404"):
        smap.open_l3(tmp_path)
