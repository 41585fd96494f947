"""What stands in the ground to one stations.zarr: a sparse network, dense core sites, the pixels of the latter.

It reads a profile's source, brings everything to days and writes groups; it averages no stations and applies no rule on
which sets of rules differ: `smapnb.insitu` does. Only what no sensor can measure is taken out of records before they
become daily means, and counted in the attributes of the group. The rule on cold soil acts on daily values, the mean
soil temperature of the day: a day that is frozen in part counts by its mean. A store that is only partly written is
never found under its name.
"""

from __future__ import annotations

import json
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

import smapnb
from smapnb import profile as profiles
from smapnb import stations_dense, variables
from smapnb.folders import files_below, inventory, is_someone_elses, put_in_place, sha256
from smapnb.profile import Profile
from smapnb.sources import twin, uscrn

log = logging.getLogger(__name__)

GROUPS = ("crn", "core", "reference_pixels", "weights", "truth")
IDENTITY = "identity"
MARKER = "complete"  # attribute that is written last: what must be there for a store to be whole
CRN_FOLDER = "uscrn"
FOLDERS = (CRN_FOLDER, *stations_dense.FOLDERS)


class StationsError(RuntimeError):
    """There are no stations, or the store of them is not there."""


def build(profile: Profile, path: str | Path, data_root: str | Path | None = None) -> Path:
    """Write the stations of a profile, or keep the store that is there if it was made from the same.

    The twin has stations of its own. A real sample takes what lies in the folder of the data: ``uscrn/`` (files of the
    Climate Reference Network and stations.tsv), and dense sites: ``walnut_gulch/`` (the public sensors of that core
    site), ``core_sites/`` (the open layout of `smapnb.sources.core_sites`), ``calval/`` (station files and weights of
    the calibration and validation team) and ``ismn/`` (unpacked networks, a substitute).

    Parameters
    ----------
    profile : Profile
        Its sections ``data`` and ``stations``.
    path : str or Path
        The store, as ``runs/<name>/stations.zarr``.
    data_root : str or Path, optional
        Folder of the real data; default `smapnb.profile.data_root`.

    Returns
    -------
    Path
        `path`, a Zarr store with the groups ``crn`` (time, site, depth[, probe]), ``core`` (time, station, depth[,
        probe]), ``reference_pixels`` (reference_pixel), ``weights`` (row) where a provider gives them and, for the
        twin, ``truth`` (time, reference_pixel, depth); a group that the source does not have is not there.

    Raises
    ------
    StationsError
        What lies at `path` is no store of stations.
    smapnb.stations_dense.DenseError
        A source's records are all out of range; a station in two sources; weights of stations without coordinates.
    """
    path = Path(path)
    root = None if profile.synthetic else Path(data_root or profiles.data_root())
    identity = _identity(profile, root)
    if _is_from(path, identity):
        return path
    if is_someone_elses(path):
        raise StationsError(f"{path}: is not a store of stations and will not be replaced by one; move it away")
    groups = _twin(profile) if root is None else _real(root)
    if not groups:
        log.warning("no stations in %s: it has none of %s", root, ", ".join(f"{name}/" for name in FOLDERS))
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    xr.Dataset(attrs={IDENTITY: identity}).to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
    for name, dataset in groups.items():
        _write(dataset, partial, name, profile)
    zarr.open_group(partial, mode="r+").attrs[MARKER] = inventory(partial)
    put_in_place(partial, path)
    return path


def open_stations(path: str | Path) -> dict[str, xr.Dataset]:
    """Open the groups that a store has, lazily, by name.

    Raises
    ------
    StationsError
        No store at `path`, or not all of it.
    """
    path = Path(path)
    if not (path / "zarr.json").is_file():
        raise StationsError(f"no stations at {path}: notebook 01 writes them")
    due, there = zarr.open_group(path, mode="r").attrs.get(MARKER), inventory(path)
    if due is None:
        raise StationsError(f"{path}: of an older version, which did not note how much it wrote: run notebook 01")
    if due != there:
        raise StationsError(f"{path} is not whole: {due} are due, {there} are there; remove it and run notebook 01")
    found = [name for name in GROUPS if (path / name / "zarr.json").is_file()]
    return {name: _plain_texts(xr.open_zarr(path, group=name, consolidated=False, chunks={})) for name in found}


def open_weights(path: str | Path) -> dict[str, dict[str, float]] | None:
    """Give the provider's weights of a store as `smapnb.insitu.core_series` takes them; None: it has none.

    Raises
    ------
    StationsError
        No store at `path`.
    """
    table = open_stations(path).get("weights")
    if table is None:
        return None
    found: dict[str, dict[str, float]] = {}
    for pixel, station, weight in zip(
        *(table[n].values for n in ("reference_pixel", "station", "weight")), strict=True
    ):
        found.setdefault(str(pixel), {})[str(station)] = float(weight)
    return found


def _plain_texts(dataset: xr.Dataset) -> xr.Dataset:
    """Give texts as NumPy's own type: the one that Zarr reads does not cast to it."""
    texts = {name: c for name, c in dataset.coords.items() if c.dtype.kind in "TO"}
    return dataset.assign_coords({n: (c.dims, np.array(c.values.tolist(), str), c.attrs) for n, c in texts.items()})


def _twin(profile: Profile) -> dict[str, xr.Dataset]:
    data, asked = profile.data, profile.stations
    return twin.stations(
        data.start,
        data.end,
        data.pixels,
        seed=data.twin_seed,
        core_sites=asked.core_sites,
        crn_sites=asked.crn_sites,
    )


def _real(root: Path) -> dict[str, xr.Dataset]:
    groups = {}
    if (root / CRN_FOLDER).is_dir():
        groups["crn"] = uscrn.open_folder(root / CRN_FOLDER)
    return groups | stations_dense.read(root)


def _write(dataset: xr.Dataset, partial: Path, group: str, profile: Profile) -> None:
    if "soil_moisture" in dataset:
        variables.check(dataset, f"stations, {group}")
    attrs = {
        "profile": profile.name,
        "synthetic": str(profile.synthetic).lower(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "smapnb_version": smapnb.__version__,
        "versions": json.dumps({module.__name__: module.__version__ for module in (np, xr)}),
    }
    of_core = {"source": "the files of the group core"}  # where a group of places has no source of its own
    dataset = dataset.assign_attrs({**of_core, **dataset.attrs, **attrs})
    texts = {name: c for name, c in dataset.coords.items() if c.dtype.kind in "UT"}  # Zarr 3 has no type for U yet
    dataset = dataset.assign_coords({n: (c.dims, c.to_numpy().astype(object), c.attrs) for n, c in texts.items()})
    for name in dataset.variables:  # what the files were encoded with is nothing to this store
        dataset[name].encoding = {}
    dataset.to_zarr(partial, group=group, mode="a", zarr_format=3, consolidated=False)


def _identity(profile: Profile, root: Path | None) -> str:
    """Name what a store is made of: sections of the profile, files of the source, and the code that reads them."""
    package = Path(__file__).parent
    code = [*sorted(package.glob("stations*.py")), *sorted(package.glob("insitu*.py"))]
    code += sorted((package / "sources").glob("*twin*.py" if root is None else "*.py"))
    files = {file.name: file for file in code}
    files |= {str(file.relative_to(root)): file for name in FOLDERS if root for file in files_below(root / name)}
    data = profile.data.model_dump(mode="json") if root is None else {}
    sites = {"core": profile.stations.core_sites, "crn": profile.stations.crn_sites} if root is None else {}
    return json.dumps({"data": data, "stations": sites, "sha256": sha256(files)})


def _is_from(path: Path, identity: str) -> bool:
    try:
        open_stations(path)
    except StationsError:
        return False
    return xr.open_zarr(path, consolidated=False).attrs.get(IDENTITY) == identity
