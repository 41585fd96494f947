"""Sources to one aligned, chunked cube.zarr, which is either whole or an error.

It reads a profile's source, crops it to the profile's days, describes it by the CF conventions and writes it;
later days are appended as blocks of their own, so that nothing written is written again. It fills no gap and
scales no value. What the agencies' files at full size need beyond that stands in `cube_full`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from tqdm import tqdm

import smapnb
from smapnb import cube_full, cube_store, cube_targets, grid, variables
from smapnb import profile as profiles
from smapnb.cube_store import (
    BLOCK,
    MARKER,
    TIME_CHUNK,
    CubeError,
    described,
    encoding_of,
    inventory,
    partial_of,
    swap_in,
)
from smapnb.folders import files_below, sha256
from smapnb.profile import Data, Profile
from smapnb.sources import authors_csv, twin

__all__ = ["CubeError", "append", "build", "open_cube", "report"]


def build(
    profile: Profile, path: str | Path, data_root: str | Path | None = None, scheduler: str | None = None
) -> Path:
    """Write the cube of a profile, or keep the one that is there if it was made from the same.

    Parameters
    ----------
    profile : Profile
        Its section ``data`` says what the cube holds.
    path : str or Path
        The cube, as ``runs/<name>/cube.zarr``.
    data_root : str or Path, optional
        Folder of the real data; default `smapnb.profile.data_root`.
    scheduler : str, optional
        Of the source conus: address of a Dask scheduler whose workers see the same files, ``local`` (a process for each
        core) or ``serial``; default `local` where there are more than `smapnb.cube_store.TIME_CHUNK` days to do. The
        cube is the same, bit by bit.

    Returns
    -------
    Path
        `path`. The cube appears there only when it is whole. A stopped build leaves ``<path>.partial``: the next one
        that writes clears it away, or goes on with it if the source is conus.

    Raises
    ------
    CubeError
        The source has no data here, or not for all days asked for; a file of it cannot be read; a target without any
        value in a period of training, evaluation or the one-year test (the cube is there then, for other profiles).
    smapnb.cluster.ClusterError
        No Dask scheduler answers, or its workers die.
    """
    path = Path(path)
    if profile.data.source == "conus":
        _build_full(profile, path, data_root, scheduler)
    else:
        folder = _real_folder(profile.data, data_root)
        identity = _identity(profile.data, folder)
        if not _reusable(path, identity):
            dataset = described(_read(profile.data, folder), {**_provenance(profile), **identity})
            swap_in(_write(dataset, partial_of(path)), path)
    cube_targets.check(open_cube(path), profile, path)
    return path


def _build_full(profile: Profile, path: Path, data_root: str | Path | None, scheduler: str | None) -> None:
    root = Path(data_root) if data_root else profiles.data_root()
    found = cube_full.open_archive(profile, root)
    identity = cube_full.identity(profile, found)
    partial = partial_of(path)
    if not _reusable(path, identity):
        cube_full.write(profile, found, root, partial, {**_provenance(profile), **identity}, scheduler)
        swap_in(partial, path)
    cube_full.clear(partial)


def append(
    profile: Profile, path: str | Path, data_root: str | Path | None = None, scheduler: str | None = None
) -> Path:
    """Add the days after the cube's last one, up to ``profile.data.end``, as a block of their own.

    No file of the days already there is written again. A stopped append leaves the cube as it was. The pixels and their
    static variables are the cube's; `scheduler` is as in `build`.

    Raises
    ------
    CubeError
        No whole cube at `path`; the profile differs in more than its last day; the source no longer gives the
        cube's days as they stand there; the message names variable, date and pixel of the first difference.
    """
    path = Path(path)
    old = open_cube(path)
    wanted = profile.data.model_dump(mode="json")
    differs = {k for k, v in json.loads(old.attrs["data_section"]).items() if k != "end" and wanted.get(k) != v}
    if differs:
        raise CubeError(f"{path}: cannot append, the profile's data section differs in {sorted(differs)}; build anew")
    last = pd.Timestamp(old["time"].values[-1])
    if pd.Timestamp(profile.data.end) <= last:
        raise CubeError(f"{path}: nothing to append, it already ends on {last.date()}")
    if profile.data.source == "conus":
        new_block = _append_full(profile, path, data_root, scheduler, old)
        cube_full.clear(partial_of(path))
        return new_block
    folder = _real_folder(profile.data, data_root)
    dataset = _read(profile.data, folder)
    _check_continues(dataset, old, path)
    new = dataset.sel(time=slice(last + pd.Timedelta(days=1), None))
    new = new.drop_vars([name for name, array in new.data_vars.items() if "time" not in array.dims])
    new = described(new, {**_provenance(profile), **_identity(profile.data, folder)})
    _write(new, partial_of(path)).rename(path / f"{BLOCK}{new['time'].dt.strftime('%Y%m%d').values[0]}")
    return path


def _append_full(
    profile: Profile, path: Path, data_root: str | Path | None, scheduler: str | None, old: xr.Dataset
) -> Path:
    root = Path(data_root) if data_root else profiles.data_root()
    found = cube_full.open_archive(profile, root)
    before = json.loads(old.attrs["data_section"])["end"]
    differs = [k for k, v in cube_full.identity(profile, found, before).items() if old.attrs.get(k) != v]
    if differs:
        raise CubeError(
            f"{path}: cannot append, the files of its days, its statics or the package are no longer those it was made "
            f"from ({', '.join(differs)}); build anew"
        )
    attrs = {**_provenance(profile), **cube_full.identity(profile, found)}
    partial = cube_full.write(profile, found, root, partial_of(path), attrs, scheduler, after=old)
    first = pd.Timestamp(old["time"].values[-1]) + pd.Timedelta(days=1)
    partial.rename(path / f"{BLOCK}{first:%Y%m%d}")
    return path


def open_cube(path: str | Path) -> xr.Dataset:
    """Open a whole cube lazily: one Dataset over its first block and all appended ones.

    Returns
    -------
    xarray.Dataset
        Dimensions (time, pixel[, depth]), float32, on dask arrays in the chunks of the files. A cube of full size has
        the coordinate ``grid_km`` (pixel), which `smapnb.variables.pixels_of` reads.

    Raises
    ------
    CubeError
        Nothing there, not whole (the marker that is written last is missing, or files are), or blocks that do
        not follow each other day by day.
    """
    path = Path(path)
    blocks = [_open_block(path), *(_open_block(p) for p in sorted(path.glob(f"{BLOCK}*")))]
    cube = blocks[0]
    if len(blocks) > 1:
        fixed = [name for name, array in cube.data_vars.items() if "time" not in array.dims]
        parts = [cube.drop_vars(fixed), *blocks[1:]]
        joined = xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", join="exact")
        for name, array in joined.data_vars.items():
            array.attrs["n_out_of_range"] = sum(part[name].attrs["n_out_of_range"] for part in parts)
        cube = joined.assign({name: cube[name] for name in fixed}).assign_attrs(blocks[-1].attrs)
    ordered = [name for name in variables.TABLE if name in cube]
    placed = [name for name in (*variables.PIXEL_COORDINATES, "grid_km") if name in cube.variables]
    cube = cube[ordered].assign_coords({name: cube[name].load() for name in placed})
    steps = np.diff(cube["time"].values)
    if (steps != np.timedelta64(1, "D")).any():
        at = int(np.flatnonzero(steps != np.timedelta64(1, "D"))[0])
        raise CubeError(f"{path}: the day after {cube['time'].values[at]:.10} is missing; build anew")
    return cube


def report(dataset: xr.Dataset) -> pd.DataFrame:
    """Missing and out-of-range values of each variable.

    Returns
    -------
    pandas.DataFrame
        Index variable; columns units, n, n_missing, missing_percent, n_out_of_range, minimum, maximum,
        valid_low, valid_high.
    """
    table = variables.check(dataset, f"cube of {dataset.attrs.get('profile', 'no profile')}")
    rows = [variables.TABLE[str(name)] for name in table.index]
    table.insert(0, "units", [row.units for row in rows])
    table.insert(3, "missing_percent", 100 * table["n_missing"] / table["n"])
    table["valid_low"] = [row.valid_range[0] for row in rows]
    table["valid_high"] = [row.valid_range[1] for row in rows]
    return table


def _reusable(path: Path, identity: Mapping[str, str]) -> bool:
    try:
        attrs = open_cube(path).attrs
    except CubeError:
        return False
    return all(attrs.get(key) == value for key, value in identity.items())


def _real_folder(data: Data, data_root: str | Path | None) -> Path | None:
    """Folder of the source's files; None for a source without files."""
    if data.source == "twin":
        return None
    root = Path(data_root) if data_root else profiles.data_root()
    folder = root / data.source
    if not folder.is_dir():
        raise CubeError(
            f"no folder {folder}: the real sample is not here. Let the environment variable SMAPNB_DATA "
            f"name a folder with {data.source}/{authors_csv.ROOT_NAME}/ in it (year folders, const/, "
            "crd.csv): the folder example/SMAP/data of github.com/fkwai/geolearn"
        )
    return folder


def _read(data: Data, folder: Path | None) -> xr.Dataset:
    """`_open_source`; what is wrong with a file becomes the cube's own error."""
    try:
        return _open_source(data, folder)
    except (OSError, ValueError) as error:
        raise CubeError(str(error)) from error


def _open_source(data: Data, folder: Path | None) -> xr.Dataset:
    """All days of the data section, or an error; pixels evenly taken."""
    if folder is None:
        dataset = twin.simulate(data.start, data.end, data.pixels, seed=data.twin_seed)
    else:
        dataset = authors_csv.open_sample(folder, range(_folder_year(data.start), _folder_year(data.end) + 1))
        dataset = dataset.sel(time=slice(str(data.start), str(data.end)))
    due = pd.date_range(data.start, data.end, freq="D")
    lacking = due.difference(pd.DatetimeIndex(dataset["time"].values))
    if len(lacking) or dataset.sizes["time"] != len(due):
        raise CubeError(
            f"{data.source} gives {dataset.sizes['time']} of the {len(due)} days {data.start}..{data.end}"
            + (f"; the first that is missing is {lacking[0].date()}" if len(lacking) else "")
        )
    if data.pixels and data.pixels < dataset.sizes["pixel"]:
        taken = np.linspace(0, dataset.sizes["pixel"] - 1, data.pixels).round().astype(int)
        dataset = dataset.isel(pixel=taken)
    return dataset


def _folder_year(day: date) -> int:
    """Year folder that holds a day; it starts on 1 April."""
    return day.year if day.month >= 4 else day.year - 1


def _identity(data: Data, folder: Path | None) -> dict[str, str]:
    """Name what a cube is made of: the data section, the source's files, and the code that reads them."""
    sources = Path(authors_csv.__file__).parent
    code = [Path(__file__), Path(cube_store.__file__), Path(variables.__file__)]
    code += sorted(Path(grid.__file__).parent.glob("grid*.py"))
    code += sorted(sources.glob("*twin*.py")) if folder is None else [sources / "authors_csv.py"]
    files = {file.name: file for file in code}
    try:
        if folder is not None:
            files |= {str(file.relative_to(folder)): file for file in files_below(folder, "*.csv")}
        digest = sha256(files)
    except OSError as error:
        raise CubeError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return {"data_section": json.dumps(data.model_dump(mode="json")), "source_sha256": digest}


def _provenance(profile: Profile) -> dict[str, str]:
    versions = {module.__name__: module.__version__ for module in (np, pd, xr, zarr)}
    return {
        "Conventions": "CF-1.11",
        "title": profile.title,
        "profile": profile.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "smapnb_version": smapnb.__version__,
        "versions": json.dumps(versions),
    }


def _write(dataset: xr.Dataset, partial: Path) -> Path:
    """Write a Dataset chunk row by chunk row to a folder that no reader looks at; the marker comes last."""
    variables.check(dataset, str(partial))
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    encoding = encoding_of(dataset)
    fixed = [name for name, array in dataset.variables.items() if "time" not in array.dims]
    for start in tqdm(range(0, dataset.sizes["time"], TIME_CHUNK), desc="cube", unit="block"):
        block = dataset.isel(time=slice(start, start + TIME_CHUNK))
        if start == 0:
            block.to_zarr(partial, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
        else:
            block.drop_vars(fixed).to_zarr(partial, append_dim="time", zarr_format=3, consolidated=False)
    zarr.open_group(partial, mode="r+").attrs[MARKER] = inventory(partial)
    return partial


def _open_block(path: Path) -> xr.Dataset:
    if not (path / "zarr.json").is_file():
        stopped = " (its building was stopped)" if partial_of(path).exists() else ""
        raise CubeError(f"no cube at {path}{stopped}: notebook 01 builds it")
    dataset = xr.open_zarr(path, consolidated=False, chunks={})
    due, there = dataset.attrs.pop(MARKER, None), inventory(path)
    if due != there:
        raise CubeError(f"{path} is not whole: {due or 'its writing was stopped'}, but {there} are there; build anew")
    return dataset


def _check_continues(new: xr.Dataset, old: xr.Dataset, path: Path) -> None:
    """Refuse to join days that do not belong together: the source must still give all that the cube holds."""
    now = new.sel(time=old["time"].values).variables
    for name, before in old.variables.items():
        if name not in now or now[name].shape != before.shape:
            raise CubeError(f"{path}: cannot append, the source no longer gives {name} as it is here; build anew")
        differs = np.argwhere(~_same(before.values, now[name].values))
        if len(differs):
            at = zip(before.dims, differs[0], strict=True)
            place = ", ".join(f"{dim} {str(old[dim].values[i])[:10]}" for dim, i in at)
            raise CubeError(f"{path}: cannot append, {name} differs in the source now, first at {place}; build anew")


def _same(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    if before.dtype.kind != "f":
        return before == now
    # The twin gives a day again only to rounding when it is asked for more days.
    return np.isclose(before, now, rtol=1e-4, atol=1e-7, equal_nan=True)
