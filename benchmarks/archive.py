"""Granules to arrays: readers against h5py's own reads and xarray.open_mfdataset, on files in the agencies' structure.

Files are written for the purpose and lie in the system's cache, so that what is measured is the work of a processor:
inflating, finding, checking. Before anything is timed, every contender's numbers are held to the same bits. The chunks
of SPL3SMP are not known here; in the one granule of its kind at hand (SPL2SMP) an array is one chunk, deflated at
level 2. Smaller chunks are measured beside them.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from benchmarks.common import interleave, rows_of
from smapnb.grid import EaseGrid
from smapnb.sources import nldas, smap
from tests import granules

SHAPE = EaseGrid(36).shape
WINDOW = EaseGrid(36).window(-125.0, -66.0, 25.0, 50.0)
FIELDS = ("soil_moisture_scav", "retrieval_qual_flag_scav", "surface_flag", "tb_time_seconds")
LAYOUTS = {"one chunk an array": None, "chunks of 203 x 241": (203, 241)}
TEMPLATES = 10


def overpass(day: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Fields of one overpass that compress like real ones: half the globe unseen, noise in the last digits."""
    rng = np.random.default_rng(day)
    row, col = np.indices(SHAPE)
    seen = (col + 0.3 * row + 40 * day) % 66 < 36
    land = seen & (np.sin(row / 37) * np.cos(col / 51) > -0.4)
    moisture = 0.25 + 0.15 * np.sin(row / 50) + 0.03 * rng.standard_normal(SHAPE)
    fields = {
        "soil_moisture_scav": np.where(land, moisture, -9999).astype("f4"),
        "retrieval_qual_flag_scav": np.where(land, rng.choice([0, 1, 7, 8, 9], SHAPE), 65534).astype("u2"),
        "surface_flag": np.where(seen, rng.choice([0, 1, 4, 32, 1056], SHAPE), 65534).astype("u2"),
        "tb_time_seconds": np.where(seen, 4.8e8 + 86400 * day + 1e4 * rng.random(SHAPE), -9999),
    }
    return fields, seen


def write_archive(folder: Path, days: int, chunks: tuple[int, int] | None) -> list[Path]:
    """Daily granules with eight filled arrays; after some days the contents come again under other names."""
    made: list[Path] = []
    for n, day in enumerate(pd.date_range("2015-04-01", periods=days)):
        if n < TEMPLATES:
            fields, seen = overpass(n)
            made.append(granules.write_l3(folder, str(day.date()), fields, fields, seen=seen, chunks=chunks))
            continue
        name = f"SMAP_L3_SM_P_{day:%Y%m%d}_R18290_001.h5"
        shutil.copyfile(made[n % TEMPLATES], folder / name)
        with h5py.File(folder / name, "a") as file:
            file["Metadata/DatasetIdentification"].attrs["fileName"] = name
        made.append(folder / name)
    return made


def ours(files: list[Path]) -> xr.Dataset:
    """Soil moisture of both overpasses with flags and times: eight arrays a granule."""
    return smap.open_l3(files, "both", flags=True, times=True)


def arrays_of(file: h5py.File) -> Iterator[h5py.Dataset]:
    """Give the same eight arrays."""
    for part in ("AM", "PM"):
        group = file[f"Soil_Moisture_Retrieval_Data_{part}"]
        yield from (group[name + ("_pm" if part == "PM" else "")] for name in FIELDS)


def by_h5py(files: list[Path], whole: bool) -> list[list[np.ndarray]]:
    """Read window by window, or whole arrays of which the window is taken."""
    out = []
    for path in files:
        with h5py.File(path) as file:
            out.append([array[...][WINDOW] if whole else array[WINDOW] for array in arrays_of(file)])
    return out


def by_xarray(files: list[Path]) -> list[xr.Dataset]:
    """As in the tutorials: both groups by open_mfdataset, the window of four fields each, loaded."""
    out = []
    for part in ("AM", "PM"):
        names = [name + ("_pm" if part == "PM" else "") for name in FIELDS]

        def window(one: xr.Dataset, names: list[str] = names) -> xr.Dataset:
            rows, cols = one[names[0]].dims
            return one[names].isel({rows: WINDOW[0], cols: WINDOW[1]})

        with xr.open_mfdataset(
            files,
            group=f"Soil_Moisture_Retrieval_Data_{part}",
            engine="h5netcdf",
            phony_dims="sort",
            combine="nested",
            concat_dim="time",
            decode_timedelta=False,
            preprocess=window,
        ) as opened:
            out.append(opened.load())
    return out


def check(files: list[Path], with_xarray: bool) -> None:
    """Hold ours, and xarray's, to h5py's bits."""
    raw, found = by_h5py(files, whole=False), ours(files)
    for n, arrays in enumerate(raw):
        for k, part in enumerate(("am", "pm")):
            _, quality, surface, seconds = arrays[4 * k : 4 * k + 4]
            np.testing.assert_array_equal(found[f"retrieval_qual_flag_{part}"][n], quality.ravel())
            np.testing.assert_array_equal(found[f"surface_flag_{part}"][n], surface.ravel())
            times = smap.j2000_to_datetime(seconds.ravel())
            np.testing.assert_array_equal(found[f"observation_time_{part}"][n], times)
    one = smap.open_l3(files, "AM")["ssm_smap"].to_numpy()
    moisture = np.stack([arrays[0].ravel() for arrays in raw])
    valid = (moisture >= np.float32(0.02)) & (moisture <= np.float32(0.5))
    np.testing.assert_array_equal(one, np.where(valid, moisture, np.nan))
    if with_xarray:
        theirs = by_xarray(files)[0]["soil_moisture_scav"].to_numpy().reshape(moisture.shape)
        np.testing.assert_array_equal(theirs, np.where(moisture == -9999, np.nan, moisture))


def has_h5netcdf() -> bool:
    """Whether xarray can open the groups; it is no part of the tested environment."""
    with contextlib.suppress(ImportError):
        import h5netcdf  # noqa: F401

        return True
    print("h5netcdf is not installed: xarray.open_mfdataset is left out (pip install h5netcdf)")
    return False


def with_rates(rows: list[dict], files: int) -> list[dict]:
    """Add how many files a second each median means."""
    return [{**row, "files per second": round(1000 * files / row["median ms"], 1)} for row in rows]


def contest(folder: Path, chunks: tuple[int, int] | None, label: str, days: int, repeats: int) -> list[dict]:
    """Granules per second of all contenders."""
    files = write_archive(folder, days, chunks)
    with_xarray = has_h5netcdf()
    check(files, with_xarray)
    contenders: dict[str, Callable[[], object]] = {"smapnb open_l3": lambda: ours(files)}
    if with_xarray:
        contenders["xarray.open_mfdataset"] = lambda: by_xarray(files)
    contenders["h5py, whole arrays"] = lambda: by_h5py(files, whole=True)
    contenders["h5py, windows"] = lambda: by_h5py(files, whole=False)
    medians = interleave(contenders, repeats)
    return with_rates(rows_of(f"SPL3SMP, {days} granules, 8 arrays, {label}", medians), days)


def growth(folder: Path, lengths: tuple[int, ...], repeats: int) -> list[dict]:
    """Time a granule, and memory besides the result, against the number of granules: both ought to stay constant."""
    files = write_archive(folder, max(lengths), None)
    print("\nSPL3SMP: cost against the number of granules")
    rows = []
    for length in lengths:
        some = files[:length]
        median = interleave({"ours": lambda some=some: ours(some)}, repeats)["ours"]
        tracemalloc.start()
        result = ours(some)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        own = result.nbytes / 1e6
        print(f"  {length:4d} granules {median:9.1f} ms {median / length:7.2f} ms each, peak {peak:.0f} MB")
        rows.append(
            {
                "measured": f"SPL3SMP, {length} granules, 8 arrays, one chunk an array",
                "contender": "smapnb open_l3",
                "median ms": round(median, 1),
                "files per second": round(1000 * length / median, 1),
                "result MB": round(own, 1),
                "peak MB besides the result": round(peak - own, 1),
            }
        )
    return rows


def hours(folder: Path, days: int, repeats: int) -> list[dict]:
    """Hourly forcing of NLDAS-2, 224 x 464: daily means against h5py's reads of the same seven fields."""
    stamps = pd.date_range("2015-04-01", periods=24 * days, freq="h")
    about = {"Rainf": (0, 2), "Tair": (270, 20), "Qair": (0.001, 0.01), "LWdown": (250, 100), "SWdown": (0, 300)}
    about |= {"Wind_E": (-5, 10), "Wind_N": (-5, 10)}
    rng = np.random.default_rng(0)
    fields = {name: low + span * rng.random((224, 464)) for name, (low, span) in about.items()}
    files = [granules.write_nldas(folder, "FORA", stamp, fields) for stamp in stamps]

    def plain() -> list[list[np.ndarray]]:
        out = []
        for path in files:
            with h5py.File(path) as file:
                out.append([file[name][0] for name in granules.FORCING])
        return out

    medians = interleave(
        {"smapnb open_forcing": lambda: nldas.open_forcing(files), "h5py, whole arrays": plain}, repeats
    )
    rows = rows_of(f"NLDAS-2 FORA, {len(files)} hourly files, 7 arrays, to daily means", medians)
    return with_rates(rows, len(files))


def windows(folder: Path, days: int, repeats: int) -> list[dict]:
    """Windows of level 4, 280 x 632 cells: daily means against h5py's reads."""
    rows, cols = EaseGrid(9).window(-125.0, -66.0, 25.0, 50.0)
    field = np.random.default_rng(0).random((rows.stop - rows.start, cols.stop - cols.start), "f4") * 0.5 + 0.1
    files = [
        granules.write_l4_window(folder, stamp, field, (rows, cols))
        for stamp in pd.date_range("2015-04-01T01:30", periods=8 * days, freq="3h")
    ]

    def plain() -> list[np.ndarray]:
        out = []
        for path in files:
            with h5py.File(path) as file:
                out.append(file["Geophysical_Data/sm_rootzone"][...])
        return out

    medians = interleave({"smapnb open_l4": lambda: smap.open_l4(files), "h5py, whole arrays": plain}, repeats)
    return with_rates(rows_of(f"SPL4SMGP windows, {len(files)} granules, to daily means", medians), len(files))


def rows(repeats: int = 3, days: int = 10, lengths: tuple[int, ...] = (7, 30, 90, 365)) -> list[dict]:
    """All rows, for the table that ``python -m benchmarks`` writes."""
    out = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for n, (label, chunks) in enumerate(LAYOUTS.items()):
            out += contest(root / str(n), chunks, label, days, repeats)
            shutil.rmtree(root / str(n))
        out += growth(root / "growth", lengths, 1)
        shutil.rmtree(root / "growth")
        out += hours(root / "hours", 1, repeats)
        out += windows(root / "windows", 7, repeats)
    return out


if __name__ == "__main__":
    started = time.perf_counter()
    rows()
    print(f"\n{time.perf_counter() - started:.0f} s")
